//! Problems as workflow commands: GitHub shows them at the lines of a pull request.
//!
//! <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>

use std::fmt::Write as _;

use super::Record;

/// One command a line.
pub(in crate::cli) fn commands(records: &[Record<'_>]) -> String {
    let mut out = String::new();
    for record in records {
        let command = if record.severity == "warning" { "warning" } else { "error" };
        let mut properties = format!("title={}", property(record.code));
        let at = &record.at;
        if let (Some(file), Some(line), Some(end)) = (at.file, at.line, at.end_line) {
            // Writing into a string cannot fail.
            let _ = write!(properties, ",file={},line={line},endLine={end}", property(file));
            // Columns are understood only within one line.
            if let (true, Some(column), Some(end)) = (line == end, at.column, at.end_column) {
                let _ = write!(properties, ",col={column},endColumn={end}");
            }
        }
        let help = record.help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        let message = data(&format!("{}{help}", record.message));
        let _ = writeln!(out, "::{command} {properties}::{message}");
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
