//! Cores are plain values: no clock, files, threads, network, environment, log, async or floating point.

use tidy::Workspace;
use tidy::source::has_word;

/// Folders in which only decisions live.
const CORES: [&str; 6] = [
    "model/src",
    "master/core/src",
    "agent/core/src",
    "framework-sdk/core/src",
    "k8s-framework/core/src",
    "agent/executor/src/core",
];

/// Packages that are a core and nothing else, with a clippy.toml of their own.
const PACKAGES: [&str; 5] = ["model", "master/core", "agent/core", "framework-sdk/core", "k8s-framework/core"];

const BANNED: &[(&str, &str)] = &[
    ("std::fs", "a core has no files"),
    ("std::thread", "a core has no threads"),
    ("std::env", "configuration comes in as a value"),
    ("std::process", "a core starts nothing"),
    ("std::io", "a core reads and writes nothing"),
    ("UdpSocket", "a core has no network"),
    ("TcpStream", "a core has no network"),
    ("Instant", "time comes in with every step"),
    ("SystemTime", "time comes in with every step"),
    ("HashMap", "iteration order must be deterministic"),
    ("HashSet", "iteration order must be deterministic"),
    ("async", "a step is synchronous"),
    ("tokio", "a step is synchronous"),
    ("tracing", "a core logs nothing"),
    ("println", "a core logs nothing"),
    ("eprintln", "a core logs nothing"),
    ("f32", "quantities are whole thousandths"),
    ("f64", "quantities are whole thousandths"),
];

#[test]
fn cores_are_pure() {
    let workspace = Workspace::open().expect("the workspace");
    let mut found = Vec::new();
    for file in workspace.all_sources().expect("sources") {
        if !CORES.iter().any(|core| file.path.starts_with(core)) {
            continue;
        }
        for line in file.lines().filter(|line| !line.is_test) {
            for (word, reason) in BANNED {
                if has_word(line.code, word) {
                    found.push(format!("{}:{}: {word}: {reason}", file.path, line.number));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn cores_forbid_floating_point_arithmetic() {
    let workspace = Workspace::open().expect("the workspace");
    for package in PACKAGES {
        let text = std::fs::read_to_string(workspace.root.join(package).join("src/lib.rs")).expect("a crate root");
        assert!(text.contains("#![deny(clippy::float_arithmetic)]"), "{package}/src/lib.rs");
    }
}

#[test]
fn cores_have_the_same_stricter_lints() {
    let workspace = Workspace::open().expect("the workspace");
    let read = |package: &str| {
        std::fs::read_to_string(workspace.root.join(package).join("clippy.toml"))
            .unwrap_or_else(|error| panic!("{package}/clippy.toml: {error}"))
    };
    let first = read(PACKAGES[0]);
    for package in PACKAGES {
        assert_eq!(read(package), first, "{package}/clippy.toml differs from {}/clippy.toml", PACKAGES[0]);
    }
}
