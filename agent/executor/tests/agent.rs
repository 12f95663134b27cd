//! What an agent relies on: reconnects, what a dead executor leaves, checks, sessions, privileges, memory.
mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use common::{HARNESS, Pod, cgroup_dirs, eventually, in_place, is_alive, record, until};
use executor::{ExecCommand, cleanup_pod, files};
use nix::sys::signal::Signal;
use proto::mezzo::v1::container_report::Kind;
use proto::mezzo::v1::ended::How;
use proto::mezzo::v1::{Check, CommandCheck, HttpCheck, TcpCheck, check};
use serde_json::json;

#[tokio::test]
async fn a_new_connection_repeats_what_was_not_seen() {
    let mut pod = Pod::new();
    pod.container("one", "exit 0").restart = in_place(60_000, 60_000);
    pod.container("two", "sleep 1000").restart = in_place(10, 10);
    let mut first = pod.start().await;
    while first.reports.len() < 3 {
        first.next().await;
    }
    first.seen(1).await;
    first.kill("two", 0).await;
    first.ended("two").await;
    // The newest connection wins; the old one is closed without a word.
    let mut second = pod.agent().await;
    assert!(matches!(first.end.receiver.recv().await, Ok(None) | Err(_)));
    for _ in 2..=4 {
        second.next().await;
    }
    assert_eq!(second.reports, first.reports[1..]);
    // Repeating what was said changes nothing.
    pod.start_on(&mut second).await;
    second.kill("two", 0).await;
    second.kill("one", 0).await;
    let ended = second.ended("one").await;
    assert_eq!((ended.how, second.reports.last().unwrap().number), (Some(How::ExitCode(0)), 5));
}

#[tokio::test]
async fn reports_wait_for_an_absent_agent() {
    let mut pod = Pod::new();
    pod.container("web", "while [ ! -e /go ]; do sleep 0.01; done; exit 6");
    let mut agent = pod.start().await;
    agent.started("web").await;
    drop(agent);
    fs::write(pod.rootfs("web").join("go"), "").unwrap();
    until("the end is on disk", || !files::load_ended(&pod.dir).unwrap().is_empty()).await;
    let mut agent = pod.agent().await;
    agent.started("web").await;
    assert_eq!(agent.ended("web").await.how, Some(How::ExitCode(6)));
    assert_eq!(files::load_pod(&pod.dir).unwrap().unwrap().pod_id, "pod");
}

