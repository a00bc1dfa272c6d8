//! `history`: the policies that were in force, those that were refused, and what came of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::admin::Whom;
use super::layout::{count, fill, list as list_of, padded, printable};
use super::policies::Past;
use super::reply::{BAD, Exit, FAINT, GOOD, Reply, STRONG, WARN, styled};
use super::{Common, Format, difference, files};
use crate::state::{self, Accepted, DifferenceLine, Entry};

/// Show the policies that were in force, and those that were refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis history
  portcullis history 7
  portcullis history 7 --text

It is read from `[server] state_dir`; without one, or where there is no
configuration, a running gateway is asked.")]
pub(super) struct Args {
    /// One generation in full: how it differs from the one before.
    generation: Option<u64>,
    /// The texts of that generation.
    #[arg(long, requires = "generation")]
    text: bool,
    /// The most entries that are listed; the newest are.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    #[command(flatten)]
    whom: Whom,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Shows the history.
pub(super) fn history(args: &Args, common: &Common) -> Reply {
    let past = match Past::of(common) {
        Ok(past) => past,
        // A gateway that is named can be asked from where no configuration is.
        Err(_) if args.whom.named().is_some() && files::config_path(common).is_err() => Past::default(),
        Err(reply) => return reply,
    };
    let entries = match past.is_kept() {
        true => past.entries.clone(),
        false => match asked(args, common) {
            Ok(entries) => entries,
            Err(reply) => return reply,
        },
    };
    match args.generation {
        Some(generation) => one(args, generation, &past, &entries),
        None => list(args, &entries, &past),
    }
}

/// What a running gateway says.
fn asked(args: &Args, common: &Common) -> Result<Vec<Entry>, Reply> {
    let failed = |why: String| {
        let hint = "the configuration has no `[server] state_dir`, so a running gateway was asked";
        let hint = if files::config_path(common).is_ok() { format!("\n{hint}") } else { String::new() };
        Reply::failure(Exit::Findings, format!("{why}{hint}"))
    };
    let answer = args.whom.find(false, common)?.read("/api/history").map_err(failed)?;
    if !answer.status.is_success() {
        return Err(failed(answer.why()));
    }
    let mut body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| failed(format!("the answer is no JSON: {error}")))?;
    let entries = body.get_mut("history").map(Value::take).unwrap_or_default();
    let mut entries: Vec<Entry> = serde_json::from_value(entries)
        .map_err(|error| failed(format!("the answer is no history: {error}")))?;
    entries.reverse();
    Ok(entries)
}

fn list(args: &Args, entries: &[Entry], past: &Past) -> Reply {
    let shown: Vec<&Entry> = entries.iter().filter(|entry| entry.at().is_some()).collect();
    let shown = shown.get(shown.len().saturating_sub(args.lines)..).unwrap_or_default();
    match args.format {
        Format::Json => {
            // Of a gateway that was asked the file is not known.
            let lost = past.is_kept().then(
                || json!({ "damaged_lines": past.damaged, "torn_bytes": past.torn, "generations": gaps(past) }),
            );
            Reply::json(Exit::Fine, &json!({ "history": shown, "lost": lost }))
        }
        Format::Text if shown.is_empty() => Reply::text(Exit::Fine, lost(past) + "Nothing yet.\n"),
        Format::Text => {
            let lines = shown.iter().map(|entry| line(entry));
            Reply::text(Exit::Fine, lines.collect::<String>() + &lost(past))
        }
    }
}

/// What of the history cannot be read, if there is anything.
fn lost(past: &Past) -> String {
    let mut out = String::new();
    let mut note = |text: &str| out.push_str(&fill(&format!("{} ", styled(WARN, "Mind:")), text));
    let file = state::history_file(past.folder());
    let file = printable(&file.to_string_lossy()).into_owned();
    if !past.damaged.is_empty() {
        let numbers: Vec<String> = past.damaged.iter().map(usize::to_string).collect();
        let word = if numbers.len() == 1 { "line" } else { "lines" };
        note(&format!(
            "{word} {} of `{file}` cannot be read, so what happened there is not known.",
            first_of(&numbers)
        ));
    }
    let gaps = gaps(past);
    if !gaps.is_empty() {
        let word = if gaps.len() == 1 { "generation" } else { "generations" };
        let is = if gaps.len() == 1 { "is" } else { "are" };
        note(&format!("{word} {} {is} lost.", first_of(&gaps)));
    }
    if past.torn > 0 {
        let size = bytesize::ByteSize(past.torn);
        note(&format!(
            "the last entry of `{file}` is torn: {size} of it are there, and no end. Who wrote it was stopped meanwhile, or is writing it now; a gateway that starts cuts it off."
        ));
    }
    out
}

