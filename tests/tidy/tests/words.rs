//! Words: what is generic does not know the packages it runs, nothing names the machine it was written on, and one idea has one
//! word (docs/glossary.md).

use tidy::Workspace;
use tidy::source::has_word;

/// These serve every framework alike.
const GENERIC: [&str; 9] = [
    "model/",
    "proto/",
    "daemon/",
    "master/",
    "agent/",
    "framework-sdk/",
    "services/",
    "catalog/src/",
    "catalog/tests/",
];

/// Names of one package's domain; the first is this project's reason to exist, and still only one package among others.
const OF_ONE_PACKAGE: [&str; 3] = ["kubernetes", "etcd", "kubelet"];

#[test]
fn generic_code_does_not_know_the_packages_it_runs() {
    let workspace = Workspace::open().expect("the workspace");
    let mut found = Vec::new();
    for (path, text) in workspace.kept_files().expect("files") {
        if !GENERIC.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            if let Some(word) = OF_ONE_PACKAGE.iter().find(|word| lower.contains(**word)) {
                found.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // In two pieces, so that this file does not accuse itself.
    let paths =
        [["/wo", "rk/"], ["/ho", "me/"], ["/tmp/", "bash_"], ["/root/.", "cargo"]].map(|pieces| pieces.concat());
    let workspace = Workspace::open().expect("the workspace");
    let mut found = Vec::new();
    for (path, text) in workspace.kept_files().expect("files") {
        for (number, line) in text.lines().enumerate() {
            if let Some(named) = paths.iter().find(|named| line.contains(named.as_str())) {
                found.push(format!("{path}:{}: {named}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Identifiers that have a better word in the glossary. Only whole identifiers and only ours: the wire of others keeps its names.
const BETTER: &[(&str, &str)] = &[
    ("slave_id", "agent_id"),
    ("cancel_offer", "rescind"),
    ("revoke_offer", "rescind"),
    ("work_directory", "sandbox"),
    ("tenant", "role"),
    ("workflow", "plan"),
    ("statefile", "checkpoint"),
];

/// Folders in which other systems' words are the vocabulary.
const OTHERS_WORDS: [&str; 3] = ["proto/", "k8s-framework/", "tests/tidy/"];

#[test]
fn identifiers_use_the_words_of_the_glossary() {
    let workspace = Workspace::open().expect("the workspace");
    let mut found = Vec::new();
    for file in workspace.all_sources().expect("sources") {
        if OTHERS_WORDS.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        for line in file.lines() {
            for (word, better) in BETTER {
                if has_word(line.code, word) {
                    found.push(format!("{}:{}: say {better}, not {word}", file.path, line.number));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
