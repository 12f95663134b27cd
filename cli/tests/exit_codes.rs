//! What the program says and how it ends when it is typed wrongly (2), or about what is not there (3): to whoever reads
//! stderr in words with a next step, to whoever reads stdout nothing, and the pool stays as it was.
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use daemon::identity::Identity;

/// Runs the program; it asks nothing, finds no pool of this machine, and the environment says nothing.
fn mezzo(master: &str, identity: &Path, line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mezzo"));
    command.args(line).env_clear().env("HOME", identity).env("MEZZO_MASTER", master).env("MEZZO_IDENTITY", identity);
    command.stdin(std::process::Stdio::null());
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_typed_wrongly_ends_with_two_and_says_what_is_wrong() {
    let nowhere = tempfile::tempdir().expect("a directory");
    #[rustfmt::skip] // a table
    let lines: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&["agent"], "Usage"),
        (&["agent", "show"], "<AGENT>"),
        (&["agent", "show", "one", "two"], "unexpected argument 'two'"),
        (&["agent", "list", "--output", "xml"], "invalid value 'xml'"),
        (&["agent", "drain", "one", "--max-grace", "soon"], "soon"),
        (&["up", "--agents", "0"], "0 is not in 1..=100"),
        (&["up", "--agents", "-1"], "'-1'"),
        (&["up", "--mem", "6"], "invalid value '6'"),
        (&["up", "--mem=-6GiB"], "invalid value '-6GiB'"),
        (&["up", "--cpus", "NaN"], "invalid value 'NaN'"),
        (&["up", "--cpus", "1e300"], "invalid value '1e300'"),
        (&["up", "--name", "Upper Case"], "invalid value 'Upper Case'"),
        (&["up", "--subnet", "10.0.0.0/8"], "invalid value '10.0.0.0/8'"),
        (&["up", "--preempt-at-pressure", "101"], "101 is not in 1..=100"),
        (&["master", "token", "--valid=-1h"], "invalid value '-1h'"),
        (&["master", "run", "--max-agent-removals", "5"], ""),
        (&["agent", "run", "--ports", "70000"], "invalid value '70000'"),
        (&["agent", "run", "--ports", "9-5"], "invalid value '9-5'"),
        (&["agent", "run", "--attribute", "rack"], "invalid value 'rack'"),
        (&["catalog", "install"], "<PACKAGE>"),
        (&["catalog", "install", "hello", "--set", "count"], "invalid value 'count'"),
        (&["catalog", "update", "web", "--rollback", "--set", "count=2"], "cannot be used with"),
        (&["catalog", "update", "web", "--rollback", "--version", "1"], "cannot be used with"),
        (&["task", "exec", "web-0"], "required"),
        (&["task", "logs", "web-0", "--tail", "some"], ""),
        (&["plan", "show", "demo", "--follow"], ""),
        (&["role", "quota", "set", "web"], "required"),
        (&["role", "quota", "set", "web", "--limit", "cpus"], "invalid value 'cpus'"),
        (&["role", "quota", "set", "web", "--limit", "cpus=-1"], "invalid value 'cpus=-1'"),
        (&["role", "quota", "set", "web", "--limit", "cpus=NaN"], "invalid value 'cpus=NaN'"),
        (&["maintenance", "schedule", "--start", "+1h"], "required"),
        (&["maintenance", "schedule", "one"], "--start"),
        (&["maintenance", "schedule", "one", "--start", "later"], "invalid value 'later'"),
        (&["maintenance", "start"], "required"),
        (&["volume", "create", "one", "db", "v", "5"], "invalid value '5'"),
        (&["kubernetes", "scale", "demo"], "--node-count"),
        (&["kubernetes", "scale", "demo", "--node-count", "-1"], "'-1'"),
        (&["kubernetes", "scale", "demo", "--node-count", "99999999999"], "invalid value '99999999999'"),
        (&["kubernetes", "load", "demo"], "required"),
        (&["kubernetes", "certificates", "demo", "eat"], "invalid value 'eat'"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
    ];
    let mut wrong = Vec::new();
    for (line, words) in lines {
        let output = mezzo("127.0.0.1:1", nowhere.path(), line);
        let said = text(&output.stderr);
        let is_said = !said.is_empty() && said.contains(words);
        if output.status.code() != Some(2) || !is_said || !output.stdout.is_empty() {
            wrong.push(format!("{line:?}, {words}: {:?}: {said}{}", output.status.code(), text(&output.stdout)));
        }
    }
    assert!(wrong.is_empty(), "not with two and in words on stderr:\n{}", wrong.join("\n"));
}

/// A pool in this process.
struct Pool {
    dir: tempfile::TempDir,
    running: master::Running,
}

