//! Values as TOML that may be shown and pasted: in one line, and with nothing in it that a terminal would
//! obey. What cannot be shown is escaped as TOML wants it, so that it means the same in a file.

use std::fmt::Write as _;

use toml::Value;

use crate::deny::is_deceptive;

/// A text as a basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_deceptive(c) => {
                // Writing into a string cannot fail.
                let _ = match u32::from(c) {
                    code @ ..0x1_0000 => write!(out, "\\u{code:04X}"),
                    code => write!(out, "\\U{code:08X}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value in one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let members: Vec<String> =
                table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => value.to_string(),
    }
}

fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_shows_nothing_that_a_terminal_obeys() {
        let text = "a\"b\\c\n\t\r\u{1b}[2J\u{202e}\u{2066}\u{61c}\u{9b}\u{feff}\u{e0041}é😀'''\"\"\"";
        let mut table = toml::Table::new();
        table.insert("k".to_owned(), text.into());
        table.insert(text.to_owned(), Value::Array(vec![text.into(), 1.into(), true.into()]));
        table.insert("empty".to_owned(), toml::Table::new().into());
        let written = inline(&table.clone().into());
        assert!(!written.chars().any(is_deceptive), "{written}");
        let read: toml::Table = format!("x = {written}").parse().unwrap();
        assert_eq!(read.get("x"), Some(&table.into()));
    }
}
