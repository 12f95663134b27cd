//! The core's rules, as scripts: a line is a time and an event, below it stand all commands that followed.
use super::*;

/// One pod and what came out of it so far.
struct Script {
    core: Core,
    now: u64,
    text: String,
}

impl Script {
    fn new(containers: Vec<(&str, ContainerPlan)>) -> Self {
        let mut script = Self { core: Core::new(Timestamp(0)), now: 0, text: String::new() };
        let containers = containers.into_iter().map(|(id, plan)| (id.to_owned(), plan)).collect();
        script.step(Event::Start { containers });
        script
    }
    fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self
    }
    fn step(&mut self, event: Event) -> &mut Self {
        let mut out = Vec::new();
        self.core.step(Timestamp(self.now), Timestamp(self.now), event, &mut out);
        for command in out {
            self.text.push_str(&format!("{} {}\n", self.now, words(&command)));
        }
        self
    }
    fn created(&mut self, id: &str, run: u32) -> &mut Self {
        self.step(Event::Created { task_id: id.to_owned(), run, pid: 100 + run })
    }
    fn died(&mut self, id: &str, run: u32, code: i32) -> &mut Self {
        self.step(Event::Died { task_id: id.to_owned(), run, exit: Exit::Code(code) })
    }
    fn cleaned(&mut self, id: &str, run: u32) -> &mut Self {
        self.step(Event::Cleaned { task_id: id.to_owned(), run, oom_kills: 0 })
    }
    fn kill(&mut self, id: &str, grace: u64) -> &mut Self {
        self.step(Event::Kill { task_id: id.to_owned(), grace: Span(grace), reason: "asked".to_owned() })
    }
    fn checked(&mut self, id: &str, run: u32, kind: CheckKind, passed: bool) -> &mut Self {
        let message = "m".to_owned();
        self.step(Event::Checked { task_id: id.to_owned(), run, kind, passed, message })
    }
    /// Lets time pass up to `until`, ticking exactly when the core asked for it.
    fn sleep(&mut self, until: u64) -> &mut Self {
        while let Some(Timestamp(at)) = self.core.deadline().filter(|at| at.0 <= until) {
            assert!(at > self.now || self.now == 0, "the core asks for a tick at {at} again and again");
            self.at(at).step(Event::Tick);
        }
        self.at(until)
    }
    /// What came out since the last call.
    fn expect(&mut self, expected: &str) -> &mut Self {
        let expected: String =
            expected.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
        assert_eq!(std::mem::take(&mut self.text), expected);
        self
    }
}

fn words(command: &Command) -> String {
    match command {
        Command::Create { task_id, run } => format!("create {task_id} {run}"),
        Command::Signal { task_id, run, signal } => format!("signal {task_id} {run} {signal:?}"),
        Command::Clean { task_id, run } => format!("clean {task_id} {run}"),
        Command::Check { task_id, run, kind } => format!("check {task_id} {run} {kind:?}"),
        Command::PersistEnded { name, report } => format!("persist {name} #{}", report.number),
        Command::Send(report) => format!("send #{} {} {}", report.number, report.task_id, kind_words(&report.kind)),
        Command::Exit => "exit".to_owned(),
    }
}

fn kind_words(kind: &ReportKind) -> String {
    match kind {
        ReportKind::Ended { killed_on_request, why, .. } => {
            format!(
                "{kind}{}{}{why}",
                if *killed_on_request { " on request" } else { "" },
                if why.is_empty() { "" } else { ": " }
            )
        }
        ReportKind::Restarting { backoff, .. } => format!("{kind} after {}", backoff.0),
        ReportKind::Started { .. } | ReportKind::Checked { .. } => kind.to_string(),
    }
}

fn plan(restart: RestartPolicy) -> ContainerPlan {
    ContainerPlan {
        name: "main".to_owned(),
        restart,
        readiness: None,
        health: None,
        kill_grace: Span(1000),
        completion_max: None,
    }
}

fn in_place() -> ContainerPlan {
    plan(RestartPolicy::InPlace { backoff_min: Span(100), backoff_max: Span(300) })
}

fn check(interval: u64, consecutive_failures: u32, grace: u64) -> Option<CheckPlan> {
    Some(CheckPlan { delay: Span(10), interval: Span(interval), consecutive_failures, grace: Span(grace) })
}