#[tokio::test]
async fn nothing_is_left_of_a_pod_whose_executor_was_killed() {
    let mut pod = Pod::new();
    let fork = "sleep 1000 & sleep 1000 & echo $!; wait";
    pod.container("plain", fork);
    pod.container_with("shared-pids", fork, |config| {
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    });
    let mut agent = pod.start().await;
    let mut pids = Vec::new();
    while pids.len() < 2 {
        if let Some(Kind::Started(started)) = agent.next().await.kind {
            pids.push(started.pid);
        }
    }
    until("children run", || !pod.stdout("shared-pids").is_empty() && !pod.stdout("plain").is_empty()).await;
    pids.push(pod.stdout("shared-pids").trim().parse().unwrap());
    let mounted = pod.dir.join("plain/left over");
    fs::create_dir(&mounted).unwrap();
    nix::mount::mount(Some("tmpfs"), &mounted, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();

    let executor = record(&pod);
    assert!(executor.is_alive());
    pod.kill_executor();
    assert!(!executor.is_alive());
    assert!(pids.iter().all(|&pid| is_alive(pid)), "this test wants orphans");
    cleanup_pod(&pod.dir).unwrap();
    for pid in pids {
        until("orphans are gone", || !is_alive(pid)).await;
    }
    assert_eq!(cgroup_dirs(&pod.cgroup), Vec::<PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(pod.dir.to_str().unwrap()), "{mounts}");
    cleanup_pod(&pod.dir).unwrap();
}

#[tokio::test]
async fn an_executor_keeps_no_mounts_of_other_pods() {
    let mut pod = Pod::new();
    pod.kill_executor();
    fs::remove_file(pod.dir.join(files::EXECUTOR)).ok();
    let (own, other) = (pod.dir.join("own"), pod.dir.with_file_name("other"));
    for path in [&own, &other] {
        fs::create_dir(path).unwrap();
        nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
    }
    pod.restart_executor(HARNESS.as_ref());
    let _agent = pod.agent().await;
    let mounts = |pid: u32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let has = |mounts: &str, path: &PathBuf| mounts.contains(&format!(" {} ", path.display()));
    let (here, there) = (mounts(std::process::id()), mounts(pod.executor_pid()));
    assert_eq!((has(&here, &own), has(&here, &other)), (true, true));
    assert_eq!((has(&there, &own), has(&there, &other)), (true, false));
}

#[tokio::test]
async fn an_executor_told_to_stop_stops_its_containers_first() {
    let mut pod = Pod::new();
    pod.container("web", "trap 'exit 3' TERM; echo up; while true; do sleep 0.01; done").restart = in_place(10, 10);
    let mut agent = pod.start().await;
    agent.started("web").await;
    until("it runs", || pod.stdout("web") == "up\n").await;
    let pid = nix::unistd::Pid::from_raw(pod.executor_pid().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(pod.wait_executor().success());
    let ended = files::load_ended(&pod.dir).unwrap();
    let Some(Kind::Ended(ended)) = &ended[0].kind else { panic!("{ended:?}") };
    assert_eq!((&ended.how, ended.killed_on_request), (&Some(How::ExitCode(3)), true));
}

#[tokio::test]
async fn a_session_runs_in_the_container_and_passes_its_code_on() {
    let mut pod = Pod::new();
    pod.container_with("web", "sleep 1000", |config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
        });
    });
    let mut agent = pod.start().await;
    let init = agent.started("web").await;
    let session = |script: &str| {
        ExecCommand::new(HARNESS, &pod.dir, "web", vec!["sh".into(), "-c".into(), script.into()]).env("SIZE", "big")
    };
    let out = session("id -u; echo $COLOUR $SIZE; cat /proc/self/cgroup; exit 5").command().output().unwrap();
    assert!(
        String::from_utf8(session("cat /proc/self/status").command().output().unwrap().stdout)
            .unwrap()
            .contains("SigBlk:\t0000000000000000\n")
    );
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(5), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.starts_with("1000\nred big\n"), "{said}");
    let cgroups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    assert_eq!(said.lines().skip(2).collect::<Vec<_>>(), cgroups.lines().collect::<Vec<_>>());

    // The container's seccomp filter counts for sessions too.
    let out = session("mkdir /tmp-x; echo $?; kill -9 $$").command().output().unwrap();
    assert_eq!((String::from_utf8_lossy(&out.stdout).as_ref(), out.status.code()), ("1\n", Some(137)));
    let out = ExecCommand::new(HARNESS, &pod.dir, "web", vec!["/no/such".into()]).command().output().unwrap();
    assert_eq!(out.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&out.stderr).contains("/no/such"), "{out:?}");

    // Input goes in, and a session dies with its helper, however that dies.
    for (signal, code) in [(Signal::SIGTERM, Some(137)), (Signal::SIGKILL, None)] {
        let mut helper =
            session("echo x; exec cat").command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Held open to the end: at the end of its input the command would leave by itself.
        let (mut input, mut output) = (helper.stdin.take().unwrap(), helper.stdout.take().unwrap());
        input.write_all(b"y").unwrap();
        let mut said = [0; 3];
        output.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"x\ny");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(helper.id().cast_signed()), signal).unwrap();
        assert_eq!(helper.wait().unwrap().code(), code);
        // The command was the last writer.
        assert_eq!(output.read(&mut said).unwrap(), 0);
    }
}

