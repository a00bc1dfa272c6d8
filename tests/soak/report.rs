//! What was measured, the limit, and whether it held.

use std::fmt::Display;
use std::process::ExitCode;

/// How much is asked of a figure.
#[derive(Clone, Copy)]
pub struct Scale {
    /// The figure itself, and not its short form.
    pub long: bool,
    /// The binary is an optimised one, so that memory and speed mean something.
    pub optimised: bool,
}

/// What a measured value must be.
#[derive(Clone, Copy)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
    /// Nothing: it is only shown.
    Shown,
}

use Limit::{AtLeast, AtMost, Exactly, Shown};

/// The lines so far.
#[derive(Default)]
pub struct Report {
    held: usize,
    failed: Vec<String>,
}

impl Scale {
    /// One of two sizes.
    pub fn pick<T>(self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// A limit that means something of an optimised binary only.
    pub fn if_optimised(self, limit: Limit) -> Limit {
        if self.optimised { limit } else { Shown }
    }

    /// A limit of a comparison that needs the long form's many samples and an optimised binary.
    pub fn if_long(self, limit: Limit) -> Limit {
        if self.long && self.optimised { limit } else { Shown }
    }
}

impl Report {
    /// One line: a figure's name, what was measured, how much of it.
    pub fn line(&mut self, figure: &str, what: impl Display, measured: f64, unit: &str, limit: Limit) {
        let (holds, limit) = match limit {
            AtMost(most) => (measured <= most, format!(" (at most {})", number(most))),
            AtLeast(least) => (measured >= least, format!(" (at least {})", number(least))),
            Exactly(wanted) => (measured == wanted, format!(" (exactly {})", number(wanted))),
            Shown => (true, String::new()),
        };
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let verdict = match (holds, limit.is_empty()) {
            (_, true) => "shown",
            (true, _) => "ok",
            (false, _) => "FAILED",
        };
        let line = format!("{figure:5} {verdict:6} {what}: {}{unit}{limit}", number(measured));
        println!("{line}");
        if holds {
            self.held += 1;
        } else {
            self.failed.push(line);
        }
    }

    /// Things that must not happen, with the first few of them.
    pub fn none(&mut self, figure: &str, what: impl Display, found: &[String], of: usize) {
        self.line(figure, format!("{what}, of {of}"), found.len() as f64, "", Exactly(0.0));
        found.iter().take(5).for_each(|found| println!("             {found}"));
    }

    /// Something that is so or is not.
    pub fn holds(&mut self, figure: &str, what: impl Display, so: bool) {
        let line = format!("{figure:5} {:6} {what}", if so { "ok" } else { "FAILED" });
        println!("{line}");
        if so {
            self.held += 1;
        } else {
            self.failed.push(line);
        }
    }

    /// A figure that could not be measured.
    pub fn broke(&mut self, name: &str) {
        self.failed.push(format!("{name}: could not be measured; see above"));
    }

    /// The sum of it.
    pub fn end(self) -> ExitCode {
        println!("\n{} measured, {} failed", self.held + self.failed.len(), self.failed.len());
        self.failed.iter().for_each(|line| println!("{line}"));
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}