#[test]
fn the_wait_doubles_up_to_its_limit_and_a_long_run_resets_it() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.expect("0 create a 1");
    script.at(1).created("a", 1).died("a", 1, 1).cleaned("a", 1).expect(
        "1 send #1 a started with pid 101
         1 clean a 1
         1 send #2 a restart 1: exited with 1 after 100",
    );
    script.sleep(500).expect("101 create a 2");
    script.created("a", 2).died("a", 2, 1).cleaned("a", 2).expect(
        "500 send #3 a started with pid 102
         500 clean a 2
         500 send #4 a restart 2: exited with 1 after 200",
    );
    script.sleep(1000).created("a", 3).died("a", 3, 0).cleaned("a", 3).expect(
        "700 create a 3
         1000 send #5 a started with pid 103
         1000 clean a 3
         1000 send #6 a restart 3: exited with 0 after 300",
    );
    script.sleep(2000).created("a", 4).at(2301).died("a", 4, 0).cleaned("a", 4).expect(
        "1300 create a 4
         2000 send #7 a started with pid 104
         2301 clean a 4
         2301 send #8 a restart 4: exited with 0 after 100",
    );
}

#[test]
fn news_of_an_earlier_run_are_ignored() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.at(1).created("a", 1).died("a", 1, 1).cleaned("a", 1).sleep(200).created("a", 2);
    script.text.clear();
    script
        .died("a", 1, 5)
        .cleaned("a", 1)
        .cleaned("a", 2)
        .created("a", 2)
        .checked("a", 1, CheckKind::Health, false)
        .died("x", 1, 0)
        .expect("");
}

#[test]
fn a_kill_waits_for_the_process_and_escalates_once() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.at(5).kill("a", 50).at(20).created("a", 1).sleep(500).expect(
        "0 create a 1
         20 send #1 a started with pid 101
         20 signal a 1 Term
         70 signal a 1 Kill",
    );
    script.died("a", 1, 0).cleaned("a", 1).kill("a", 0).step(Event::ExitAsked).expect(
        "500 clean a 1
         500 persist main #2
         500 send #2 a exited with 0 on request: asked
         500 exit",
    );
    script.step(Event::Tick).expect("");
}

#[test]
fn the_shorter_grace_counts() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.created("a", 1).at(10).kill("a", 1000).at(20).kill("a", 5000).at(30).kill("a", 100).sleep(2000).expect(
        "0 create a 1
         0 send #1 a started with pid 101
         10 signal a 1 Term
         130 signal a 1 Kill",
    );
    let mut script = Script::new(vec![("a", in_place())]);
    script.created("a", 1).at(10).kill("a", 1000).at(20).kill("a", 0).sleep(2000).expect(
        "0 create a 1
         0 send #1 a started with pid 101
         10 signal a 1 Term
         20 signal a 1 Kill",
    );
}

#[test]
fn a_kill_while_waiting_ends_with_the_last_run() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.created("a", 1).died("a", 1, 4).cleaned("a", 1);
    script.text.clear();
    script.at(50).kill("a", 1000).expect(
        "50 persist main #3
         50 send #3 a exited with 4 on request: asked",
    );
    script.sleep(5000).expect("");
}

#[test]
fn the_group_dies_with_one_and_nothing_is_started_again() {
    let mut side = in_place();
    side.name = "side".to_owned();
    let mut script = Script::new(vec![("a", plan(RestartPolicy::GroupDies)), ("b", side.clone()), ("c", side)]);
    script.created("a", 1).created("b", 1).created("c", 1).died("c", 1, 1).cleaned("c", 1);
    script.text.clear();
    script.at(9).died("a", 1, 0).cleaned("a", 1).expect(
        "9 clean a 1
         9 persist main #5
         9 send #5 a exited with 0
         9 signal b 1 Term
         9 persist side #6
         9 send #6 c exited with 1: container 'main' of the same pod ended: exited with 0",
    );
    script.died("b", 1, 0).cleaned("b", 1).step(Event::ExitAsked).expect(
        "9 clean b 1
         9 persist side #7
         9 send #7 b exited with 0: container 'main' of the same pod ended: exited with 0
         9 exit",
    );
}

#[test]
fn what_never_ran_is_not_tried_again_but_what_ran_once_is() {
    let failed = |run| Event::CreateFailed { task_id: "a".to_owned(), run, error: "no".to_owned() };
    let mut script = Script::new(vec![("a", in_place())]);
    script.step(failed(1)).cleaned("a", 1).expect(
        "0 create a 1
         0 clean a 1
         0 persist main #1
         0 send #1 a not started: no",
    );
    let mut script = Script::new(vec![("a", in_place())]);
    script.created("a", 1).died("a", 1, 0).cleaned("a", 1).sleep(100);
    script.text.clear();
    script.step(failed(2)).cleaned("a", 2).expect(
        "100 clean a 2
         100 send #3 a restart 2: not started: no after 200",
    );
}