/// The generations that are lost, as far as those around them tell: `4`, `7 to 9`.
fn gaps(past: &Past) -> Vec<String> {
    let numbers: Vec<u64> = past.accepted().map(|accepted| accepted.generation).collect();
    let between = numbers.windows(2).filter_map(|pair| match *pair {
        [before, after] if after == before + 2 => Some(format!("{}", before + 1)),
        [before, after] if after > before + 2 => Some(format!("{} to {}", before + 1, after - 1)),
        _ => None,
    });
    between.collect()
}

/// The first of them, and how many there are besides.
fn first_of(texts: &[String]) -> String {
    match texts.split_at_checked(MOST_TOLD) {
        Some((first, more @ [_, ..])) => format!("{} and {} more", list_of(first, ", "), more.len()),
        Some(_) | None => list_of(texts, " and "),
    }
}

/// More of what is lost is only counted.
const MOST_TOLD: usize = 10;

/// An entry in a line or two.
fn line(entry: &Entry) -> String {
    let by = |trigger: &str, by: &Option<String>| match by {
        Some(by) => format!("by {trigger}, {}", printable(by)),
        None => format!("by {trigger}"),
    };
    let at = entry.at().map(|at| format!("{at:.0}")).unwrap_or_default();
    let (word, what) = match entry {
        Entry::Accepted(accepted) => {
            let Accepted { trigger, difference, .. } = &**accepted;
            let by = styled(FAINT, by(trigger, &accepted.by));
            let comma = if difference.is_none() { "," } else { "" };
            (styled(GOOD, accepted.version()), format!("{}{comma} {by}", summary(difference.as_ref())))
        }
        Entry::Refused(refused) => {
            let first = refused.errors.first().map_or("", String::as_str);
            let by = styled(FAINT, by(&refused.trigger, &refused.by));
            let more = match refused.errors.len() + refused.more {
                0 | 1 => String::new(),
                number => format!(" and {}", count(number - 1, "more problem")),
            };
            (styled(BAD, "refused"), format!("{}{more} {by}", printable(first)))
        }
        Entry::Jump(jump) => {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            let text = format!(
                "{} refuses {} of all requests since {}, {} before",
                printable(&jump.rule),
                percent(jump.after),
                printable(&jump.policy),
                percent(jump.before)
            );
            (styled(WARN, "jump"), text)
        }
        Entry::Earlier { .. } => return String::new(),
    };
    fill(&format!("{at}  {} ", padded(&word, 14)), &what)
}

/// What changed, in a few words.
fn summary(difference: Option<&DifferenceLine>) -> String {
    let Some(difference) = difference else { return "the first policy that is known".to_owned() };
    // What several roles gain is one gain.
    let cells = |change: &str| {
        let cells = difference.cells.iter().filter(|cell| cell.change == change);
        cells.map(|cell| (&cell.path, &cell.methods, &cell.hosts)).collect::<BTreeSet<_>>().len()
    };
    let parts: Vec<String> = [
        (difference.rules.len(), "rule"),
        (difference.definitions.len(), "definition"),
        (cells("gained"), "gain"),
        (cells("lost"), "loss"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(
        |(number, word)| {
            if word == "loss" && number > 1 { format!("{number} losses") } else { count(number, word) }
        },
    )
    .collect();
    match parts.is_empty() {
        true => "nothing that has a meaning".to_owned(),
        false => parts.join(", "),
    }
}

/// One generation.
fn one(args: &Args, generation: u64, past: &Past, entries: &[Entry]) -> Reply {
    let found = entries.iter().rev().filter_map(Entry::accepted).find(|known| known.generation == generation);
    let Some(accepted) = found else {
        return Reply::failure(Exit::Usage, format!("generation {generation} is not kept"));
    };
    if args.text {
        return texts(past, accepted);
    }
    if args.format == Format::Json {
        return Reply::json(Exit::Fine, &Entry::Accepted(Box::new(accepted.clone())));
    }
    let mut out = line(&Entry::Accepted(Box::new(accepted.clone())));
    if let Some(found) = &accepted.difference {
        out.push_str(&difference::render(found));
    }
    out.push_str(&format!("{}\n", styled(STRONG, "Files")));
    for file in &accepted.files {
        out.push_str(&fill("  ", &printable(&file.name)));
    }
    Reply::text(Exit::Fine, out)
}

/// The texts of a generation, one behind the other.
fn texts(past: &Past, accepted: &Accepted) -> Reply {
    if !past.is_kept() {
        let why = "the texts are kept in `[server] state_dir`: there is none, or a gateway was asked";
        return Reply::failure(Exit::Usage, why);
    }
    match state::sources(past.folder(), accepted) {
        Ok(sources) => {
            let texts =
                sources.policy_files().map(|(_, source)| format!("# {}\n{}\n", source.name, source.text));
            Reply::exact(Exit::Fine, texts.collect::<String>())
        }
        Err(error) => Reply::failure(
            Exit::Internal,
            format!("generation {} cannot be read: {error}", accepted.generation),
        ),
    }
}
