//! How far long work is, told on stderr: a bar that is drawn over itself in a terminal, and taken away
//! when the work is done. Elsewhere (a pipe, a file, a terminal that cannot draw) nothing is drawn, and
//! of reading a log there is one line for each file that takes long.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use super::Common;
use super::layout::printable;
use crate::audit;
use crate::config::files::Step;

/// Tells how far work is.
pub(super) struct Teller<W: Write = io::Stderr> {
    out: W,
    place: Place,
    /// The last file of which there was a line.
    told: PathBuf,
    /// Whether there is a bar to be taken away.
    open: bool,
}

/// Where it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a terminal.
    Terminal,
    /// Where lines stay.
    Lines,
    /// Nobody wants to know.
    Nowhere,
}

impl Teller {
    /// On stderr.
    pub(super) fn new(common: &Common) -> Teller {
        let draws = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let place = match common.quiet {
            true => Place::Nowhere,
            false if draws && io::stderr().is_terminal() => Place::Terminal,
            false => Place::Lines,
        };
        Teller::at(io::stderr(), place)
    }
}

impl<W: Write> Teller<W> {
    fn at(out: W, place: Place) -> Teller<W> {
        Teller { out, place, told: PathBuf::new(), open: false }
    }

    /// A log is being read.
    pub(super) fn reads(&mut self, progress: audit::Progress<'_>) {
        let audit::Progress { path, done, length } = progress;
        if self.place == Place::Lines && self.told != path {
            self.told = path.to_owned();
            // Nobody is helped by a failure to tell how far something is.
            let _ = writeln!(self.out, "reading {} …", name(path));
        }
        self.draw(&format!("reading {}", name(path)), done, length);
    }

    /// A configuration is being loaded.
    pub(super) fn loads(&mut self, step: Step<'_>) {
        match step {
            Step::Reading { path, done, length } => {
                self.draw(&format!("reading {}", name(path)), done, length);
            }
            Step::Compiling { bytes } => {
                let size = bytesize::ByteSize(bytes).display().iec_short();
                self.line(&format!("compiling {size} of lists and rules …"));
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn done(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = self.out.write_all(CLEAR.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    fn draw(&mut self, what: &str, done: u64, length: u64) {
        let percent = done.saturating_mul(100).checked_div(length).unwrap_or(100).min(100);
        let full = usize::try_from(percent).unwrap_or(0) * WIDTH / 100;
        let bar: String = (0..WIDTH).map(|at| if at < full { '█' } else { '░' }).collect();
        self.line(&format!("{bar} {percent:3} %  {what}"));
    }

    fn line(&mut self, text: &str) {
        if self.place == Place::Terminal {
            self.open = true;
            // Longer lines would wrap, and could not be drawn over.
            let text: String = text.chars().take(LONGEST).collect();
            let _ = write!(self.out, "{CLEAR}{text}").and_then(|()| self.out.flush());
        }
    }
}

impl<W: Write> Drop for Teller<W> {
    fn drop(&mut self) {
        self.done();
    }
}

fn name(path: &Path) -> String {
    printable(&path.file_name().unwrap_or_default().to_string_lossy()).into_owned()
}

/// To the beginning of the line, and nothing behind it.
const CLEAR: &str = "\r\x1b[K";

/// Cells of a bar.
const WIDTH: usize = 24;

/// Cells of a line, which every terminal has.
const LONGEST: usize = 79;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(place: Place, tell: impl FnOnce(&mut Teller<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        tell(&mut Teller::at(&mut out, place));
        String::from_utf8(out).unwrap()
    }

    fn read(teller: &mut Teller<&mut Vec<u8>>) {
        for done in [0, 50, 100] {
            teller.reads(audit::Progress { path: Path::new("logs/a.gz"), done, length: 200 });
        }
        teller.reads(audit::Progress { path: Path::new("logs/b\u{1b}.gz"), done: 0, length: 0 });
    }

    fn load(teller: &mut Teller<&mut Vec<u8>>) {
        teller.loads(Step::Reading { path: Path::new("abusers.txt"), done: 4 << 20, length: 12 << 20 });
        teller.loads(Step::Compiling { bytes: 12 << 20 });
    }

    #[test]
    fn in_a_terminal_one_bar_is_drawn_over_and_taken_away() {
        let text = told(Place::Terminal, read);
        let frames: Vec<&str> = text.split(CLEAR).collect();
        assert_eq!(frames.len(), 6, "{text:?}");
        assert_eq!(frames[2], "██████░░░░░░░░░░░░░░░░░░  25 %  reading a.gz");
        assert_eq!(frames[4], format!("{} 100 %  reading b\\u{{1b}}.gz", "█".repeat(24)));
        // Nothing is left, and no line was ended.
        assert_eq!((frames[0], frames[5]), ("", ""));
        assert!(!text.contains('\n'));
        let text = told(Place::Terminal, load);
        let frames: Vec<&str> = text.split(CLEAR).collect();
        assert_eq!(frames[1], "███████░░░░░░░░░░░░░░░░░  33 %  reading abusers.txt");
        assert_eq!(frames[2..], ["compiling 12.0M of lists and rules …", ""]);
    }

    #[test]
    fn elsewhere_a_long_read_is_one_line_for_each_file_and_loading_is_none() {
        assert_eq!(told(Place::Lines, read), "reading a.gz …\nreading b\\u{1b}.gz …\n");
        assert_eq!(told(Place::Lines, load), "");
        assert_eq!(told(Place::Nowhere, read) + &told(Place::Nowhere, load), "");
    }

    #[test]
    fn a_line_is_never_longer_than_a_terminal() {
        let path = "x".repeat(200);
        let text = told(Place::Terminal, |teller| {
            teller.loads(Step::Reading { path: Path::new(&path), done: 1, length: 2 });
        });
        assert!(text.split(CLEAR).all(|frame| frame.chars().count() < 80));
    }
}