#[test]
fn a_verdict_is_reported_when_it_changes_and_forgotten_at_a_restart() {
    let mut a = in_place();
    a.readiness = check(100, 2, 0);
    let mut script = Script::new(vec![("a", a)]);
    let ready = CheckKind::Readiness;
    script.created("a", 1).sleep(15).checked("a", 1, ready, true).sleep(120).checked("a", 1, ready, true);
    script
        .sleep(220)
        .checked("a", 1, ready, false)
        .sleep(330)
        .checked("a", 1, ready, false)
        .sleep(430)
        .checked("a", 1, ready, true);
    script.expect(
        "0 create a 1
         0 send #1 a started with pid 101
         10 check a 1 Readiness
         15 send #2 a Readiness passed
         115 check a 1 Readiness
         220 check a 1 Readiness
         320 check a 1 Readiness
         330 send #3 a Readiness failed: m
         430 check a 1 Readiness
         430 send #4 a Readiness passed",
    );
    script.died("a", 1, 1).cleaned("a", 1).expect(
        "430 clean a 1
         430 send #5 a Readiness failed: the container is started again
         430 send #6 a restart 1: exited with 1 after 100",
    );
}

#[test]
fn failures_in_the_grace_are_forgiven_until_the_first_success() {
    let mut a = in_place();
    a.health = check(10, 1, 1000);
    let health = CheckKind::Health;
    let mut script = Script::new(vec![("a", a)]);
    script.created("a", 1).sleep(10).checked("a", 1, health, false).sleep(20).checked("a", 1, health, true);
    script.text.clear();
    script.sleep(30).checked("a", 1, health, false).expect(
        "30 check a 1 Health
         30 send #3 a Health failed: m
         30 signal a 1 Term",
    );
    // No verdicts and no checks of what is being stopped.
    script.sleep(500).checked("a", 1, health, true).expect("");
    script.died("a", 1, 0).cleaned("a", 1).expect(
        "500 clean a 1
         500 send #4 a restart 1: health check failed: m after 100",
    );
}

#[test]
fn the_completion_limit_counts_from_the_first_start() {
    let mut a = in_place();
    a.completion_max = Some(Span(250));
    let mut script = Script::new(vec![("a", a)]);
    script.at(10).created("a", 1).died("a", 1, 2).cleaned("a", 1).sleep(120).created("a", 2);
    script.text.clear();
    script.sleep(5000).expect(
        "260 signal a 2 Term
         1260 signal a 2 Kill",
    );
    script.died("a", 2, 0).cleaned("a", 2).expect(
        "5000 clean a 2
         5000 persist main #4
         5000 send #4 a exited with 0: ran longer than its completion limit of 250 ms",
    );
}

#[test]
fn unseen_reports_are_repeated_and_superseded_ones_dropped_at_the_limit() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.created("a", 1).died("a", 1, 1).cleaned("a", 1).step(Event::Seen { number: 1 });
    script.text.clear();
    script.step(Event::Connected).expect("0 send #2 a restart 1: exited with 1 after 100");
    for run in 2..1000 {
        script.sleep(u64::from(run) * 1000).created("a", run).died("a", run, 1).cleaned("a", run);
    }
    assert_eq!(script.core.reports.unseen().count(), crate::limits::REPORTS_MAX);
    let last = script.core.reports.unseen().last().unwrap().number;
    assert_eq!(last, 1998);
}

#[test]
fn an_executor_without_a_pod_leaves() {
    let mut script = Script { core: Core::new(Timestamp(0)), now: 0, text: String::new() };
    script.sleep(IDLE_MS_MAX - 1).expect("");
    script.at(IDLE_MS_MAX).step(Event::Tick).expect(&format!("{IDLE_MS_MAX} exit"));
    let mut script = Script { core: Core::new(Timestamp(0)), now: 0, text: String::new() };
    script.step(Event::ExitAsked).expect("0 exit");
}

#[test]
fn a_pod_is_started_once_and_not_with_too_many() {
    let mut script = Script::new(vec![("a", in_place())]);
    script.text.clear();
    script.step(Event::Start { containers: vec![("b".to_owned(), in_place())] }).expect("");
    let names: Vec<String> = (0..=CONTAINERS_MAX).map(|n| format!("c{n:03}")).collect();
    let mut script = Script::new(names.iter().map(|name| (name.as_str(), in_place())).collect());
    script.text.clear();
    script.cleaned("c000", 1).expect(
        "0 persist main #1
         0 send #1 c000 not started: a pod has at most 64 containers",
    );
}
