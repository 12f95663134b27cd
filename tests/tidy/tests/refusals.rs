//! Every refusal has a test that names its code. A code that something says and that no test expects is found here, so a new
//! way to be refused comes with the test that shows it: what was wrong, and that nothing else has happened. The master's
//! core goes further: `master/core/src/tests/refusing.rs` compares all that it knows before and after each of its own.
use std::collections::{BTreeMap, BTreeSet};

use tidy::Workspace;

/// Codes that no test expects yet, and why: they need what a test of a process has not got. None may be added; one that a test
/// expects by now has to go.
const UNSHOWN: &[(&str, &str)] = &[
    ("CAT0007", "preflight of a package against living agents; its rules are tested in catalog"),
    ("K8S0008", "the master is lost between two writes of a scheduler"),
    ("K8S0009", "an image archive meets a node; seen by the end-to-end tests"),
    ("K8S0010", "a store that answers not at all, or breaks off a backup"),
    ("K8S0011", "a backup that was sent to another cluster"),
    ("K8S0012", "authorities that are changing while they are to change again"),
    ("K8S0013", "a quorum that has lost members; seen by the end-to-end tests of clusters with three"),
    ("K8S0014", "options that take members away from a cluster that runs"),
    ("MST0108", "a disk of the master that fails at one write; the process ends at most of them"),
    ("SDK0007", "the master is lost between a write and its answer; asked again, never shown to callers"),
    ("SDK0008", "what a framework renders cannot be written down"),
    ("SDK0009", "a framework that renders for minutes"),
];

#[test]
fn every_code_is_expected_by_a_test() {
    let workspace = Workspace::open().expect("the workspace");
    let (mut said, mut expected) = (BTreeMap::new(), BTreeSet::new());
    let unshown: BTreeSet<String> = UNSHOWN.iter().map(|(code, _)| (*code).to_owned()).collect();
    for file in workspace.all_sources().expect("sources") {
        // What this crate and the simulator name they do not expect of anybody.
        if file.path.starts_with("tests/tidy") || file.path.starts_with("tests/sim") {
            continue;
        }
        let is_tested = file.text.contains("#[test]") || file.text.contains("#[tokio::test") || is_table(&file.path);
        for line in file.lines() {
            if !line.is_test {
                for code in codes_in(line.code) {
                    said.entry(code).or_insert_with(|| format!("{}:{}", file.path, line.number));
                }
            } else if is_tested {
                expected.extend(line.code.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned));
            }
        }
    }
    assert!(said.len() > 100, "codes are found: {}", said.len());
    let shown = |code: &String| expected.contains(code) || unshown.contains(code);
    let silent: Vec<String> =
        said.iter().filter(|(code, _)| !shown(code)).map(|(code, place)| format!("{code}, said at {place}")).collect();
    assert!(silent.is_empty(), "no test expects:\n{}", silent.join("\n"));
    let twice: Vec<_> = unshown.intersection(&expected).collect();
    assert!(twice.is_empty(), "a test expects them: take them out of UNSHOWN: {twice:?}");
    let unsaid: Vec<_> = unshown.iter().filter(|code| !said.contains_key(*code)).collect();
    assert!(unsaid.is_empty(), "nothing says them any more: take them out of UNSHOWN: {unsaid:?}");
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
