//! Habits that keep a code base honest: tests that run and do not wait for luck, files that say what they are for, and a page
//! for every code that a user may read.

use std::collections::BTreeSet;

use tidy::Workspace;

#[test]
fn no_test_is_switched_off_and_nothing_is_left_to_do() {
    // In two pieces, so that this file does not accuse itself.
    let banned = [["#[ig", "nore"], ["to", "do!("], ["unimple", "mented!("]].map(|pieces| pieces.concat());
    let workspace = Workspace::open().expect("the workspace");
    let mut found = Vec::new();
    for file in workspace.all_sources().expect("sources") {
        for line in file.lines() {
            if let Some(word) = banned.iter().find(|word| line.code.contains(word.as_str())) {
                found.push(format!("{}:{}: {word}", file.path, line.number));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A loop that asks again until a deadline is how a condition is waited for; its sleep is not the synchronization.
const LINES_OF_A_LOOP: usize = 20;

#[test]
fn tests_wait_for_conditions() {
    let sleep = ["::sle", "ep("].concat();
    let workspace = Workspace::open().expect("the workspace");
    let mut found = Vec::new();
    for file in workspace.all_sources().expect("sources") {
        let is_harness = file.path.starts_with("tests/e2e/");
        let lines: Vec<_> = file.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if !(line.is_test || is_harness) || !line.code.contains(sleep.as_str()) {
                continue;
            }
            let above = &lines[index.saturating_sub(LINES_OF_A_LOOP)..index];
            let is_bounded =
                |line: &tidy::source::Line<'_>| line.code.contains("deadline") || line.code.contains("within(");
            if !above.iter().any(is_bounded) {
                found.push(format!("{}:{}", file.path, line.number));
            }
        }
    }
    assert!(found.is_empty(), "sleep is not synchronization:\n{}", found.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let workspace = Workspace::open().expect("the workspace");
    let silent: Vec<String> = workspace
        .all_sources()
        .expect("sources")
        .into_iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.path)
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of:\n{}", silent.join("\n"));
}

#[test]
fn every_error_code_has_a_page() {
    let workspace = Workspace::open().expect("the workspace");
    let mut codes = BTreeSet::new();
    for file in workspace.all_sources().expect("sources") {
        if !file.path.starts_with("tests/") {
            for line in file.lines().filter(|line| !line.is_test) {
                codes.extend(codes_in(line.code));
            }
        }
    }
    let pages: BTreeSet<String> = std::fs::read_dir(workspace.root.join("docs/errors"))
        .expect("docs/errors")
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "README")
        .collect();
    let missing: Vec<_> = codes.difference(&pages).collect();
    let stale: Vec<_> = pages.difference(&codes).collect();
    assert!(missing.is_empty(), "without a page in docs/errors: {missing:?}");
    assert!(stale.is_empty(), "a page in docs/errors for a code that nothing says: {stale:?}");
}

/// String literals of three capitals (or digits after the first) and four digits.
fn codes_in(code: &str) -> Vec<String> {
    code.split('"')
        .skip(1)
        .step_by(2)
        .filter(|literal| {
            literal.len() == 7
                && literal.is_ascii()
                && literal.starts_with(|c: char| c.is_ascii_uppercase())
                && literal[..3].chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
                && literal[3..].chars().all(|c| c.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn codes_are_found_in_literals_only() {
    assert_eq!(codes_in(r#"Refusal::new("MST0001", "see MST0002")"#), ["MST0001"]);
}
