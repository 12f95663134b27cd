//! A Rust source file, line by line, with comments and unit tests told apart from the program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One file.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the workspace.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// One line of a file.
#[derive(Debug)]
pub struct Line<'a> {
    /// Counted from one.
    pub number: usize,
    /// Without its comment.
    pub code: &'a str,
    /// Whether it is in a `#[cfg(test)]` module at the end of a file, or in a file of tests.
    pub is_test: bool,
}

impl SourceFile {
    pub(crate) fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let path = path.strip_prefix(root).unwrap_or(path).display().to_string();
        Ok(Self { path, text })
    }

    pub(crate) fn collect(root: &Path, directory: &Path, files: &mut Vec<Self>) -> Result<()> {
        let mut entries: Vec<PathBuf> = fs::read_dir(directory)
            .with_context(|| format!("list {}", directory.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                Self::collect(root, &path, files)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(Self::read(root, &path)?);
            }
        }
        Ok(())
    }

    /// The lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let name = Path::new(&self.path).file_stem().unwrap_or_default().to_string_lossy();
        let of_tests = self.path.split('/').any(|part| part == "tests") && !self.path.contains("/src/")
            || name == "tests"
            || name.ends_with("_test")
            || self.path.contains("/src/tests/");
        let mut in_tests = of_tests;
        self.text.lines().enumerate().map(move |(index, line)| {
            if line.starts_with("#[cfg(test)]") {
                in_tests = true;
            }
            Line { number: index + 1, code: without_comment(line), is_test: in_tests }
        })
    }
}

/// Cuts a comment off. Two slashes in a string are taken for one too, unless a colon is before them, as in an address.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(found) = line[from..].find("//") {
        let at = from + found;
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

/// Whether `word` stands in `code` as an identifier or a word of its own.
pub fn has_word(code: &str, word: &str) -> bool {
    let boundary = |character: Option<char>| !character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .any(|(at, _)| boundary(code[..at].chars().next_back()) && boundary(code[at + word.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_cut_and_addresses_are_not() {
        assert_eq!(without_comment("let a = 1; // why"), "let a = 1; ");
        assert_eq!(without_comment(r#"let a = "https://x"; // why"#), r#"let a = "https://x"; "#);
        assert_eq!(without_comment("//! all of it"), "");
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("let job = 1", "job"));
        assert!(!has_word("let jobs = 1", "job"));
        assert!(!has_word("let a_job = 1", "job"));
    }

    #[test]
    fn a_unit_test_module_is_told_apart() {
        let file =
            SourceFile { path: "a/src/b.rs".to_owned(), text: "fn a() {}\n#[cfg(test)]\nmod tests {}\n".to_owned() };
        let tests: Vec<bool> = file.lines().map(|line| line.is_test).collect();
        assert_eq!(tests, [false, true, true]);
    }
}
