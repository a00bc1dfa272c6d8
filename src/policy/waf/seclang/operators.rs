//! `!@rx …`: the operator of a rule, lowered to a test.

use super::Report;
use super::lex::Word;
use super::pattern::{SYNTAX, UNREADABLE, Untranslated, translate};
use super::template::template;
use crate::policy::diagnostic::suggest;
use crate::policy::source::{Attached, Sources};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::ir::{Condition, Operand, Test};
use crate::policy::waf::operators::{Argument, OperatorKind, is_anchored};

/// How the argument of an operator is written.
#[derive(Clone, Copy)]
enum Form {
    Pattern,
    Text,
    Phrases,
    PhraseFiles,
    Number,
    Bytes,
    Networks,
    NetworkFiles,
    Nothing,
}

/// The operators: their names in small letters, what they are here, and what they take.
const OPERATORS: &[(&str, &str, Form)] = &[
    ("beginswith", "starts_with", Form::Text),
    ("contains", "contains", Form::Text),
    ("containsword", "contains_word", Form::Text),
    ("detectsqli", "detect_sqli", Form::Nothing),
    ("detectxss", "detect_xss", Form::Nothing),
    ("endswith", "ends_with", Form::Text),
    ("eq", "eq", Form::Number),
    ("ge", "ge", Form::Number),
    ("gt", "gt", Form::Number),
    ("ipmatch", "ip_match", Form::Networks),
    ("ipmatchf", "ip_match", Form::NetworkFiles),
    ("ipmatchfromfile", "ip_match", Form::NetworkFiles),
    ("le", "le", Form::Number),
    ("lt", "lt", Form::Number),
    ("nomatch", "present", Form::Nothing),
    ("pm", "contains_any_nocase", Form::Phrases),
    ("pmf", "contains_any_nocase", Form::PhraseFiles),
    ("pmfromfile", "contains_any_nocase", Form::PhraseFiles),
    ("rx", "regex", Form::Pattern),
    ("streq", "equals", Form::Text),
    ("strmatch", "contains", Form::Text),
    ("unconditionalmatch", "present", Form::Nothing),
    ("validatebyterange", "bytes_outside", Form::Bytes),
    ("validateurlencoding", "invalid_url_encoding", Form::Nothing),
    ("validateutf8encoding", "invalid_utf8", Form::Nothing),
    ("within", "within", Form::Text),
];

/// Lowers an operator with its argument.
pub(super) fn test(word: &Word, sources: &Sources, report: &mut Report<'_>) -> Option<Test> {
    let word = word.trimmed();
    let (mut negated, start) = match word.text.strip_prefix('!') {
        Some(rest) => (true, 1 + rest.len() - rest.trim_start().len()),
        None => (false, 0),
    };
    let rest = word.part(start, word.text.len());
    let (name, argument) = match rest.text.strip_prefix('@') {
        Some(text) => {
            let end = text.find(char::is_whitespace).map_or(rest.text.len(), |end| end + 1);
            (rest.text[1..end].to_ascii_lowercase(), rest.part(end, rest.text.len()).trimmed())
        }
        None => ("rx".to_owned(), rest),
    };
    let Some((_, known, form)) = OPERATORS.iter().find(|(known, ..)| *known == name) else {
        let message = format!("`@{name}` is no operator that this version runs");
        let near = suggest(&name, OPERATORS.iter().map(|(name, ..)| *name));
        let diagnostic = report.error(word.whole(), message);
        if let Some(near) = near {
            diagnostic.help(format!("did you mean `@{near}`?"));
        }
        return None;
    };
    let Some(operator) = OperatorKind::ALL.iter().copied().find(|kind| kind.info().name == *known) else {
        report.error(word.whole(), format!("`@{name}` is not run by this version"));
        return None;
    };
    negated ^= name == "nomatch";
    let argument = match form {
        // Compiled once, for all requests.
        Form::Pattern | Form::Phrases if argument.text.contains("%{") => {
            let message = format!("the argument of `@{name}` cannot be a macro");
            report.error(argument.whole(), message).help("`@within`, `@streq` and `@contains` take one");
            return None;
        }
        Form::Text | Form::Number if argument.text.contains("%{") => {
            Operand::Macro(template(&argument, report)?)
        }
        Form::Pattern => Operand::Fixed(Argument::Text(pattern(&argument, negated, report)?.into())),
        _ => Operand::Fixed(fixed(*form, &argument, sources, report)?),
    };
    Some(Test::All(vec![Condition { place: word.whole(), operator, argument, negated }]))
}