impl Pool {
    async fn start() -> Self {
        daemon::tls::install_crypto_provider();
        let dir = tempfile::tempdir().expect("a directory");
        let (state, identity) = (dir.path().join("master"), dir.path().join("identity"));
        master::init(&master::MasterInit::new(&state, &identity)).expect("made");
        Identity::load(&identity).expect("an operator's identity");
        let config = master::MasterConfig {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            ..master::MasterConfig::new(&state)
        };
        let running = master::start(config).await.expect("started");
        Self { dir, running }
    }
    async fn mezzo(&self, line: &'static [&'static str]) -> Output {
        let (master, identity) = (self.running.advertise().to_string(), self.dir.path().join("identity"));
        tokio::task::spawn_blocking(move || mezzo(&master, &identity, line)).await.expect("it does not panic")
    }
    /// All that can be listed.
    async fn lists(&self) -> Vec<String> {
        let mut all = Vec::new();
        #[rustfmt::skip] // a table
        let lists: &[&[&str]] = &[
            &["agent", "list", "--output", "json"],
            &["framework", "list", "--output", "json"],
            &["role", "list", "--output", "json"],
            &["task", "list", "--output", "json"],
            &["vip", "list", "--output", "json"],
            &["reservation", "list", "--output", "json"],
            &["maintenance", "list", "--output", "json"],
            &["catalog", "list", "--output", "json"],
        ];
        for line in lists {
            let output = self.mezzo(line).await;
            assert!(output.status.success(), "{line:?}: {}", text(&output.stderr));
            all.push(text(&output.stdout));
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_ends_with_three_and_changes_nothing() {
    let pool = Pool::start().await;
    let before = pool.lists().await;
    #[rustfmt::skip] // a table
    let lines: &'static [(&'static [&'static str], &'static str)] = &[
        (&["agent", "show", "nobody"], "there is no agent 'nobody'"),
        (&["agent", "why", "nobody"], "there is no agent 'nobody'"),
        (&["agent", "deactivate", "nobody"], "there is no agent 'nobody'"),
        (&["agent", "reactivate", "nobody"], "there is no agent 'nobody'"),
        (&["agent", "drain", "nobody", "--yes"], "there is no agent 'nobody'"),
        (&["agent", "gone", "nobody", "--yes"], "there is no agent 'nobody'"),
        (&["agent", "preflight", "--agent", "nobody"], "nobody"),
        (&["framework", "show", "nobody"], "nobody"),
        (&["framework", "why", "nobody"], "there is no framework 'nobody'"),
        (&["framework", "teardown", "nobody", "--yes"], "there is no framework 'nobody'"),
        (&["role", "show", "nobody"], "nobody"),
        (&["role", "why", "nobody"], "there is no role 'nobody'"),
        (&["task", "show", "none"], "none"),
        (&["task", "why", "none"], "none"),
        (&["task", "logs", "none"], "none"),
        (&["task", "exec", "none", "--", "true"], "none"),
        (&["vip", "show", "none"], "none"),
        (&["plan", "show", "nobody"], "nobody"),
        (&["plan", "pause", "nobody"], "nobody"),
        (&["catalog", "show", "none"], "there is no package 'none'"),
        (&["catalog", "install", "none"], "there is no package 'none'"),
        (&["catalog", "update", "none", "--set", "a=1"], "nothing is installed as 'none'"),
        (&["catalog", "uninstall", "none", "--yes"], "nothing is installed as 'none'"),
        (&["maintenance", "schedule", "nobody", "--start", "+1h"], "there is no agent 'nobody'"),
        (&["maintenance", "cancel", "nobody"], "there is no agent 'nobody'"),
        (&["maintenance", "start", "nobody", "--yes"], "there is no agent 'nobody'"),
        (&["maintenance", "stop", "nobody"], "there is no agent 'nobody'"),
        (&["reservation", "list", "nobody"], "there is no agent 'nobody'"),
        (&["reservation", "add", "nobody", "db", "cpus:1"], "there is no agent 'nobody'"),
        (&["kubernetes", "status", "none"], "none"),
        (&["kubernetes", "scale", "none", "--node-count", "1", "--yes"], "none"),
        (&["kubernetes", "kubeconfig", "none"], "none"),
    ];
    let mut wrong = Vec::new();
    for (line, words) in lines {
        let output = pool.mezzo(line).await;
        let said = text(&output.stderr);
        let is_said = said.contains("error: ") && said.contains(words) && said.contains("next: ");
        if output.status.code() != Some(3) || !is_said || !output.stdout.is_empty() {
            wrong.push(format!("{line:?}: {:?}: {said}{}", output.status.code(), text(&output.stdout)));
        }
    }
    assert!(wrong.is_empty(), "not with three, words and a next step:\n{}", wrong.join("\n"));
    assert_eq!(pool.lists().await, before);
    pool.running.stop().await.expect("stopped in order");
}
