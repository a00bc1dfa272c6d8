//! Text → directives: logical lines, comments, and the words of a line.
//!
//! A backslash at the end of a line joins it with the next, whose leading blanks are dropped. `#`
//! begins a comment only where a line begins. A word stands between quotes or blanks; between double
//! quotes `\"` is a quote, and nothing else is unescaped, since backslashes are the expressions' own.

use crate::policy::diagnostic::{FileId, Place};

/// A directive: its name and what stands behind it.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) name: Word,
    pub(super) words: Vec<Word>,
    /// From its first byte to its last.
    pub(super) place: Place,
}

/// A word, and where each of its bytes stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    file: FileId,
    /// Bytes of the text from which on the distance to the file changes, with their places there.
    joints: Vec<(u32, u32)>,
}

/// A line that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    pub(super) place: Place,
    pub(super) why: &'static str,
}

impl Word {
    /// The place of a stretch of the text.
    pub(super) fn place(&self, start: usize, end: usize) -> Place {
        let at = |byte: usize| {
            let byte = byte as u32;
            let joint = self.joints.partition_point(|(from, _)| *from <= byte).saturating_sub(1);
            self.joints.get(joint).map_or(0, |(from, there)| there + byte.saturating_sub(*from))
        };
        Place { file: self.file, start: at(start), end: at(end.max(start + 1).saturating_sub(1)) + 1 }
    }

    /// The place of the whole.
    pub(super) fn whole(&self) -> Place {
        self.place(0, self.text.len())
    }

    /// A part of it.
    pub(super) fn part(&self, start: usize, end: usize) -> Word {
        let text = self.text.get(start..end).unwrap_or_default().to_owned();
        let first = self.place(start, start + 1).start;
        let later = self.joints.iter().filter(|(from, _)| *from as usize > start && (*from as usize) < end);
        let joints = std::iter::once((0, first))
            .chain(later.map(|(from, there)| (from - start as u32, *there)))
            .collect();
        Word { text, file: self.file, joints }
    }

    /// The same with blanks at both ends taken away.
    pub(super) fn trimmed(&self) -> Word {
        let start = self.text.len() - self.text.trim_start().len();
        let end = start + self.text.trim().len();
        self.part(start, end)
    }
}

/// The directives of a file.
pub(super) fn directives(file: FileId, text: &str) -> Vec<Result<Directive, Unread>> {
    let mut found = Vec::new();
    let mut lines = Lines { text, at: 0 };
    while let Some(line) = lines.next() {
        if line.text.trim_start().is_empty() || line.text.trim_start().starts_with('#') {
            continue;
        }
        found.push(directive(file, &line));
    }
    found
}

/// A logical line: its text, and where its pieces begin in the file.
struct Line {
    text: String,
    joints: Vec<(u32, u32)>,
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Option<Line> {
        if self.at >= self.text.len() {
            return None;
        }
        let mut line = Line { text: String::new(), joints: Vec::new() };
        loop {
            let rest = &self.text[self.at..];
            let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
            let piece = rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]);
            let blanks = if line.joints.is_empty() { 0 } else { piece.len() - piece.trim_start().len() };
            line.joints.push((line.text.len() as u32, (self.at + blanks) as u32));
            self.at += (end + 1).min(rest.len());
            let comment = line.text.is_empty() && piece.trim_start().starts_with('#');
            match piece[blanks..].strip_suffix('\\') {
                Some(piece) if !comment && self.at < self.text.len() => line.text.push_str(piece),
                _ => {
                    line.text.push_str(&piece[blanks..]);
                    return Some(line);
                }
            }
        }
    }
}

