//! `docs/parity.md` says of every feature of the model which test shows it, or why it was left out; the tests it names
//! are there.
use std::path::Path;

/// A line of a table: its cells.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn every_row_is_shown_by_a_test_that_exists_or_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("docs/parity.md")).expect("docs/parity.md");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Feature")) {
        let cells = cells(line);
        let [feature, _, shown] = cells.as_slice() else {
            wrong.push(format!("three cells are needed: {line}"));
            continue;
        };
        rows += 1;
        if let Some(why) = shown.strip_prefix("left out for now:").or_else(|| shown.strip_prefix("left out:")) {
            if why.trim().is_empty() {
                wrong.push(format!("{feature}: left out without a reason"));
            }
            continue;
        }
        for named in shown.split("<br>").map(str::trim) {
            // `path/of/file.rs: name_of_test`
            let Some((path, test)) = named.trim_matches('`').split_once(": ") else {
                wrong.push(format!("{feature}: no test is named in '{named}'"));
                continue;
            };
            let source = std::fs::read_to_string(root.join(path)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                wrong.push(format!("{feature}: {path} has no test {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/parity.md:\n{}", wrong.join("\n"));
    assert!(rows > 60, "rows are missing: {rows}");
}