/// An expression. ModSecurity 2 reads `^` and `$` as the ends of the text, ModSecurity 3 and Coraza as those
/// of its lines, and the Core Rule Set is made for all of them. Here it is what refuses more: an attack is
/// looked for in every line, and what is demanded is demanded of the whole text.
fn pattern(word: &Word, negated: bool, report: &mut Report<'_>) -> Option<String> {
    match translate(&word.text) {
        Ok(pattern) if !negated && is_anchored(&pattern) => Some(format!("(?m){pattern}")),
        Ok(pattern) => Some(pattern),
        Err(Untranslated { why, at }) => {
            let message = format!("{UNREADABLE}: {why}");
            report.error(word.place(at, at + 1), message).help(SYNTAX);
            None
        }
    }
}

fn fixed(form: Form, word: &Word, sources: &Sources, report: &mut Report<'_>) -> Option<Argument> {
    let text = &*word.text;
    Some(match form {
        Form::Pattern | Form::Text => Argument::Text(text.into()),
        Form::Phrases => Argument::Words(text.split_ascii_whitespace().map(Into::into).collect()),
        Form::PhraseFiles => {
            let words: Option<Vec<Vec<Box<str>>>> =
                text.split_ascii_whitespace().map(|path| lines(path, word, sources, report)).collect();
            Argument::Words(words?.into_iter().flatten().collect())
        }
        Form::Number => match text.parse() {
            Ok(number) => Argument::Number(number),
            Err(_) => {
                report.error(word.whole(), format!("`{text}` is not a whole number"));
                return None;
            }
        },
        Form::Bytes => {
            let ranges: Option<Vec<ByteSet>> = text.split(',').map(|range| bytes(range.trim())).collect();
            let Some(ranges) = ranges else {
                report.error(word.whole(), format!("`{text}` is not a list of bytes such as `9,32-126`"));
                return None;
            };
            Argument::Bytes(ranges.into_iter().fold(ByteSet::EMPTY, ByteSet::union))
        }
        Form::Networks if text.is_empty() => {
            report.error(word.whole(), "the list is empty, so no address would match");
            return None;
        }
        Form::Networks => networks(text.split(','), word, report)?,
        Form::NetworkFiles => {
            let lines = lines(text, word, sources, report)?;
            networks(lines.iter().map(|line| &**line), word, report)?
        }
        Form::Nothing => Argument::Nothing,
    })
}

/// The lines of a file, without blanks around them, comments and empty ones.
fn lines(path: &str, word: &Word, sources: &Sources, report: &mut Report<'_>) -> Option<Vec<Box<str>>> {
    let place = word.whole();
    let why = match sources.attached(place.file, path) {
        Some(Attached::Text(id)) => {
            let text = sources.get(*id).map_or("", |source| &*source.text);
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            return Some(lines.map(Into::into).collect());
        }
        Some(Attached::Unreadable(why)) => format!("the file `{path}` cannot be read: {why}"),
        Some(Attached::Absent) | None => format!("the file `{path}` does not exist"),
    };
    report.error(place, why);
    None
}

fn bytes(range: &str) -> Option<ByteSet> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then(|| ByteSet::range(first, last))
}

fn networks<'a>(
    texts: impl Iterator<Item = &'a str>,
    word: &Word,
    report: &mut Report<'_>,
) -> Option<Argument> {
    let mut nets = Vec::new();
    for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
        let net = text.parse::<ipnet::IpNet>().ok();
        let net = net.or_else(|| text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from));
        let Some(net) = net else {
            report.error(word.whole(), format!("`{text}` is not an address or network"));
            return None;
        };
        nets.push(net.trunc());
    }
    Some(Argument::Networks(nets.into()))
}
