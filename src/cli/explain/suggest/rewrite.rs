//! A rule of a policy file written otherwise, with everything else in it left as its author wrote it.

use super::proposal::{Proposal, Reach};
use crate::cli::explain::account::Account;
use crate::cli::explain::written;
use crate::cli::written_toml::quoted;
use crate::decision::Written;

/// A rule as its author wrote it, with what stands around it in its file.
pub(super) struct Own {
    before: String,
    pub(super) text: String,
    behind: String,
}

/// Looks for it.
pub(super) fn own(account: &Account<'_>, rule: Written) -> Option<Own> {
    let info = account.policy().rules.get(rule);
    let source = account.setup.sources.get(info.place.file)?;
    let lines = written::lines(&account.setup.sources, info.place);
    let (first, last) = (lines.first()?.0 as usize, lines.last()?.0 as usize);
    let all: Vec<&str> = source.text.split_inclusive('\n').collect();
    Some(Own {
        before: all.get(..first - 1)?.concat(),
        text: all.get(first - 1..last)?.concat(),
        behind: all.get(last..)?.concat(),
    })
}

/// A rule written otherwise.
pub(super) fn rewritten(
    account: &Account<'_>,
    rule: Written,
    reach: Reach,
    write: impl FnOnce(&str) -> Option<String>,
) -> Option<Proposal> {
    let info = account.policy().rules.get(rule);
    let Own { before, text, behind } = own(account, rule)?;
    let fresh = write(&text)?;
    let mut sources = account.setup.sources.clone();
    sources.replace(info.place.file, [before, fresh.clone(), behind].concat());
    Some(Proposal {
        what: String::new(),
        toml: fresh,
        at: Some(info.at.to_string()),
        also: Vec::new(),
        reach,
        sources,
        untried: Vec::new(),
        mind: Vec::new(),
    })
}

/// A table in which a key has another value.
pub(super) fn set(table: &str, key: &str, value: &str) -> Option<String> {
    let mut out = String::new();
    for line in table.split_inclusive('\n') {
        let is_key =
            line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        match is_key {
            true => out.push_str(&format!("{key} = {value}\n")),
            false => out.push_str(line),
        }
    }
    let fresh = out.parse::<toml::Table>().ok()?;
    (Some(fresh) != table.parse().ok()).then_some(out)
}

/// A table with one more entry in a list, or with a list of it.
pub(super) fn add_entry(table: &str, key: &str, entry: &str) -> Option<String> {
    let is_key = |line: &&str| {
        line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut out = String::new();
    let mut done = false;
    for line in table.split_inclusive('\n') {
        match line.find('[').filter(|_| !done && is_key(&line)) {
            Some(at) => {
                done = true;
                let (before, behind) = line.split_at(at + 1);
                let own_lines = behind.trim_start().is_empty() || behind.trim_start().starts_with('#');
                let comma = if behind.trim_start().starts_with(']') { "" } else { ", " };
                out.push_str(&match own_lines {
                    // A list of one entry a line stays one.
                    true => format!("{before}{behind}{}{},\n", indent(table, line), quoted(entry)),
                    false => format!("{before}{}{comma}{behind}", quoted(entry)),
                });
            }
            None if !done && is_key(&line) => return None,
            None => out.push_str(line),
        }
    }
    if !done {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&format!("{key} = [{}]\n", quoted(entry)));
    }
    // Only what is still one table of one rule.
    out.parse::<toml::Table>().ok().map(|_| out)
}

/// How the line behind this one of a table is indented.
fn indent<'t>(table: &'t str, line: &str) -> &'t str {
    let next = table.split_inclusive('\n').skip_while(|own| *own != line).nth(1).unwrap_or_default();
    let text = next.trim_start();
    if text.starts_with(']') { "    " } else { &next[..next.len() - text.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_put_into_the_list_or_a_list_is_made() {
        let rule = "[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\n";
        assert_eq!(
            add_entry(rule, "allow", "192.0.2.7").as_deref(),
            Some("[[ip.rule]]\nid = \"a\"\nallow = [\"192.0.2.7\", \"office\"]\n")
        );
        assert_eq!(
            add_entry(rule, "except", "192.0.2.7").as_deref(),
            Some("[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\nexcept = [\"192.0.2.7\"]\n")
        );
        let lines = "[[ip.rule]]\nid = \"a\"\nallow = [\n  \"office\",\n]";
        let want = "[[ip.rule]]\nid = \"a\"\nallow = [\n  \"x\",\n  \"office\",\n]";
        assert_eq!(add_entry(lines, "allow", "x").as_deref(), Some(want));
        let none = "[[ip.rule]]\nallow = [ # nobody\n]\n";
        let want = "[[ip.rule]]\nallow = [ # nobody\n    \"x\",\n]\n";
        assert_eq!(add_entry(none, "allow", "x").as_deref(), Some(want));
        assert_eq!(add_entry("a = { allow = [] }\nallow = \"b\"\n", "allow", "x"), None);
    }

    #[test]
    fn a_value_is_replaced_where_it_stands_and_never_made() {
        let rule = "[[rbac.grant]]\nuntil = 2026-11-01T00:00:00Z # soon\nid = \"a\"\n";
        assert_eq!(
            set(rule, "until", "2026-12-01T00:00:00Z").as_deref(),
            Some("[[rbac.grant]]\nuntil = 2026-12-01T00:00:00Z\nid = \"a\"\n")
        );
        assert_eq!(set("[[rbac.grant]]\nid = \"a\"\n", "until", "2026-12-01T00:00:00Z"), None);
    }
}
