//! A network whose addresses stand in a file, one a line.

use ipnet::IpNet;

use super::raw::{NetworkFile, parse_net};
use crate::policy::code::Code;
use crate::policy::diagnostic::{Diagnostics, Place};
use crate::policy::source::{Attached, Sources};

/// The networks of a file. Whatever is wrong with it is reported.
pub(super) fn read(raw: &NetworkFile, sources: &Sources, diagnostics: &mut Diagnostics) -> Vec<IpNet> {
    let path = &raw.file.value.0;
    let file = match sources.attached(raw.file.place.file, path) {
        Some(Attached::Text(file)) => *file,
        Some(Attached::Absent) | None if raw.optional == Some(true) => return Vec::new(),
        Some(Attached::Absent) | None => {
            diagnostics
                .push_unless_lost(
                    raw.place,
                    &["optional"],
                    Code::File,
                    raw.file.place,
                    format!("the file `{path}` does not exist"),
                )
                .help("create it, or say `optional = true`");
            return Vec::new();
        }
        Some(Attached::Unreadable(why)) => {
            diagnostics.push(Code::File, raw.file.place, format!("the file `{path}` cannot be read: {why}"));
            return Vec::new();
        }
    };
    let text = sources.get(file).map_or("", |source| &*source.text);
    let mut nets = Vec::new();
    let (mut at, mut bad) = (0, 0);
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or("").trim();
        match parse_net(entry) {
            _ if entry.is_empty() => {}
            Ok(net) => nets.push(net),
            // A file of a million lines of something else must not make a million reports.
            Err(why) => {
                bad += 1;
                if bad <= MAX_BAD_LINES {
                    let start = at + line.find(entry).unwrap_or(0);
                    let place = Place { file, start: start as u32, end: (start + entry.len()) as u32 };
                    let shown: String = entry.chars().take(64).flat_map(char::escape_debug).collect();
                    diagnostics.push(Code::BadValue, place, format!("`{shown}` {why}"));
                }
            }
        }
        at += line.len();
    }
    if bad > MAX_BAD_LINES {
        let more = bad - MAX_BAD_LINES;
        diagnostics.push(
            Code::BadValue,
            raw.file.place,
            format!("`{path}` has {more} more lines that are no address"),
        );
    }
    if nets.is_empty() && bad == 0 && raw.may_be_empty != Some(true) {
        diagnostics
            .push_unless_lost(
                raw.place,
                &["may_be_empty"],
                Code::File,
                raw.file.place,
                format!("the file `{path}` holds no address"),
            )
            .help("say `may_be_empty = true` if that is meant");
    }
    nets
}

/// How many bad lines of one file are reported one by one.
const MAX_BAD_LINES: usize = 20;
