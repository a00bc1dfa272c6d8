//! `multipart/form-data`, read as far as it goes. What strict readers would refuse is noted, each kind
//! in a variable of its own, for rules to judge.

use memchr::memmem;

use super::BodyState;
use crate::policy::waf::body::{Bounds, Unreadable};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::values::Values;

/// What is odd about a multipart body: the variables `MULTIPART_*`.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy::waf::program) struct Parts {
    pub(in crate::policy::waf::program) boundary_quoted: bool,
    pub(in crate::policy::waf::program) boundary_whitespace: bool,
    pub(in crate::policy::waf::program) data_after: bool,
    pub(in crate::policy::waf::program) data_before: bool,
    pub(in crate::policy::waf::program) folding: bool,
    pub(in crate::policy::waf::program) invalid_folding: bool,
    pub(in crate::policy::waf::program) invalid_part: bool,
    pub(in crate::policy::waf::program) invalid_quoting: bool,
    pub(in crate::policy::waf::program) lf_line: bool,
    pub(in crate::policy::waf::program) missing_semicolon: bool,
    pub(in crate::policy::waf::program) unmatched_boundary: bool,
    pub(in crate::policy::waf::program) broken: bool,
}

impl Parts {
    /// `MULTIPART_STRICT_ERROR`.
    pub(in crate::policy::waf::program) fn strict_error(&self) -> bool {
        self.boundary_quoted
            || self.boundary_whitespace
            || self.data_after
            || self.data_before
            || self.folding
            || self.invalid_folding
            || self.invalid_part
            || self.invalid_quoting
            || self.lf_line
            || self.missing_semicolon
            || self.broken
    }
}

/// Adds the fields, the names of files and the header lines of the parts.
pub(super) fn read(
    content_type: &[u8],
    body: &[u8],
    bounds: &Bounds,
    values: &mut Values,
    state: &mut BodyState,
) -> Result<(), Unreadable> {
    let Some(boundary) = boundary(content_type, &mut state.parts) else {
        state.fail("Multipart: Content-Type has no usable boundary");
        return Ok(());
    };
    let delimiter = [b"--", &*boundary].concat();
    let mut lines = Lines { text: body, at: 0 };
    let mut part: Option<Part> = None;
    let (mut ended, mut count) = (false, 0);
    while let Some((line, end)) = lines.next() {
        if end == b"\n" {
            state.parts.lf_line = true;
        }
        let behind = line.strip_prefix(&*delimiter).map(|rest| rest.trim_ascii_end());
        match behind {
            Some(kind @ (b"" | b"--")) if !ended => {
                if let Some(part) = part.take() {
                    part.add(values, state);
                }
                ended = kind == b"--";
                if !ended {
                    count += 1;
                    if count > bounds.fields {
                        return Err(Unreadable::too_large("it has more parts than `waf.body.fields`"));
                    }
                    part = Some(Part::read(&mut lines, state));
                }
            }
            _ => {
                if line.starts_with(b"--") && line.len() > 2 && behind.is_none() && part.is_some() {
                    // What looks like a boundary and is none may be one to another reader.
                    state.parts.unmatched_boundary = true;
                }
                match &mut part {
                    Some(part) => part.push(line, end),
                    None if ended => state.parts.data_after |= !(line.is_empty()),
                    None => state.parts.data_before |= !line.is_empty(),
                }
            }
        }
    }
    if let Some(part) = part.take() {
        part.add(values, state);
    }
    if !ended {
        state.fail("Multipart: Final boundary missing.");
    }
    Ok(())
}

impl BodyState {
    fn fail(&mut self, why: &'static str) {
        self.error.get_or_insert(why);
        self.parts.broken = true;
    }
}

struct Lines<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// The next line and what ends it.
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.at = self.text.len();
            return Some((rest, b""));
        };
        self.at += end + 1;
        match rest[..end].strip_suffix(b"\r") {
            Some(line) => Some((line, b"\r\n")),
            None => Some((&rest[..end], b"\n")),
        }
    }
}

/// The boundary that a content type names.
fn boundary(content_type: &[u8], parts: &mut Parts) -> Option<Vec<u8>> {
    let lower = content_type.to_ascii_lowercase();
    let at = memmem::find(&lower, b"boundary")?;
    // A boundary may have the word in it, but not as a parameter of its own.
    let mut later = memmem::find_iter(&lower[at + 8..], b"boundary").map(|behind| at + 8 + behind);
    if later.any(|at| matches!(lower[..at].trim_ascii_end().last(), Some(b';' | b','))) {
        return None;
    }
    if !matches!(lower[..at].trim_ascii_end().last(), Some(b';' | b',')) {
        parts.missing_semicolon = true;
    }
    let rest = &content_type[at + 8..];
    let blanks = rest.len() - rest.trim_ascii_start().len();
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?;
    let inner = rest.trim_ascii_start();
    parts.boundary_whitespace = blanks > 0 || inner.len() != rest.len();
    let value = match inner.strip_prefix(b"\"") {
        Some(quoted) => {
            parts.boundary_quoted = true;
            &quoted[..memchr::memchr(b'"', quoted)?]
        }
        None => {
            let end = inner
                .iter()
                .position(|byte| matches!(byte, b';' | b',' | b' ' | b'\t'))
                .unwrap_or(inner.len());
            &inner[..end]
        }
    };
    (!value.is_empty()).then(|| value.to_vec())
}

