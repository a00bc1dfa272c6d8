//! The results of a test run: for people, as JSON, as JUnit XML.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use serde::Serialize;

use super::judge::Judged;
use crate::cli::Common;
use crate::cli::layout::{count, fill, printable};
use crate::cli::reply::{BAD, FAINT, GOOD, STRONG, styled};

/// One case that was run.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) judged: Judged,
}

/// Everything that was run.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) ran: Vec<Ran>,
    /// Cases that `--filter` left out.
    pub(super) skipped: usize,
    pub(super) files: usize,
}

impl Ran {
    fn ok(&self) -> bool {
        self.judged.problems.is_empty()
    }
}

impl Results {
    /// How many cases failed.
    pub(super) fn failed(&self) -> usize {
        self.ran.iter().filter(|ran| !ran.ok()).count()
    }

    fn passed(&self) -> usize {
        self.ran.len() - self.failed()
    }

    /// For people: each failed case with what was expected and what came, then the numbers.
    pub(super) fn text(&self, common: &Common) -> String {
        let mut out = String::new();
        for ran in &self.ran {
            let place = styled(FAINT, format_args!("{}:{}", printable(&ran.file), ran.line));
            let name = styled(STRONG, printable(&ran.name));
            if ran.ok() {
                if common.verbose {
                    out.push_str(&format!("{} {name} {place}\n", styled(GOOD, "ok    ")));
                    out.push_str(&fill("         ", &printable(&ran.judged.got)));
                }
                continue;
            }
            let Judged { got, expected, trail, problems } = &ran.judged;
            out.push_str(&format!("{} {name} {place}\n", styled(BAD, "FAILED")));
            if !expected.is_empty() {
                out.push_str(&fill("       expected  ", &printable(expected)));
            }
            out.push_str(&fill("       got       ", &printable(got)));
            for problem in problems {
                out.push_str(&fill("       differs   ", &printable(problem)));
            }
            out.push_str(&fill("       trail     ", &printable(trail)));
        }
        let (passed, failed) = (self.passed(), self.failed());
        let word = if failed == 0 { styled(GOOD, "ok") } else { styled(BAD, "failed") };
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        out.push_str(&format!(
            "{word}: {passed} passed, {failed} failed{skipped} in {}\n",
            count(self.files, "file")
        ));
        out
    }

    /// The document of `--format json`.
    pub(super) fn document(&self) -> impl Serialize + use<'_> {
        #[derive(Serialize)]
        struct Document<'a> {
            ok: bool,
            passed: usize,
            failed: usize,
            skipped: usize,
            files: usize,
            cases: Vec<Case<'a>>,
        }

        #[derive(Serialize)]
        struct Case<'a> {
            file: &'a str,
            line: u32,
            name: &'a str,
            ok: bool,
            expected: &'a str,
            got: &'a str,
            trail: &'a str,
            problems: &'a [String],
        }

        let cases = self.ran.iter().map(|ran| Case {
            file: &ran.file,
            line: ran.line,
            name: &ran.name,
            ok: ran.ok(),
            expected: &ran.judged.expected,
            got: &ran.judged.got,
            trail: &ran.judged.trail,
            problems: &ran.judged.problems,
        });
        Document {
            ok: self.failed() == 0,
            passed: self.passed(),
            failed: self.failed(),
            skipped: self.skipped,
            files: self.files,
            cases: cases.collect(),
        }
    }

    /// JUnit XML, as continuous integration servers read it: a suite for each file.
    pub(super) fn junit(&self) -> std::io::Result<String> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let total = self.ran.len().to_string();
        let failed = self.failed().to_string();
        let root = writer.create_element("testsuites");
        let root = root.with_attributes([("tests", total.as_str()), ("failures", failed.as_str())]);
        root.write_inner_content(|writer| {
            for cases in self.ran.chunk_by(|a, b| a.file == b.file) {
                suite(writer, cases)?;
            }
            Ok(())
        })?;
        let xml = String::from_utf8(writer.into_inner()).map_err(std::io::Error::other)?;
        Ok(xml + "\n")
    }
}

/// What is wrong with case files or their configurations, for programs: no case of them was run.
pub(super) fn unread_junit(wrong: &[String]) -> std::io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let number = wrong.len().to_string();
    let counts = [("tests", number.as_str()), ("failures", "0"), ("errors", number.as_str())];
    writer.create_element("testsuites").with_attributes(counts).write_inner_content(|writer| {
        let suite =
            writer.create_element("testsuite").with_attribute(("name", "files")).with_attributes(counts);
        suite.write_inner_content(|writer| {
            for text in wrong {
                let case = writer.create_element("testcase").with_attribute(("name", "a file can be used"));
                case.write_inner_content(|writer| {
                    let first = xml(text.lines().next().unwrap_or_default());
                    let error = writer.create_element("error").with_attribute(("message", first.as_str()));
                    error.write_text_content(BytesText::new(&xml(text))).map(drop)
                })?;
            }
            Ok(())
        })?;
        Ok(())
    })?;
    let xml = String::from_utf8(writer.into_inner()).map_err(std::io::Error::other)?;
    Ok(xml + "\n")
}

fn suite(writer: &mut Writer<Vec<u8>>, cases: &[Ran]) -> std::io::Result<()> {
    let file = cases.first().map_or(String::new(), |ran| xml(&ran.file));
    let total = cases.len().to_string();
    let failed = cases.iter().filter(|ran| !ran.ok()).count().to_string();
    let suite = writer.create_element("testsuite").with_attributes([
        ("name", file.as_str()),
        ("tests", total.as_str()),
        ("failures", failed.as_str()),
    ]);
    suite.write_inner_content(|writer| {
        for ran in cases {
            let (name, line) = (xml(&ran.name), ran.line.to_string());
            let case = writer.create_element("testcase").with_attributes([
                ("name", name.as_str()),
                ("classname", file.as_str()),
                ("file", file.as_str()),
                ("line", line.as_str()),
            ]);
            if ran.ok() {
                case.write_empty()?;
                continue;
            }
            case.write_inner_content(|writer| {
                let Judged { got, expected, trail, problems } = &ran.judged;
                let message = xml(&problems.join("; "));
                let body = xml(&format!("expected {expected}\ngot {got}\n{trail}"));
                let failure = writer.create_element("failure").with_attribute(("message", message.as_str()));
                failure.write_text_content(BytesText::new(&body)).map(drop)
            })?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The text without the characters that XML cannot hold in any form (XML 1.0 section 2.2).
fn xml(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect()
}
