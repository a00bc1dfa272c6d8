//! The lines of a rule as its author wrote them.
//!
//! A decision knows where a rule begins. Where it ends is known to the TOML parser, which is asked
//! here, when somebody wants to read the rule, and not for every rule of every load.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::policy::diagnostic::{FileId, Place};
use crate::policy::rules::RuleInfo;
use crate::policy::source::Sources;
use crate::policy::waf::pack_text;

/// The numbers and texts of the lines of a rule: of one from a pack, those of the pack.
pub(super) fn of_rule(sources: &Sources, info: &RuleInfo) -> Vec<(u32, String)> {
    of_pack(sources, info).unwrap_or_else(|| lines(sources, info.place))
}

/// A policy only names a pack, so the place of its rules is that of the name.
fn of_pack(sources: &Sources, info: &RuleInfo) -> Option<Vec<(u32, String)>> {
    if *sources.show(info.place) == *info.at {
        return None;
    }
    let (pack, number) = info.at.split_once(':')?;
    let text = pack_text(pack)?;
    let before = text.split_inclusive('\n').take(number.parse::<usize>().ok()?.checked_sub(1)?);
    let start = before.map(str::len).sum::<usize>() as u32;
    let pack = Sources::single(pack, text);
    Some(lines(&pack, Place { file: FileId(0), start, end: start }))
}

/// The numbers and texts of the lines on which a rule stands.
pub(super) fn lines(sources: &Sources, place: Place) -> Vec<(u32, String)> {
    let Some(source) = sources.get(place.file) else { return Vec::new() };
    let text = &*source.text;
    let start = text.floor_char_boundary(place.start as usize);
    // A program's rules know where they end.
    let end = if source.program {
        None
    } else {
        let (table, _) = DeTable::parse_recoverable(text);
        table.get_ref().iter().find_map(|(_, value)| find(value, start, text))
    };
    let most = if source.program { MAX_PROGRAM_LINES } else { MAX_LINES };
    let end = text.floor_char_boundary(end.unwrap_or(0).max(place.end as usize));
    let first = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let last = text[end..].find('\n').map_or(text.len(), |at| end + at);
    let number = sources.line_column(place).line;
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (line, number) in text[first..last].lines().zip(number..) {
        if lines.len() == most {
            lines.push((number, "…".to_owned()));
            break;
        }
        let cut = line.char_indices().nth(MAX_WIDTH).map(|(at, _)| at);
        lines.push((number, cut.map_or_else(|| line.to_owned(), |at| format!("{}…", &line[..at]))));
    }
    lines
}

/// Where the table that begins at `start` ends, if it is in this value.
fn find(value: &Spanned<DeValue<'_>>, start: usize, text: &str) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) if value.span().start == start => {
            Some(end_of(table, text).max(value.span().end))
        }
        DeValue::Table(table) => table.iter().find_map(|(_, value)| find(value, start, text)),
        DeValue::Array(items) => items.iter().find_map(|item| find(item, start, text)),
        _ => None,
    }
}

/// Where the last value of a table ends. Tables below it that have a header of their own stand
/// somewhere else.
fn end_of(table: &DeTable<'_>, text: &str) -> usize {
    let has_header = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Table(_) => text[value.span()].starts_with('['),
        DeValue::Array(items) => items
            .iter()
            .next()
            .is_some_and(|item| item.get_ref().is_table() && text[item.span()].starts_with("[[")),
        _ => false,
    };
    let own = table.iter().filter(|(_, value)| !has_header(value));
    own.map(|(_, value)| match value.get_ref() {
        // The span of a table made by dotted keys is only its name.
        DeValue::Table(inner) => end_of(inner, text).max(value.span().end),
        _ => value.span().end,
    })
    .max()
    .unwrap_or(0)
}

/// How many lines of a rule are shown.
const MAX_LINES: usize = 24;

/// The same for SecLang, which has a line for every action.
const MAX_PROGRAM_LINES: usize = 120;

/// How much of a line is shown.
const MAX_WIDTH: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, from: &str, want: &[(u32, &str)]) {
        let start = text.find(from).unwrap() as u32;
        let place = Place { file: FileId(0), start, end: start + from.len() as u32 };
        let got = lines(&Sources::single("a", text), place);
        assert_eq!(got.iter().map(|(line, text)| (*line, text.as_str())).collect::<Vec<_>>(), want);
    }

    const POLICY: &str = "version = 1

[[ip.rule]]
id = \"one\"
# a comment inside
allow = [
  \"office\",
]

# about the next rule
[[ip.rule]]
id = \"two\"
text = '''
[[not.a.header]]
'''
mode.x = 1
[[ip.rule.sub]]
a = 1
[network]
office = [\"::1\"]
";

    #[test]
    fn a_rule_ends_with_its_last_value() {
        let first = [
            (3, "[[ip.rule]]"),
            (4, "id = \"one\""),
            (5, "# a comment inside"),
            (6, "allow = ["),
            (7, "  \"office\","),
            (8, "]"),
        ];
        check(POLICY, "[[ip.rule]]", &first);
    }

    #[test]
    fn brackets_in_strings_and_tables_with_headers_are_not_its_end() {
        let text = POLICY.replacen("[[ip.rule]]", "[[zz.rule]]", 1);
        let want = [
            (11, "[[ip.rule]]"),
            (12, "id = \"two\""),
            (13, "text = '''"),
            (14, "[[not.a.header]]"),
            (15, "'''"),
            (16, "mode.x = 1"),
        ];
        check(&text, "[[ip.rule]]", &want);
    }

    #[test]
    fn a_rule_in_one_line_is_its_line() {
        let text = "[ip]\nrule = [\n  { id = \"a\", allow = [] },\n  { id = \"b\", allow = [] },\n]\n";
        check(text, "{ id = \"b\", allow = [] }", &[(4, "  { id = \"b\", allow = [] },")]);
    }

    #[test]
    fn a_very_long_rule_is_cut() {
        let text = format!("[[r]]\nx = [\n{}]\n", "1,\n".repeat(100));
        let place = Place { file: FileId(0), start: 0, end: 5 };
        let got = lines(&Sources::single("a", text), place);
        assert_eq!((got.len(), got[MAX_LINES].1.as_str()), (MAX_LINES + 1, "…"));
    }
}
