//! How the gateway behaves under attack, faults and load, as figures with limits.
//!
//! ```sh
//! cargo test --test soak -- --short            # every figure in its short form: the gate
//! cargo test --test soak -- reload slowloris   # these figures in full
//! PORTCULLIS_BIN=target/release/portcullis cargo test --test soak
//! cargo test --test soak -- train              # no figure: traffic that `tests/pgo` learns from
//! ```
//!
//! Each figure starts the real binary on loopback, treats it badly with small actors, and prints what
//! was measured, the limit, and whether it held. Every figure is bounded in count and time. Figures of
//! memory and speed are held against an optimised binary only; of a debug binary they are shown.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a command of the tests: it prints, and what cannot go on has failed"
)]
#![allow(unreachable_pub, reason = "one crate, whose modules are its only users")]

#[allow(dead_code, unused_imports, reason = "shared with the integration tests, which use more of it")]
#[path = "../it/support/mod.rs"]
mod support;

mod client;
mod gateway;
mod load;
mod origin;
mod process;
mod report;

mod clock;
mod cost;
mod crowd;
mod descriptors;
mod files;
mod hostile;
mod keys;
mod killed;
mod lookup;
mod memory;
mod named;
mod reload;
mod shutdown;
mod sink;
mod stalls;
mod streams;
mod token;
mod train;
mod upstreams;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use report::{Report, Scale};

/// One group of figures.
struct Figure {
    name: &'static str,
    about: &'static str,
    run: fn(Scale, &mut Report),
}

/// All of them, in the order in which they run.
const FIGURES: &[Figure] = &[
    Figure { name: "reload", about: "policies replaced under load (C-8)", run: reload::under_load },
    Figure { name: "reload-large", about: "10,000 rules replaced under load", run: reload::large },
    Figure { name: "shutdown", about: "SIGTERM under load (C-17)", run: shutdown::under_load },
    Figure { name: "killed", about: "SIGKILL while the log turns (C-17)", run: killed::killed },
    Figure { name: "slowloris", about: "connections that say little (C-5)", run: crowd::slowloris },
    Figure { name: "idle", about: "connections that are kept alive", run: crowd::idle },
    Figure { name: "upstream-killed", about: "upstreams that die (C-11)", run: upstreams::faults },
    Figure {
        name: "upstream-restarts",
        about: "an upstream killed again and again (C-11)",
        run: upstreams::restarts,
    },
    Figure { name: "upstream-stalls", about: "upstreams that fall silent (C-12)", run: stalls::stalls },
    Figure { name: "slow", about: "clients that read or send slowly (C-6)", run: streams::slow },
    Figure { name: "stream", about: "a gibibyte each way", run: streams::gibibyte },
    Figure { name: "descriptors", about: "more clients than descriptors (C-13)", run: descriptors::scarce },
    Figure { name: "memory", about: "more clients than memory (C-19)", run: memory::scarce },
    Figure { name: "log", about: "a decision log that takes nothing (C-14)", run: sink::troubled },
    Figure { name: "clock", about: "a clock that jumps (C-15)", run: clock::jumps },
    Figure { name: "keys", about: "key sets that are not to be had (C-16)", run: keys::faults },
    Figure { name: "cost", about: "requests that cost more than their size (C-7)", run: cost::ratios },
    Figure { name: "hostile", about: "inputs that are to cost the WAF much", run: hostile::inputs },
    Figure { name: "named", about: "every 401 and 403 names its rule (C-23)", run: named::refusals },
    Figure { name: "why", about: "a record by its id, and a day replayed", run: lookup::whys },
    Figure { name: "files", about: "files that vanish or are half written", run: files::faults },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let (Some(origin::Origin::ALONE), Some(address)) = (arguments.next().as_deref(), arguments.next()) {
        origin::Origin::alone(&address);
    }
    if std::env::args().nth(1).as_deref() == Some("train") {
        train::train();
        return ExitCode::SUCCESS;
    }
    let mut long = true;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--short" => long = false,
            "--list" => {
                FIGURES.iter().for_each(|figure| println!("{:16}{}", figure.name, figure.about));
                return ExitCode::SUCCESS;
            }
            name if FIGURES.iter().any(|figure| figure.name == name) => names.push(argument),
            other => {
                eprintln!("`{other}` is no figure; `--list` names them, `--short` shortens them");
                return ExitCode::from(2);
            }
        }
    }
    process::raise_descriptors();
    let scale = Scale { long, optimised: gateway::is_optimised() };
    let mut report = Report::default();
    for figure in FIGURES {
        if !names.is_empty() && !names.iter().any(|name| name == figure.name) {
            continue;
        }
        println!("== {}: {}", figure.name, figure.about);
        let begin = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| (figure.run)(scale, &mut report))).is_err() {
            report.broke(figure.name);
        }
        println!("== {}: {} s", figure.name, begin.elapsed().as_secs());
    }
    report.end()
}