#[tokio::test]
async fn a_session_on_a_terminal_controls_it() {
    let mut pod = Pod::new();
    pod.container("web", "sleep 1000");
    let mut agent = pod.start().await;
    agent.started("web").await;
    let pty = nix::pty::openpty(None, None).unwrap();
    let slave = || -> OwnedFd { pty.slave.try_clone().unwrap() };
    let script = "stty -echo; exec 3</dev/tty && echo owns; trap 'echo interrupted; exit 8' INT; echo ready; while true; do sleep 0.01; done";
    let session = ExecCommand::new(HARNESS, &pod.dir, "web", vec!["sh".into(), "-c".into(), script.into()]);
    let mut helper = session.command().stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
    drop(pty.slave);
    let mut master = fs::File::from(pty.master);
    let mut said = String::new();
    let mut read_until = |master: &mut fs::File, wanted: &str| {
        let mut buffer = [0; 256];
        while !said.contains(wanted) {
            let length = master.read(&mut buffer).unwrap();
            said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        said.clone()
    };
    assert!(read_until(&mut master, "ready").contains("owns"));
    master.write_all(&[3]).unwrap(); // Ctrl-C
    read_until(&mut master, "interrupted");
    assert_eq!(helper.wait().unwrap().code(), Some(8));
}

fn check(kind: check::Kind) -> Option<Check> {
    Some(Check { kind: Some(kind), interval_ms: 20, timeout_ms: 1000, consecutive_failures: 2, ..Check::default() })
}

#[tokio::test]
async fn a_command_check_changes_its_verdict() {
    let mut pod = Pod::new();
    let argv = ["sh", "-c", "echo looked; test -e /ready"].map(str::to_owned).to_vec();
    pod.container("web", "sleep 1000").readiness = check(check::Kind::Command(CommandCheck { argv }));
    let mut agent = pod.start().await;
    let checked = agent.checked("web").await;
    assert_eq!(
        (checked.is_readiness, checked.passed, checked.message.as_str()),
        (true, false, "the command exited with 1: looked")
    );
    let file = pod.rootfs("web").join("ready");
    fs::write(&file, "").unwrap();
    let checked = agent.checked("web").await;
    assert_eq!((checked.passed, checked.message.as_str()), (true, "looked"));
    fs::remove_file(&file).unwrap();
    assert!(!agent.checked("web").await.passed);
}

#[tokio::test]
async fn a_check_that_hangs_is_killed_and_an_unhealthy_container_restarted() {
    let mut pod = Pod::new();
    let argv = ["sleep", "1000"].map(str::to_owned).to_vec();
    let spec = pod.container("web", "echo run; sleep 1000");
    (spec.restart, spec.kill_grace_ms) = (in_place(10, 10), 1);
    spec.health = check(check::Kind::Command(CommandCheck { argv })).map(|check| Check { timeout_ms: 200, ..check });
    let mut agent = pod.start().await;
    let init = agent.started("web").await;
    let checked = agent.checked("web").await;
    assert_eq!(
        (checked.is_readiness, checked.passed, checked.message.as_str()),
        (false, false, "the command took longer than 200 ms")
    );
    assert_eq!(agent.restarting("web").await.why, "health check failed: the command took longer than 200 ms");
    assert!(!is_alive(init));
}

#[tokio::test]
async fn tcp_and_http_checks_look_at_the_answer() {
    let mut pod = Pod::new();
    let port = free_port();
    let script = format!("echo fine > /page; exec httpd -f -p 127.0.0.1:{port} -h /");
    let http = HttpCheck { scheme: "http".into(), port: port.into(), path: "/page".into(), ..HttpCheck::default() };
    let spec = pod.container("web", &script);
    spec.readiness = check(check::Kind::Http(http));
    // Nothing listens at first: forgiven for a while.
    spec.health =
        check(check::Kind::Tcp(TcpCheck { port: port.into() })).map(|check| Check { grace_ms: 60_000, ..check });
    let mut agent = pod.start().await;
    let mut passed = Vec::new();
    while passed.len() < 2 {
        let checked = agent.checked("web").await;
        if checked.passed {
            passed.push((checked.is_readiness, checked.message));
        }
    }
    passed.sort();
    assert_eq!(passed, [(false, format!("port {port} accepts connections")), (true, "answered 200 OK".to_owned())]);
    fs::remove_file(pod.rootfs("web").join("page")).unwrap();
    let checked = agent.checked("web").await;
    assert!(!checked.passed && checked.message.starts_with("answered 404 Not Found"), "{checked:?}");
}

#[tokio::test]
async fn https_checks_verify_with_files_of_the_container() {
    let mut pod = Pod::new();
    let (port, server) = https_server();
    let https = |ca_file: &str| HttpCheck {
        scheme: "https".into(),
        host: "localhost".into(),
        port: port.into(),
        path: "/".into(),
        ca_file: ca_file.into(),
        ..HttpCheck::default()
    };
    // The link is absolute: it must be followed inside the container's root.
    let script =
        "rm -f /ca.pem; ln -s /certs/ca.pem /ca.pem 2>/dev/null || busybox ln -s /certs/ca.pem /ca.pem; sleep 1000";
    pod.container("right", script).readiness = check(check::Kind::Http(https("/ca.pem")));
    pod.container("wrong", "sleep 1000").readiness = check(check::Kind::Http(https("/other.pem")));
    pod.container("careless", "sleep 1000").readiness = check(check::Kind::Http(https("")));
    fs::create_dir(pod.rootfs("right").join("certs")).unwrap();
    fs::write(pod.rootfs("right").join("certs/ca.pem"), &server.certificate).unwrap();
    fs::write(pod.rootfs("wrong").join("other.pem"), &https_server().1.certificate).unwrap();
    let mut agent = pod.start().await;
    let mut verdicts: std::collections::BTreeMap<String, bool> = std::collections::BTreeMap::new();
    while verdicts.len() < 3 || !verdicts["task-right"] {
        let report = agent.next().await;
        if let Some(Kind::Checked(checked)) = report.kind {
            verdicts.insert(report.task_id, checked.passed);
        }
    }
    let expected = [("careless", true), ("right", true), ("wrong", false)];
    assert_eq!(
        verdicts.into_iter().collect::<Vec<_>>(),
        expected.map(|(name, passed)| (format!("task-{name}"), passed))
    );
}

#[tokio::test]
async fn a_privileged_container_has_cgroups_and_mounts_of_its_own() {
    let mut pod = Pod::new();
    let script = r#"
        echo $$ > /sys/fs/cgroup/memory/kube/a/cgroup.procs 2>/dev/null
        mkdir -p /sys/fs/cgroup/memory/kube/a && echo $$ > /sys/fs/cgroup/memory/kube/a/cgroup.procs || exit 11
        mkdir -p /sys/fs/cgroup/systemd/kube || exit 12
        mkdir -p /data/lower /data/upper /data/work /data/merged && echo seen > /data/lower/file
        mount -t overlay overlay -o lowerdir=/data/lower,upperdir=/data/upper,workdir=/data/work /data/merged || exit 13
        cat /data/merged/file; cat /proc/self/cgroup; cat /proc/self/mountinfo; ls /dev
        echo done; sleep 1000"#;
    let volume = pod.dir.join("data");
    fs::create_dir(&volume).unwrap();
    let all = json!([
        "CAP_SYS_ADMIN",
        "CAP_NET_ADMIN",
        "CAP_MKNOD",
        "CAP_SYS_RESOURCE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL"
    ]);
    let is_v1 = PathBuf::from("/sys/fs/cgroup/memory").exists();
    pod.container_with("node", script, |config| {
        config["process"]["noNewPrivileges"] = json!(false);
        config["process"]["oomScoreAdj"] = json!(-900);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = all.clone();
        }
        config["mounts"] = json!([
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rw"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["rw"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]},
            {"destination": "/data", "type": "bind", "source": volume, "options": ["rbind", "rw", "rshared"]}
        ]);
        config["linux"]["rootfsPropagation"] = json!("shared");
        config["linux"]["namespaces"] =
            json!([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}]);
        config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    });
    let ptmx = fs::symlink_metadata("/dev/ptmx").unwrap().file_type();
    let mut agent = pod.start().await;
    assert!(is_v1, "this machine has no cgroup v1 hierarchies; teach this test v2");
    eventually("it did all that", || {
        std::future::ready((pod.stdout("node").contains("done\n") || !agent_ended(&pod).is_empty()).then_some(()))
    })
    .await;
    let (said, complained) = (pod.stdout("node"), pod.stderr("node"));
    assert!(said.starts_with("seen\n"), "{said}{complained}");
    for line in said.lines().filter(|line| line.contains(":name=systemd:") || line.contains(":pids:")) {
        assert!(line.ends_with(":/"), "the namespace's root is not the container's cgroup: {line}");
    }
    assert!(said.contains(":memory:/kube/a"), "{said}");
    let shared = |at: &str| said.lines().any(|line| line.contains(&format!(" {at} ")) && line.contains(" shared:"));
    assert!(shared("/data") && shared("/data/merged") && shared("/"), "{said}");
    assert!(said.contains("\nkmsg\n") && said.contains("\nfuse\n"), "{said}");
    assert_eq!(fs::symlink_metadata("/dev/ptmx").unwrap().file_type(), ptmx, "the host's /dev was changed");
    // Its mounts are not the host's.
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(volume.to_str().unwrap()));
    assert!(PathBuf::from("/sys/fs/cgroup/memory").join(&pod.cgroup[1..]).join("node/kube/a").is_dir());

    // A session in it, although its init sits in a cgroup below.
    let session = ExecCommand::new(HARNESS, &pod.dir, "node", vec!["cat".into(), "/data/merged/file".into()]);
    assert_eq!(session.command().output().unwrap().stdout, b"seen\n");
    agent.kill("node", 0).await;
    agent.ended("node").await;
    assert_eq!(cgroup_dirs(&format!("{}/node", pod.cgroup)), Vec::<PathBuf>::new());
}

