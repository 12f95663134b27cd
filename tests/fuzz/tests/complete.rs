//! A decoder without a target is one that nobody tried to break.
use std::collections::BTreeSet;

use fuzz::targets::requests::MESSAGES;
use tidy::{SourceFile, Workspace};

/// Readers of the wire that are not called so.
const ALSO: [&str; 2] = ["task::update_id", "resources::milli"];

fn sources() -> Vec<SourceFile> {
    Workspace::open().and_then(|workspace| workspace.all_sources()).expect("sources")
}

fn targets(sources: &[SourceFile]) -> String {
    let own = sources.iter().filter(|file| file.path.starts_with("tests/fuzz/src/targets/"));
    own.map(|file| file.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Names of public functions.
fn functions(file: &SourceFile) -> Vec<String> {
    let lines = file.lines().filter(|line| !line.is_test);
    let named = lines.filter_map(|line| {
        let rest = line.code.strip_prefix("pub fn ").or_else(|| line.code.strip_prefix("pub async fn "))?;
        rest.split(['(', '<']).next().map(str::to_owned)
    });
    named.collect()
}

#[test]
fn every_reader_of_the_wire_has_a_target() {
    let sources = sources();
    let targets = targets(&sources);
    let mut readers: BTreeSet<String> = ALSO.map(str::to_owned).into();
    for file in sources.iter().filter(|file| file.path.starts_with("proto/src/convert")) {
        let module = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        readers
            .extend(functions(file).into_iter().filter(|it| it.contains("from_")).map(|it| format!("{module}::{it}")));
    }
    assert!(readers.len() > 15, "the convention has changed: {readers:?}");
    let missing: Vec<_> = readers.iter().filter(|reader| !targets.contains(&format!("{reader}("))).collect();
    assert!(missing.is_empty(), "call these in a target of tests/fuzz: {missing:?}");
}

#[test]
fn every_door_is_used() {
    let sources = sources();
    let (targets, mut unused) = (targets(&sources), Vec::new());
    let own: String = sources
        .iter()
        .filter(|file| file.path.starts_with("tests/fuzz/src/"))
        .map(|file| file.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    let doors =
        sources.iter().filter(|file| file.path.ends_with("src/fuzzing.rs") || file.path.ends_with("api/fuzzing.rs"));
    for file in doors {
        unused.extend(functions(file).into_iter().filter(|name| !own.contains(&format!("fuzzing::{name}"))));
    }
    assert!(unused.is_empty() && !targets.is_empty(), "nobody goes through {unused:?}");
}

#[test]
fn every_message_of_every_service_is_tried() {
    let workspace = Workspace::open().expect("the workspace");
    let mut messages = BTreeSet::new();
    for (path, text) in workspace.kept_files().expect("files") {
        if !path.ends_with(".proto") {
            continue;
        }
        for line in text.lines().filter(|line| line.trim_start().starts_with("rpc ")) {
            let inner = line.split(['(', ')']).skip(1).step_by(2);
            messages.extend(inner.map(|name| name.trim_start_matches("stream ").to_owned()));
        }
    }
    let listed: BTreeSet<String> = MESSAGES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(messages, listed, "the list of tests/fuzz/src/targets/requests.rs");
}

#[test]
fn every_file_of_targets_is_one() {
    for file in sources().iter().filter(|file| file.path.starts_with("tests/fuzz/src/targets/")) {
        let name = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        assert!(fuzz::targets::Target::find(name).is_some(), "{}", file.path);
    }
}
