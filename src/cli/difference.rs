//! A difference between two policies in words: for `diff`, `history` and `why`.

use std::collections::BTreeMap;

use super::layout::{count, fill, list, padded, printable};
use super::reply::{BAD, FAINT, GOOD, STRONG, WARN, styled};
use crate::state::{AddressLine, CellLine, DifferenceLine, KeyLine};

/// How many lines of one kind people are shown.
const MOST: usize = 40;

/// The difference, as paragraphs.
pub(super) fn render(difference: &DifferenceLine) -> String {
    let DifferenceLine { rules, definitions, cells, more_cells, complete } = difference;
    let mut out = String::new();
    let heading = |out: &mut String, text: &str| out.push_str(&format!("{}\n", styled(STRONG, text)));
    if rules.is_empty() && definitions.is_empty() && cells.is_empty() {
        return "Nothing differs in meaning.\n".to_owned();
    }
    if !rules.is_empty() {
        heading(&mut out, "Rules");
        for rule in rules.iter().take(MOST) {
            let through = rule.through();
            let through = match through.is_empty() {
                true => String::new(),
                false => format!(" {}", styled(FAINT, format!("through {}", list(&through, " and ")))),
            };
            out.push_str(&fill(&mark(&rule.change), &format!("{}{through}", printable(&rule.rule))));
            details(&rule.addresses, &rule.keys).iter().for_each(|text| out.push_str(&detail(text)));
        }
        out.push_str(&more(rules.len(), "rule"));
    }
    if !definitions.is_empty() {
        heading(&mut out, "Definitions");
        for name in definitions.iter().take(MOST) {
            out.push_str(&fill(&mark(&name.change), &printable(&name.name)));
            details(&name.addresses, &name.keys).iter().for_each(|text| out.push_str(&detail(text)));
        }
        out.push_str(&more(definitions.len(), "definition"));
    }
    if !cells.is_empty() {
        heading(&mut out, "Roles");
        let grouped = grouped(cells);
        for (what, roles) in grouped.iter().take(MOST) {
            out.push_str(&cell(what, roles));
        }
        out.push_str(&more(grouped.len() + more_cells, "line"));
    }
    if !complete {
        out.push_str(&fill(
            "  ",
            "The policies are too large to compare all that roles may do; this is a part.",
        ));
    }
    out
}

/// Which addresses came and went, and which keys have another value.
fn details(addresses: &[AddressLine], keys: &[KeyLine]) -> Vec<String> {
    addresses.iter().map(AddressLine::words).chain(keys.iter().map(KeyLine::words)).collect()
}

/// One of these, below what it is of.
fn detail(text: &str) -> String {
    fill(&" ".repeat(11), &styled(FAINT, printable(text)))
}

/// All of these as the end of a sentence.
pub(super) fn which(addresses: &[AddressLine], keys: &[KeyLine]) -> String {
    let words = details(addresses, keys);
    match words.is_empty() {
        true => String::new(),
        false => format!(": {}", printable(&words.join("; "))),
    }
}

/// What roles gain, as lines: nothing where no role gains anything.
pub(super) fn gains(difference: &DifferenceLine) -> String {
    let gained: Vec<CellLine> =
        difference.cells.iter().filter(|line| line.change == "gained").cloned().collect();
    let grouped = grouped(&gained);
    let lines: String = grouped.iter().take(MOST).map(|(what, roles)| cell(what, roles)).collect();
    lines + &more(grouped.len(), "line")
}

fn more(number: usize, word: &str) -> String {
    match number.checked_sub(MOST).filter(|more| *more > 0) {
        Some(more) => format!("  … and {} more; `--format json` lists all\n", count(more, word)),
        None => String::new(),
    }
}

fn mark(change: &str) -> String {
    let style = match change {
        "added" | "gained" => GOOD,
        "removed" | "lost" => BAD,
        _ => WARN,
    };
    format!("  {} ", padded(&styled(style, change), 8))
}

/// What changed alike for several roles, once.
fn grouped(cells: &[CellLine]) -> Vec<(CellLine, Vec<&str>)> {
    let mut order: Vec<(CellLine, Vec<&str>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for line in cells {
        let what = CellLine { role: "".into(), ..line.clone() };
        let key = format!("{what:?}");
        match places.get(&key).and_then(|place| order.get_mut(*place)) {
            Some((_, roles)) => roles.push(&line.role),
            None => {
                places.insert(key, order.len());
                order.push((what, vec![&line.role]));
            }
        }
    }
    order
}

/// One line about roles: what they may do now, or no longer.
fn cell(what: &CellLine, roles: &[&str]) -> String {
    let hosts = on_hosts(what);
    let under = match (what.from.as_str(), what.to.as_str()) {
        (_, "sometimes") if what.change == "gained" => ", under conditions",
        ("sometimes", _) if what.change == "gained" => ", without the conditions of before",
        (_, "sometimes") if what.change == "lost" => ", now only under conditions",
        ("sometimes", "sometimes") => ", under other conditions than before",
        _ => "",
    };
    let request = format!("{} {}{hosts}{under}", what.methods.join(" "), printable(&what.path));
    let by: Vec<&str> = what.rules.iter().map(|rule| &**rule).collect();
    let whom = format!("for {}, by {}", whom(what, roles), list(&by, " and "));
    fill(&mark(&what.change), &request) + &fill(&" ".repeat(11), &styled(FAINT, printable(&whom)))
}

/// What a role lost, as a sentence without its end.
pub(super) fn lost(what: &CellLine) -> String {
    let rules: Vec<&str> = what.rules.iter().map(|rule| &**rule).collect();
    let under = if what.to == "sometimes" { ", now only under conditions" } else { "" };
    let (methods, path, hosts) = (what.methods.join(" "), printable(&what.path), on_hosts(what));
    format!(
        "{} lost {methods} {path}{hosts}{under}, through {}",
        whom(what, &[&what.role]),
        list(&rules, " and ")
    )
}

/// The hosts that a line is about, as the end of what it says of paths.
fn on_hosts(what: &CellLine) -> String {
    if what.hosts.is_empty() {
        return String::new();
    }
    let hosts: Vec<&str> =
        what.hosts.iter().map(|host| if **host == *"*" { "other hosts" } else { host }).collect();
    format!(" on {}", list(&hosts, " and "))
}

/// Whom a line about these roles is about.
fn whom(what: &CellLine, roles: &[&str]) -> String {
    let roles: Vec<&str> = roles
        .iter()
        .map(|role| match *role {
            "authenticated" if what.change == "gained" && what.to == "sometimes" => {
                "some authenticated callers"
            }
            "authenticated" => "authenticated callers",
            role => role,
        })
        .collect();
    let mut whom = list(&roles, " and ");
    let named = |names: &[Box<str>], more: usize| {
        let mut subjects: Vec<String> = names.iter().map(|name| printable(name).into_owned()).collect();
        if more > 0 {
            subjects.push(format!("{more} more"));
        }
        let word = if subjects.len() == 1 { "subject" } else { "subjects" };
        format!("the {word} {}", list(&subjects, " and "))
    };
    if !what.except_subjects.is_empty() {
        whom = format!("{whom} but for {}", named(&what.except_subjects, what.more_except_subjects));
    }
    if !what.subjects.is_empty() {
        // Every subject is an authenticated caller.
        let with = match roles[..] {
            ["authenticated callers" | "some authenticated callers"] => String::new(),
            _ => format!(" with {whom}"),
        };
        whom = format!("{}{with}", named(&what.subjects, what.more_subjects));
    }
    whom
}