fn agent_ended(pod: &Pod) -> Vec<proto::mezzo::v1::ContainerReport> {
    files::load_ended(&pod.dir).unwrap()
}

#[tokio::test]
async fn an_executor_is_small() {
    let mut pod = Pod::new();
    let (port, _server) = https_server();
    for n in 0..4 {
        let spec = pod.container(&format!("c{n}"), "while true; do echo line; sleep 0.01; done");
        let https =
            HttpCheck { scheme: "https".into(), host: "localhost".into(), port: port.into(), ..HttpCheck::default() };
        spec.readiness = check(check::Kind::Http(https));
        spec.health = check(check::Kind::Command(CommandCheck { argv: vec!["true".into()] }));
    }
    let mut agent = pod.start().await;
    let mut passed = 0;
    while passed < 8 {
        passed += usize::from(matches!(agent.next().await.kind, Some(Kind::Checked(checked)) if checked.passed));
    }
    let pid = pod.executor_pid();
    until("it has logged a lot", || pod.stdout("c0").len() > 1000).await;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    eprintln!("resident anonymous: {} KiB", field("RssAnon:"));
    assert!(field("RssAnon:") <= 8 * 1024, "{status}");
    assert_eq!(field("Threads:"), 1);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Server {
    certificate: String,
}

/// Answers 200 on loopback with a certificate of its own, until the test process ends.
fn https_server() -> (u16, Server) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.pem();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    let _ = stream.shutdown().await;
                });
            }
        });
    });
    (port, Server { certificate })
}