/// A part whose content is being read.
#[derive(Default)]
struct Part {
    lines: Vec<Vec<u8>>,
    name: Option<Vec<u8>>,
    file: Option<Vec<u8>>,
    content: Vec<u8>,
    /// The end of the last line, which may belong to the boundary.
    held: Vec<u8>,
}

impl Part {
    fn read(lines: &mut Lines<'_>, state: &mut BodyState) -> Part {
        let mut part = Part::default();
        while let Some((line, end)) = lines.next() {
            if end == b"\n" {
                state.parts.lf_line = true;
            }
            if line.is_empty() {
                break;
            }
            match (line.first(), part.lines.last_mut()) {
                (Some(b' ' | b'\t'), Some(last)) => {
                    state.parts.folding = true;
                    last.extend_from_slice(line);
                }
                _ => part.lines.push(line.to_vec()),
            }
        }
        for line in std::mem::take(&mut part.lines) {
            part.field(&line, state);
            part.lines.push(line);
        }
        part
    }

    fn field(&mut self, line: &[u8], state: &mut BodyState) {
        let Some(colon) = memchr::memchr(b':', line) else {
            state.fail("Multipart: Invalid part header (colon missing).");
            return;
        };
        if line[..colon].trim_ascii().eq_ignore_ascii_case(b"content-disposition") {
            if self.name.is_some() {
                state.fail("Multipart: Duplicate part header: Content-Disposition.");
                return;
            }
            self.disposition(&line[colon + 1..], state);
        }
    }

    fn disposition(&mut self, value: &[u8], state: &mut BodyState) {
        let mut rest = value.trim_ascii();
        let kind = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        if !rest[..kind].trim_ascii().eq_ignore_ascii_case(b"form-data") {
            state.fail("Multipart: Invalid Content-Disposition header.");
            return;
        }
        rest = &rest[kind..];
        while let Some(after) = rest.strip_prefix(b";") {
            let after = after.trim_ascii_start();
            if after.is_empty() {
                break;
            }
            let Some(equals) = memchr::memchr(b'=', after) else {
                state.fail("Multipart: Invalid Content-Disposition header.");
                return;
            };
            let name = after[..equals].trim_ascii().to_ascii_lowercase();
            let (text, tail) = parameter(after[equals + 1..].trim_ascii_start(), &mut state.parts);
            rest = tail.trim_ascii_start();
            let slot = match name.as_slice() {
                b"name" => &mut self.name,
                b"filename" => &mut self.file,
                _ => {
                    state.fail("Multipart: Invalid Content-Disposition header: unknown parameter.");
                    continue;
                }
            };
            if slot.replace(text).is_some() {
                state.fail("Multipart: Invalid Content-Disposition header: duplicate parameter.");
            }
        }
        if !rest.is_empty() && !rest.starts_with(b";") {
            state.fail("Multipart: Invalid Content-Disposition header.");
        }
    }

    fn push(&mut self, line: &[u8], end: &[u8]) {
        self.content.append(&mut self.held);
        self.content.extend_from_slice(line);
        self.held = end.to_vec();
    }

    fn add(self, values: &mut Values, state: &mut BodyState) {
        let Some(name) = self.name else {
            state.parts.invalid_part = true;
            state.fail("Multipart: Part missing Content-Disposition header.");
            return;
        };
        let label = values.put(&name);
        for line in &self.lines {
            let line = values.put(line);
            values.value(Collection::PartHeader, label, line);
        }
        match self.file {
            Some(file) => {
                state.files_size += self.content.len();
                // Without a name it is a file to some readers and a field to others.
                if file.is_empty() && !self.content.is_empty() {
                    let content = values.put(&self.content);
                    values.member(Collection::Form, label, content);
                }
                let file = values.put(&file);
                values.member(Collection::File, label, file);
            }
            None => {
                let content = values.put(&self.content);
                values.member(Collection::Form, label, content);
            }
        }
    }
}

/// A parameter's value, and what follows.
fn parameter<'a>(text: &'a [u8], parts: &mut Parts) -> (Vec<u8>, &'a [u8]) {
    match text.first() {
        Some(b'"') => {
            let mut value = Vec::new();
            let mut at = 1;
            while let Some(byte) = text.get(at) {
                match byte {
                    b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => {
                        value.extend(text.get(at + 1));
                        at += 2;
                    }
                    b'"' => return (value, &text[at + 1..]),
                    byte => {
                        value.push(*byte);
                        at += 1;
                    }
                }
            }
            parts.invalid_quoting = true;
            (value, b"")
        }
        first => {
            parts.invalid_quoting |= first == Some(&b'\'');
            let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
            let value = text[..end].trim_ascii();
            parts.invalid_quoting |= value.iter().any(|byte| matches!(byte, b'\'' | b'"'));
            (value.to_vec(), &text[end..])
        }
    }
}
