//! Every refusal has a test that names its code. A code that something says and that no test expects is found here, so a new
//! way to be refused comes with the test that shows it: what was wrong, and that nothing else has happened. The master's
//! core goes further: `master/core/src/tests/refusing.rs` compares all that it knows before and after each of its own.
use std::collections::{BTreeMap, BTreeSet};

use tidy::Workspace;

/// Codes whose refusals need real processes, a kernel or hours: shown where these tests look at what a user reads of them.
const ELSEWHERE: &[(&str, &str, &str)] = &[];

#[test]
fn every_code_is_expected_by_a_test() {
    let workspace = Workspace::open().expect("the workspace");
    let (mut said, mut expected) = (BTreeMap::new(), BTreeSet::new());
    let elsewhere: BTreeSet<String> = ELSEWHERE.iter().map(|(code, _, _)| (*code).to_owned()).collect();
    for file in workspace.all_sources().expect("sources") {
        // What this crate and the simulator name they do not expect of anybody.
        if file.path.starts_with("tests/tidy") || file.path.starts_with("tests/sim") {
            continue;
        }
        let is_tested = file.text.contains("#[test]") || file.text.contains("#[tokio::test") || is_table(&file.path);
        for line in file.lines() {
            for code in codes_in(line.code) {
                if line.is_test && is_tested {
                    expected.insert(code);
                } else if !line.is_test {
                    said.entry(code).or_insert_with(|| format!("{}:{}", file.path, line.number));
                }
            }
        }
    }
    assert!(said.len() > 100, "codes are found: {}", said.len());
    let shown = |code: &String| expected.contains(code) || elsewhere.contains(code);
    let silent: Vec<String> =
        said.iter().filter(|(code, _)| !shown(code)).map(|(code, place)| format!("{code}, said at {place}")).collect();
    assert!(silent.is_empty(), "no test expects:\n{}", silent.join("\n"));
    let twice: Vec<_> = elsewhere.intersection(&expected).collect();
    assert!(twice.is_empty(), "a test expects them: take them out of ELSEWHERE: {twice:?}");
}

#[test]
fn tests_that_show_codes_elsewhere_exist() {
    let workspace = Workspace::open().expect("the workspace");
    for (code, path, test) in ELSEWHERE {
        let source = std::fs::read_to_string(workspace.root.join(path)).unwrap_or_default();
        assert!(source.contains(&format!("fn {test}(")), "{code}: {path} has no test {test}");
    }
}

/// Tables of cases that the file above them goes through.
fn is_table(path: &str) -> bool {
    path.contains("/tests/")
}

/// String literals that are a code and nothing else: three capitals or digits, the first a capital, and four digits.
fn codes_in(code: &str) -> Vec<String> {
    let is_code = |literal: &&str| {
        literal.len() == 7
            && literal.is_ascii()
            && literal.starts_with(|c: char| c.is_ascii_uppercase())
            && literal[..3].chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
            && literal[3..].chars().all(|c| c.is_ascii_digit())
    };
    code.split('"').skip(1).step_by(2).filter(is_code).map(str::to_owned).collect()
}
