//! The regression tests of the OWASP Core Rule Set, run against this gateway.
//!
//! Needs a checkout of the rule set (`CRS_DIR`); `tests/crs/run` is the command. The gateway runs at
//! paranoia 4 and only detects, as the rule set's own tests assume. A test passes where the official
//! runner, go-ftw, says so. Those that this gateway fails on purpose are listed in `misses.toml`, each
//! with its reason; any other failure fails the run, and so does a listed one that passes.

mod backend;
mod cases;
mod exchange;
mod gateway;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::cases::Case;
use self::gateway::Gateway;

fn main() -> ExitCode {
    let Some(folder) = std::env::var_os("CRS_DIR").map(PathBuf::from) else {
        println!("CRS_DIR names no checkout of the Core Rule Set: nothing is run");
        return ExitCode::SUCCESS;
    };
    let only: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match run(&folder, &only) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tests whose names begin with one of `only`, or all; says whether all is as expected.
fn run(folder: &Path, only: &[String]) -> Result<bool, String> {
    let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    let official = folder.join("tests/regression/tests");
    let tests = if official.is_dir() { official } else { folder.join("tests") };
    let mut cases = cases::read(&tests)?;
    cases.retain(|case| only.is_empty() || only.iter().any(|name| case.name.starts_with(name.as_str())));
    let misses = misses()?;
    let gateway = Gateway::start(&folder)?;
    let began = Instant::now();
    let verdicts = all(&cases, &gateway);
    let took = began.elapsed();
    let mut table: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut passed, mut unexpected) = (0, Vec::new());
    for (case, verdict) in cases.iter().zip(&verdicts) {
        let row = table.entry(case.category()).or_default();
        match (verdict, misses.get(&case.name)) {
            (Ok(()), None) => (passed, row.0) = (passed + 1, row.0 + 1),
            (Ok(()), Some(_)) => {
                (passed, row.0) = (passed + 1, row.0 + 1);
                unexpected.push(format!("{} passes, and is listed as a miss", case.name));
            }
            (Err(why), known) => {
                row.1 += 1;
                match known {
                    Some(reason) => println!("miss {}: {why} ({reason})", case.name),
                    None => unexpected.push(format!("{} fails: {why}", case.name)),
                }
            }
        }
    }
    println!("rules    passed  failed");
    table.iter().for_each(|(category, (passed, failed))| println!("{category:<8} {passed:>6} {failed:>7}"));
    let share = 100.0 * passed as f64 / cases.len().max(1) as f64;
    println!("{passed} of {} pass ({share:.2} %), in {:.1} s", cases.len(), took.as_secs_f64());
    unexpected.iter().for_each(|line| println!("UNEXPECTED {line}"));
    Ok(unexpected.is_empty() && !cases.is_empty())
}

/// The verdicts of all cases, in their order. Several are run at a time.
fn all(cases: &[Case], gateway: &Gateway) -> Vec<Result<(), String>> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let verdict = case.run(gateway);
                    verdicts.lock().expect("no verdict panics").insert(at, verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().expect("no verdict panics");
    (0..cases.len()).map(|at| verdicts.remove(&at).unwrap_or(Err("never ran".to_owned()))).collect()
}

/// The tests that fail on purpose, and why.
fn misses() -> Result<HashMap<String, String>, String> {
    let table: toml::Table =
        include_str!("misses.toml").parse().map_err(|error| format!("misses: {error}"))?;
    let reason = |(name, reason): (String, toml::Value)| Some((name, reason.as_str()?.to_owned()));
    Ok(table.into_iter().filter_map(reason).collect())
}

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