fn directive(file: FileId, line: &Line) -> Result<Directive, Unread> {
    let mut words = Vec::new();
    let whole = Word { text: line.text.clone(), file, joints: line.joints.clone() };
    let bytes = line.text.as_bytes();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let Some(first) = bytes.get(at) else { break };
        let start = at;
        let quote = *first;
        if quote != b'"' && quote != b'\'' {
            while bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
                at += 1;
            }
            words.push(whole.part(start, at));
            continue;
        }
        at += 1;
        let mut text = String::new();
        let mut piece = at;
        loop {
            match bytes.get(at) {
                None => {
                    let why = "the quote that opens here is never closed";
                    return Err(Unread { place: whole.place(start, start + 1), why });
                }
                Some(b'\\') if bytes.get(at + 1) == Some(&quote) => {
                    text.push_str(&line.text[piece..at]);
                    piece = at + 1;
                    at += 2;
                }
                // A backslash before a backslash does not hide a quote that follows both.
                Some(b'\\') if bytes.get(at + 1) == Some(&b'\\') => at += 2,
                Some(byte) if *byte == quote => break,
                Some(_) => at += 1,
            }
        }
        text.push_str(&line.text[piece..at]);
        words.push(Word { text, file, joints: rejoin(&whole, start + 1, at, quote) });
        at += 1;
    }
    let place = whole.place(0, line.text.len());
    match words.is_empty() {
        true => Err(Unread { place, why: "there is nothing on this line" }),
        false => {
            let name = words.remove(0);
            Ok(Directive { name, words, place })
        }
    }
}

/// The joints of a quoted word that stands at `start..end` of the line: those of the line, and one
/// behind each backslash that was dropped.
fn rejoin(whole: &Word, start: usize, end: usize, quote: u8) -> Vec<(u32, u32)> {
    let bytes = whole.text.as_bytes();
    let mut joints = vec![(0, whole.place(start, start + 1).start)];
    let (mut at, mut length) = (start, 0u32);
    while at < end {
        let escaped = bytes.get(at) == Some(&b'\\') && bytes.get(at + 1) == Some(&quote);
        let double = bytes.get(at) == Some(&b'\\') && bytes.get(at + 1) == Some(&b'\\');
        if escaped {
            at += 1;
        }
        let jump = escaped || whole.joints.iter().any(|(from, _)| *from as usize == at);
        if jump {
            joints.push((length, whole.place(at, at + 1).start));
        }
        let step = if double { 2 } else { 1 };
        at += step;
        length += step as u32;
    }
    joints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        directives(FileId(0), text)
            .into_iter()
            .map(|read| match read {
                Ok(directive) => std::iter::once(&directive.name)
                    .chain(&directive.words)
                    .map(|word| word.text.clone())
                    .collect(),
                Err(unread) => vec![unread.why.to_owned()],
            })
            .collect()
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "# a \"comment\nSecRule ARGS \"@rx a\\\"b\\d\" \\\n    \"id:1,\\\n  t:none\"\n\n  #x\nSecMarker END\r\n";
        assert_eq!(
            words(text),
            [vec!["SecRule", "ARGS", "@rx a\"b\\d", "id:1,t:none"], vec!["SecMarker", "END"]]
        );
    }

    #[test]
    fn a_quote_that_stays_open_is_told() {
        assert_eq!(words("SecRule A \"b\nSecMarker C\"")[0], ["the quote that opens here is never closed"]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "SecRule A \"x\\\"y\" \\\n    \"id:1,\\\n    msg:2\"";
        let Some(Ok(directive)) = directives(FileId(0), text).into_iter().next() else {
            panic!("a directive")
        };
        let shown = |word: &Word, start, end| {
            let place = word.place(start, end);
            text[place.start as usize..place.end as usize].to_owned()
        };
        let actions = &directive.words[2];
        assert_eq!(actions.text, "id:1,msg:2");
        assert_eq!(shown(actions, 0, 4), "id:1");
        assert_eq!(shown(actions, 5, 10), "msg:2");
        assert_eq!(shown(&actions.part(5, 10), 4, 5), "2");
        assert_eq!(shown(&directive.words[1], 2, 3), "y");
        assert_eq!(shown(&directive.words[1], 1, 2), "\"");
    }
}
