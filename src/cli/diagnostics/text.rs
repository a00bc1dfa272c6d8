//! Problems for people: message, `file:line:column`, the line, a caret, and what to write instead.

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::excerpt::Excerpt;
use crate::cli::layout::{WIDTH, printable};
use crate::cli::reply::{BAD, WARN, styled};
use crate::policy::code::Severity;
use crate::policy::diagnostic::{Diagnostic, Place};
use crate::policy::source::Sources;

/// Shows up to `limit` problems in the order of their places; errors are not crowded out by lints.
pub(super) fn render(diagnostics: &[&Diagnostic], sources: &Sources, limit: usize) -> String {
    let mut chosen: Vec<usize> = (0..diagnostics.len()).collect();
    if chosen.len() > limit {
        chosen.sort_by_key(|index| std::cmp::Reverse(diagnostics[*index].severity));
        chosen.truncate(limit);
        chosen.sort_unstable();
    }
    let mut out = String::new();
    for index in &chosen {
        out.push_str(&one(diagnostics[*index], sources));
        out.push_str("\n\n");
    }
    if chosen.len() < diagnostics.len() {
        let rest = diagnostics.len() - chosen.len();
        out.push_str(&format!("and {rest} more, shown with `--verbose`\n\n"));
    }
    out
}

fn one(problem: &Diagnostic, sources: &Sources) -> String {
    let level = match problem.severity {
        Severity::Warning => Level::WARNING,
        Severity::Deny => Level::ERROR.with_name("deny"),
        Severity::Error => Level::ERROR,
    };
    if problem.place.is_none() && problem.also.is_empty() {
        return bare(problem);
    }
    let title = level.primary_title(printable(&problem.message)).id(problem.code.info().name);
    let mut elements: Vec<Element<'_>> = Vec::new();
    let others = &problem.also[..problem.also.len().min(MAX_ALSO)];
    let far = match problem.place {
        Some(place) => show(place, &problem.label, AnnotationKind::Primary, others, sources, &mut elements),
        None => others.iter().collect(),
    };
    for (place, label) in far {
        show(*place, label, AnnotationKind::Context, &[], sources, &mut elements);
    }
    if problem.also.len() > MAX_ALSO {
        let rest = format!("and {} more places", problem.also.len() - MAX_ALSO);
        elements.push(Level::NOTE.message(rest).into());
    }
    if let Some(help) = &problem.help {
        elements.push(Level::HELP.message(printable(help)).into());
    }
    Renderer::styled().term_width(WIDTH).render(&[Group::with_title(title).elements(elements)])
}

/// A problem that stands nowhere, without the gutter of a text that is not there.
fn bare(problem: &Diagnostic) -> String {
    let (style, name) = match problem.severity {
        Severity::Warning => (WARN, "warning"),
        Severity::Deny => (BAD, "deny"),
        Severity::Error => (BAD, "error"),
    };
    let code = problem.code.info().name;
    let mut out =
        format!("{}: {}", styled(style, format_args!("{name}[{code}]")), printable(&problem.message));
    if let Some(help) = &problem.help {
        out.push_str(&format!("\n  help: {}", printable(help)));
    }
    out
}

/// Shows a place, together with those of the others that are near it; the rest is returned.
fn show<'a>(
    place: Place,
    label: &'a str,
    kind: AnnotationKind,
    others: &'a [(Place, String)],
    sources: &'a Sources,
    elements: &mut Vec<Element<'a>>,
) -> Vec<&'a (Place, String)> {
    let Some(source) = sources.get(place.file) else { return others.iter().collect() };
    let places: Vec<Place> = others.iter().map(|(place, _)| *place).collect();
    let excerpt = Excerpt::new(sources, place, &places);
    let words = |label: &'a str| Some(printable(label)).filter(|label| !label.is_empty());
    let (path, line) = (printable(&source.name), excerpt.line as usize);
    if excerpt.cut {
        // A caret would need the whole line before it.
        elements.push(Origin::path(path).line(line).char_column(excerpt.column as usize).into());
        let near = format!("near `{}`", printable(&excerpt.text));
        let text = words(label).map_or(near.clone(), |label| format!("{near}: {label}"));
        elements.push(Level::NOTE.message(text).into());
        return others.iter().collect();
    }
    let mut far = Vec::new();
    let mut snippet = Snippet::source(excerpt.text).line_start(line).path(path);
    snippet = snippet.annotation(kind.span(excerpt.span).label(words(label)));
    for (other, span) in others.iter().zip(excerpt.others) {
        match span {
            Some(span) => {
                snippet = snippet.annotation(AnnotationKind::Context.span(span).label(words(&other.1)));
            }
            None => far.push(other),
        }
    }
    elements.push(snippet.into());
    far
}

/// How many other places are shown with one problem.
const MAX_ALSO: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::code::Code;
    use crate::policy::diagnostic::{Diagnostics, FileId};

    proptest! {
        /// Whatever stands in a file and wherever the places are, something is shown, and nothing
        /// that a terminal would obey.
        #[test]
        fn any_text_can_be_shown(
            text in "[a=\\[\"\n\r\té…\u{202e}\u{1b}\u{3000}]{0,60}",
            places in proptest::collection::vec((0u32..70, 0u32..70), 1..4),
        ) {
            let sources = Sources::single("a", text);
            let at = |(start, end)| Place { file: FileId(0), start, end };
            let mut problems = Diagnostics::default();
            let problem = problems.push(Code::Syntax, at(places[0]), "no").label("here").help("so");
            for place in &places[1..] {
                problem.also(at(*place), "there");
            }
            let shown = render(&problems.into_sorted().iter().collect::<Vec<_>>(), &sources, 9);
            let plain = anstream::adapter::strip_str(&shown).to_string();
            // The place is set in as far as the longest line number is.
            let (first, rest) = plain.split_once('\n').unwrap_or_default();
            prop_assert!(first == "error[syntax]: no" && rest.trim_start().starts_with("--> a:"), "{}", plain);
            prop_assert!(!plain.contains(['\u{1b}', '\u{202e}', '\r']), "{}", plain);
        }
    }
}
