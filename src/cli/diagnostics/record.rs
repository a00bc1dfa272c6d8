//! A problem as a JSON object: the stable form that programs read.

use serde::Serialize;

use crate::policy::diagnostic::{Diagnostic, Place};
use crate::policy::source::Sources;

/// One problem. Lines and columns count from 1, columns in characters; the end is exclusive. All
/// fields are always there; a problem without a text has null for file and positions.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Record<'a> {
    /// The code of the kind of problem: `portcullis explain --lint CODE`.
    pub(in crate::cli) code: &'static str,
    /// `error`, `deny` or `warning`.
    pub(in crate::cli) severity: &'static str,
    /// What is wrong.
    pub(in crate::cli) message: &'a str,
    /// Where.
    #[serde(flatten)]
    pub(in crate::cli) at: Position<'a>,
    /// The full name of what it is about: `rbac/orders-read`.
    pub(in crate::cli) about: Option<&'a str>,
    /// Words at the place.
    pub(in crate::cli) label: Option<&'a str>,
    /// What to write instead.
    pub(in crate::cli) help: Option<&'a str>,
    /// Other places that matter.
    pub(in crate::cli) related: Vec<Related<'a>>,
}

/// A stretch of text.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli) struct Position<'a> {
    pub(in crate::cli) file: Option<&'a str>,
    pub(in crate::cli) line: Option<u32>,
    pub(in crate::cli) column: Option<u32>,
    pub(in crate::cli) end_line: Option<u32>,
    pub(in crate::cli) end_column: Option<u32>,
}

/// Another place that matters, with words.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Related<'a> {
    #[serde(flatten)]
    pub(in crate::cli) at: Position<'a>,
    pub(in crate::cli) label: &'a str,
}

impl<'a> Record<'a> {
    /// The record of a problem.
    pub(in crate::cli) fn new(problem: &'a Diagnostic, sources: &'a Sources) -> Record<'a> {
        let related = problem.also.iter();
        Record {
            code: problem.code.info().name,
            severity: problem.severity.name(),
            message: &problem.message,
            at: problem.place.map(|place| Position::new(place, sources)).unwrap_or_default(),
            about: problem.about.as_deref(),
            label: Some(problem.label.as_str()).filter(|label| !label.is_empty()),
            help: problem.help.as_deref(),
            related: related.map(|(at, label)| Related { at: Position::new(*at, sources), label }).collect(),
        }
    }
}

impl<'a> Position<'a> {
    fn new(place: Place, sources: &'a Sources) -> Position<'a> {
        let (start, end) = (sources.line_column(place), sources.end_line_column(place));
        Position {
            file: sources.get(place.file).map(|source| source.name.as_str()),
            line: Some(start.line),
            column: Some(start.column),
            end_line: Some(end.line),
            end_column: Some(end.column),
        }
    }
}
