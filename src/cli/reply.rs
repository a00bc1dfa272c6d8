//! What a verb answers: text for stdout and stderr, and an exit code.

use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::deny::is_deceptive;

/// The exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Nothing to complain about.
    Fine,
    /// Findings, failed cases, a refusal that was asked to count, a gateway that is not ready.
    Findings,
    /// The command line cannot be used (`EX_USAGE` is 64; clap and most tools use 2).
    Usage,
    /// A defect or a system that does not do what it must (`EX_SOFTWARE`).
    Internal,
    /// The configuration cannot be used (`EX_CONFIG`).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Findings => 1,
            Exit::Usage => 2,
            Exit::Internal => 70,
            Exit::Config => 78,
        })
    }
}

/// What a verb answers.
#[derive(Debug)]
#[must_use]
pub(super) struct Reply {
    /// The exit code.
    pub(super) exit: Exit,
    /// For stdout.
    pub(super) out: String,
    /// For stderr, which is always for people.
    pub(super) err: String,
    /// Whether `out` is for programs and goes out byte for byte. Otherwise it carries styles, which
    /// are dropped where colours are not wanted.
    exact: bool,
}

/// The headings and names that should stand out.
pub(super) const STRONG: Style = Style::new().bold();
/// What passes.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What refuses or fails.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What may be skipped.
pub(super) const FAINT: Style = Style::new().dimmed();

/// A text in a style.
pub(super) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The heading of a part of a longer answer.
pub(super) fn heading(words: &str) -> String {
    format!("\n{}\n", styled(STRONG, words))
}

/// JSON in which what a terminal would obey is written as an escape, which means the same: somebody may
/// look at it. All of it stands within strings; line breaks are ours.
fn harmless(text: String) -> String {
    let harmful = |c: char| c != '\n' && is_deceptive(c);
    if !text.contains(harmful) {
        return text;
    }
    let mut clean = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match harmful(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into a string cannot fail.
                    let _ = write!(clean, "\\u{unit:04x}");
                }
            }
            false => clean.push(c),
        }
    }
    clean
}

impl Reply {
    /// Text for people, which may be styled.
    pub(super) fn text(exit: Exit, out: impl Into<String>) -> Reply {
        Reply { exit, out: out.into(), err: String::new(), exact: false }
    }

    /// Text for programs.
    pub(super) fn exact(exit: Exit, out: impl Into<String>) -> Reply {
        Reply { exact: true, ..Reply::text(exit, out) }
    }

    /// A JSON document.
    pub(super) fn json(exit: Exit, value: &impl serde::Serialize) -> Reply {
        match serde_json::to_string_pretty(value) {
            Ok(text) => Reply::exact(exit, harmless(text) + "\n"),
            Err(error) => Reply::failure(Exit::Internal, error),
        }
    }

    /// One sentence about why there is no answer.
    pub(super) fn failure(exit: Exit, why: impl Display) -> Reply {
        Reply::text(exit, "").with_err(format_args!("{}: {why}\n", styled(BAD, "error")))
    }

    /// The same with a note on stderr.
    pub(super) fn with_err(mut self, note: impl Display) -> Reply {
        // Writing into a string cannot fail.
        let _ = write!(self.err, "{note}");
        self
    }

    /// The same with a further line on stderr, for people.
    pub(super) fn with_hint(self, hint: &str) -> Reply {
        self.with_err(format_args!("{hint}\n"))
    }

    /// Why it failed, without the word for that.
    pub(super) fn why(&self) -> String {
        let text = anstream::adapter::strip_str(self.err.trim_end()).to_string();
        text.strip_prefix("error: ").unwrap_or(&text).to_owned()
    }

    /// Writes both texts. Whoever closes the pipe has read enough, which changes nothing about what
    /// was found.
    pub(super) fn write(self) -> ExitCode {
        let _ = anstream::stderr().lock().write_all(self.err.as_bytes());
        let written = if self.exact {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(self.out.as_bytes()).and_then(|()| stdout.flush())
        } else {
            let mut stdout = anstream::stdout().lock();
            stdout.write_all(self.out.as_bytes()).and_then(|()| stdout.flush())
        };
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let message = format!("{}: stdout: {error}\n", styled(BAD, "error"));
                let _ = anstream::stderr().write_all(message.as_bytes());
                Exit::Internal.into()
            }
            _ => self.exit.into(),
        }
    }
}
