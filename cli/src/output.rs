//! Printing: data to stdout as a table or as JSON, everything else to stderr.
use std::io::Write as _;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::grammar::Format;

/// Columns for people.
pub(crate) struct Rows {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect());
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row.clone());
        }
        table.lines().map(|line| line.trim().to_owned() + "\n").collect()
    }
}

/// Prints data: `value` as JSON, or what `rows` makes of it.
pub(crate) fn data<T: Serialize>(format: Format, value: &T, rows: impl FnOnce(&T) -> Rows) -> Result<()> {
    match format {
        Format::Json => json(value),
        Format::Table => {
            let rows = rows(value);
            if rows.is_empty() {
                note("nothing to list");
                return Ok(());
            }
            out(&rows.text())
        }
    }
}

/// Prints one thing: `value` as JSON, or as lines `name  value`.
pub(crate) fn one<T: Serialize>(
    format: Format,
    value: &T,
    fields: impl FnOnce(&T) -> Vec<(&'static str, String)>,
) -> Result<()> {
    match format {
        Format::Json => json(value),
        Format::Table => {
            let fields: Vec<_> = fields(value).into_iter().filter(|(_, text)| !text.is_empty()).collect();
            let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            let mut text = String::new();
            for (name, value) in fields {
                let indented = value.replace('\n', &format!("\n{:width$}  ", ""));
                text.push_str(&format!("{name:width$}  {indented}\n"));
            }
            out(&text)
        }
    }
}

/// Prints JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::while_doing("print as json", &error))?;
    out(&(text + "\n"))
}

/// Prints to stdout. A reader that went away (`| head`) is no failure.
pub(crate) fn out(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::while_doing("write to stdout", &error))
        }
        _ => Ok(()),
    }
}

/// Tells something on stderr.
pub(crate) fn note(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Asks before something is destroyed. Without a terminal, `--yes` is needed.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<()> {
    use std::io::IsTerminal as _;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} needs a yes"), "add --yes"));
    }
    match dialoguer::Confirm::new().with_prompt(format!("{question}?")).default(false).interact() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new("nothing was done", "", "")),
        Err(error) => Err(Failure::while_doing("ask", &error)),
    }
}

/// How long ago, for people: `3s`, `12m`, `5h`, `9d`.
pub(crate) fn ago(unix_ms: i64) -> String {
    if unix_ms <= 0 {
        return String::new();
    }
    span(now_ms().saturating_sub(unix_ms))
}

/// A length of time, for people.
pub(crate) fn span(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
