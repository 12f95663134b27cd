//! Containers from start to end: exit codes, signals, OOM kills, restarts, groups, kills, logs, helpers.
mod common;

use common::{Pod, cgroup_dirs, in_place, is_alive, until};
use executor::files;
use proto::mezzo::v1::container_report::Kind;
use proto::mezzo::v1::ended::How;

#[tokio::test]
async fn an_exit_code_is_reported_and_written() {
    let mut pod = Pod::new();
    pod.container("web", "echo out; echo err >&2; exit 7");
    let mut agent = pod.start().await;
    agent.started("web").await;
    let ended = agent.ended("web").await;
    assert_eq!((ended.how, ended.oom_kills, ended.killed_on_request), (Some(How::ExitCode(7)), 0, false));
    assert_eq!((pod.stdout("web"), pod.stderr("web")), ("out\n".to_owned(), "err\n".to_owned()));
    let written = files::load_ended(&pod.dir).unwrap();
    assert_eq!(written, [agent.reports.last().unwrap().clone()]);
    assert_eq!(cgroup_dirs(&format!("{}/web", pod.cgroup)), Vec::<std::path::PathBuf>::new());
    let last = written[0].number;
    agent.seen(last).await;
    agent.exit().await;
    assert!(pod.wait_executor().success());
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_not_lost() {
    let mut pod = Pod::new();
    for n in 0..8 {
        pod.container(&format!("c{n}"), "exit 0").restart = in_place(10, 10);
    }
    let mut agent = pod.start().await;
    for n in 0..8 {
        let name = format!("c{n}");
        let mut seen = agent
            .reports
            .iter()
            .filter(|r| r.task_id == format!("task-{name}") && matches!(r.kind, Some(Kind::Restarting(_))))
            .count();
        while seen < 3 {
            agent.restarting(&name).await;
            seen += 1;
        }
    }
    for n in 0..8 {
        agent.kill(&format!("c{n}"), 0).await;
    }
    while agent.reports.iter().filter(|r| matches!(r.kind, Some(Kind::Ended(_)))).count() < 8 {
        agent.next().await;
    }
}

#[tokio::test]
async fn a_signal_is_reported() {
    let mut pod = Pod::new();
    pod.container_with("web", "kill -TERM $$", |config| {
        // As PID 1 of a namespace it would be deaf to its own signals.
        config["linux"]["namespaces"] = serde_json::json!([{"type": "mount"}]);
    });
    let mut agent = pod.start().await;
    assert_eq!(agent.ended("web").await.how, Some(How::Signal(15)));
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let mut pod = Pod::new();
    pod.container_with("web", "", |config| config["process"]["args"] = serde_json::json!(["/no/such/program"]))
        .restart = in_place(1, 1);
    let mut agent = pod.start().await;
    let Some(How::LaunchError(error)) = agent.ended("web").await.how else { panic!("{:?}", agent.reports) };
    assert!(error.contains("/no/such/program"), "{error}");
}

#[tokio::test]
async fn oom_kills_are_counted_in_the_init_and_in_a_child() {
    let eat = "dd if=/dev/zero of=/dev/null bs=200M count=1";
    let mut pod = Pod::new();
    pod.container("self", &format!("exec {eat}")).restart = in_place(60_000, 60_000);
    pod.container("child", &format!("{eat}; exit 3")).restart = in_place(60_000, 60_000);
    let mut agent = pod.start().await;
    let mut whys = std::collections::BTreeMap::new();
    while whys.len() < 2 {
        let report = agent.next().await;
        if let Some(Kind::Restarting(restarting)) = report.kind {
            whys.insert(report.task_id, restarting.why);
        }
    }
    assert_eq!(whys["task-self"], "ended by signal 9, out of memory (1 killed)");
    assert_eq!(whys["task-child"], "exited with 3, out of memory (1 killed)");
    agent.kill("child", 0).await;
    let ended = agent.ended("child").await;
    assert_eq!((ended.how, ended.oom_kills, ended.killed_on_request), (Some(How::ExitCode(3)), 1, true));
}

#[tokio::test]
async fn a_restart_in_place_waits_longer_each_time_and_leaves_others_alone() {
    let mut pod = Pod::new();
    pod.container("steady", "sleep 1000").restart = in_place(10, 10);
    pod.container("flaky", "echo run; exit 1").restart = in_place(20, 70);
    let mut agent = pod.start().await;
    let mut backoffs = Vec::new();
    for _ in 0..4 {
        let restarting = agent.restarting("flaky").await;
        assert_eq!(restarting.why, "exited with 1");
        backoffs.push((restarting.count, restarting.backoff_ms));
    }
    assert_eq!(backoffs, [(1, 20), (2, 40), (3, 70), (4, 70)]);
    assert!(pod.stdout("flaky").matches("run\n").count() >= 4);
    let starts = agent.reports.iter().filter(|r| r.task_id == "task-steady").count();
    assert_eq!(starts, 1, "{:#?}", agent.reports);
}

#[tokio::test]
async fn a_group_dies_together() {
    let mut pod = Pod::new();
    pod.container("main", "while [ ! -e /go ]; do sleep 0.01; done; exit 5");
    pod.container("side", "trap 'exit 0' TERM; echo up; while true; do sleep 0.01; done").restart = in_place(10, 10);
    let mut agent = pod.start().await;
    until("the other runs", || pod.stdout("side") == "up\n").await;
    std::fs::write(pod.rootfs("main").join("go"), "").unwrap();
    assert_eq!(agent.ended("main").await.how, Some(How::ExitCode(5)));
    let ended = agent.ended("side").await;
    assert_eq!((ended.how, ended.killed_on_request), (Some(How::ExitCode(0)), false));
    assert_eq!(ended.why, "container 'main' of the same pod ended: exited with 5");
}

#[tokio::test]
async fn a_kill_is_gentle_first_and_then_not() {
    let mut pod = Pod::new();
    pod.container("kind", "trap 'exit 9' TERM; echo up; while true; do sleep 0.01; done").restart = in_place(10, 10);
    pod.container("deaf", "trap '' TERM; echo up; while true; do sleep 0.01; done").restart = in_place(10, 10);
    let mut agent = pod.start().await;
    until("both run", || pod.stdout("kind") == "up\n" && pod.stdout("deaf") == "up\n").await;
    agent.kill("kind", 60_000).await;
    let ended = agent.ended("kind").await;
    assert_eq!((ended.how, ended.killed_on_request, ended.why.as_str()), (Some(How::ExitCode(9)), true, "test"));
    agent.kill("deaf", 100).await;
    let ended = agent.ended("deaf").await;
    assert_eq!((ended.how, ended.killed_on_request), (Some(How::Signal(9)), true));
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    let mut pod = Pod::new();
    let spec = pod.container("job", "sleep 1000");
    (spec.completion_ms_max, spec.kill_grace_ms) = (300, 50);
    let mut agent = pod.start().await;
    let ended = agent.ended("job").await;
    assert_eq!(
        (ended.how, ended.why.as_str()),
        (Some(How::Signal(9)), "ran longer than its completion limit of 300 ms")
    );
}

#[tokio::test]
async fn logs_are_rotated_and_complete() {
    let mut pod = Pod::new();
    let spec = pod.container("chatty", "seq 1 2000");
    (spec.log_bytes_max, spec.log_files_max) = (4096, 2);
    let mut agent = pod.start().await;
    agent.ended("chatty").await;
    let read = |name: &str| std::fs::read_to_string(pod.dir.join("chatty").join(name)).unwrap_or_default();
    // 1 to 2000 are 8893 bytes: two full files and the rest; one more would have been dropped.
    let parts = [read("stdout.2"), read("stdout.1"), read("stdout")];
    assert_eq!(parts.concat().len(), 8893);
    assert!(parts.iter().all(|part| part.len() <= 4096) && parts[2].ends_with("2000\n"));
    assert!(!pod.dir.join("chatty/stdout.3").exists());
}

#[tokio::test]
async fn children_left_behind_die_with_their_container() {
    let mut pod = Pod::new();
    pod.container_with("forks", "sleep 1000 & echo $!; exit 0", |config| {
        config["linux"]["namespaces"] = serde_json::json!([{"type": "mount"}]);
    });
    let mut agent = pod.start().await;
    agent.ended("forks").await;
    let orphan: u32 = pod.stdout("forks").trim().parse().unwrap();
    assert!(!is_alive(orphan));
}

#[tokio::test]
async fn a_program_starts_with_a_clean_slate() {
    let mut pod = Pod::new();
    pod.container("web", "cat /proc/self/status; ls /proc/self/fd; touch /made; ls -l /made");
    let mut agent = pod.start().await;
    agent.ended("web").await;
    let said = pod.stdout("web");
    let signals = |name: &str| -> u64 {
        let hex = said.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        u64::from_str_radix(hex, 16).unwrap()
    };
    // SIGPIPE is 13. (32 and 33 are the C library's own.)
    assert_eq!((signals("SigIgn:") & (1 << 12), signals("SigBlk:")), (0, 0), "{said}");
    // stdin, stdout, stderr and the directory that ls reads.
    assert!(said.contains("\n0\n1\n2\n3\n-rw-r--r--"), "{said}");
}

#[tokio::test]
async fn what_a_container_froze_dies_with_it() {
    let mut pod = Pod::new();
    pod.container_with("web", "sleep 1000 & echo $!; wait", |config| {
        config["linux"]["namespaces"] = serde_json::json!([{"type": "mount"}]);
    });
    let mut agent = pod.start().await;
    agent.started("web").await;
    until("its child runs", || pod.stdout("web").ends_with('\n')).await;
    let child: u32 = pod.stdout("web").trim().parse().unwrap();
    for dir in cgroup_dirs(&format!("{}/web", pod.cgroup)).into_iter().filter(|dir| dir.join("freezer.state").exists())
    {
        let frozen = dir.join("frozen");
        std::fs::create_dir(&frozen).unwrap();
        std::fs::write(frozen.join("cgroup.procs"), child.to_string()).unwrap();
        std::fs::write(frozen.join("freezer.state"), "FROZEN").unwrap();
    }
    agent.kill("web", 0).await;
    agent.ended("web").await;
    assert!(!is_alive(child));
    assert_eq!(cgroup_dirs(&format!("{}/web", pod.cgroup)), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn helpers_do_not_need_the_file_on_disk() {
    let mut pod = Pod::new();
    pod.container("web", "exit 4").restart = in_place(10, 10);
    // The running executor of this test is a copy that is replaced below.
    let copy = pod.dir.join("program");
    std::fs::copy(common::HARNESS, &copy).unwrap();
    pod.kill_executor();
    pod.restart_executor(&copy);
    let mut agent = pod.agent().await;
    std::fs::remove_file(&copy).unwrap();
    pod.start_on(&mut agent).await;
    for _ in 0..2 {
        assert_eq!(agent.restarting("web").await.why, "exited with 4");
    }
}