#[tokio::test]
async fn what_a_pod_did_elsewhere_is_undone_after_its_executor_was_killed() {
    let mut pod = Pod::new();
    pod.container("left", "touch /trace; sleep 1000");
    pod.clean_up("rm /trace; echo undone");
    pod.container("right", "touch /trace; sleep 1000");
    pod.clean_up("rm /trace && rm /no/such/file");
    let mut agent = pod.start().await;
    agent.started("left").await;
    agent.started("right").await;
    let traces = [pod.rootfs("left").join("trace"), pod.rootfs("right").join("trace")];
    until("both ran", || traces.iter().all(|trace| trace.exists())).await;

    let alive = pod.run_clean_up();
    assert!(!alive.status.success(), "the executor still runs");
    pod.kill_executor();
    executor::kill_pod(&pod.dir).unwrap();
    let done = pod.run_clean_up();
    // The second failed, and that is told; the first was done all the same.
    assert!(!done.status.success());
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(log.contains("container right has not cleaned up: it exited with 1"), "{log}");
    assert!(!traces.iter().any(|trace| trace.exists()));
    assert_eq!(pod.stdout("left"), "undone\n");
    assert_eq!(cgroup_dirs(&format!("{}/left", pod.cgroup)), Vec::<PathBuf>::new());
}
