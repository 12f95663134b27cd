//! `docs/lifecycles.md` says what the transition tables say. `MEZZO_WRITE=1` writes it anew.
use std::fmt::Write as _;
use std::path::Path;

use agent_core::{DestroyCause, Phase};
use master_core::lifecycle::{AGENT, FRAMEWORK, OFFER, OPERATION, Row};
use model::{TaskState, Timestamp};

fn words(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

fn rows(out: &mut String, title: &str, place: &str, table: &[Row]) {
    let _ = write!(out, "\n## {title}\n\nTable: `{place}`.\n\n| from | to | when |\n|---|---|---|\n");
    for row in table {
        let or = |name: &str, other: &str| if name.is_empty() { other.to_owned() } else { name.to_owned() };
        let _ = writeln!(out, "| {} | {} | {} |", or(row.from, "(new)"), or(row.to, "(forgotten)"), row.when);
    }
}

fn matrix<S>(out: &mut String, title: &str, place: &str, all: &[(String, S)], may: impl Fn(&S, &S) -> bool) {
    let _ = write!(out, "\n## {title}\n\nTable: `{place}`.\n\n| from | to |\n|---|---|\n");
    for (name, from) in all {
        let next: Vec<&str> = all.iter().filter(|(_, to)| may(from, to)).map(|(name, _)| name.as_str()).collect();
        let next = if next.is_empty() { "(final)".to_owned() } else { next.join(", ") };
        let _ = writeln!(out, "| {name} | {next} |");
    }
}

fn book() -> String {
    let mut out = "# Lifecycles\n\nWritten from the transition tables in the code; a test compares them.\n".to_owned();
    let tasks: Vec<_> = TaskState::ALL.into_iter().map(|state| (words(&format!("{state:?}")), state)).collect();
    matrix(&mut out, "Tasks", "TaskState::may_become", &tasks, |from, to| from.may_become(*to));
    let phases = [
        ("preparing", Phase::Preparing),
        ("starting", Phase::Starting),
        ("attaching", Phase::Attaching),
        ("attached", Phase::Attached),
        ("destroying", Phase::Destroying(DestroyCause::AllEnded)),
        ("ended", Phase::Ended(Timestamp(0))),
    ];
    let phases: Vec<_> = phases.into_iter().map(|(name, phase)| (name.to_owned(), phase)).collect();
    matrix(&mut out, "Pods, on their agent", "agent_core::Phase::may_become", &phases, Phase::may_become);
    rows(&mut out, "Agents", "master_core::lifecycle::AGENT", AGENT);
    rows(&mut out, "Frameworks", "master_core::lifecycle::FRAMEWORK", FRAMEWORK);
    rows(&mut out, "Offers", "master_core::lifecycle::OFFER", OFFER);
    rows(&mut out, "Operations", "master_core::lifecycle::OPERATION", OPERATION);
    out
}

#[test]
fn the_book_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lifecycles.md");
    if std::env::var_os("MEZZO_WRITE").is_some() {
        std::fs::write(&path, book()).expect("written");
    }
    let written = std::fs::read_to_string(&path).expect("docs/lifecycles.md is there: MEZZO_WRITE=1 writes it");
    assert!(written == book(), "docs/lifecycles.md is old: run this test with MEZZO_WRITE=1");
}
