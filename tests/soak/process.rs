//! What the system says of a process: memory, descriptors, threads, time on the processor.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory.
    pub kib: f64,
    pub descriptors: usize,
    pub threads: usize,
    /// Processor time so far.
    pub busy: Duration,
}

/// What a process uses now.
pub fn usage(id: u32) -> Usage {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let field = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
    };
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
    // Behind the name, which may hold anything: fields 14 and 15 are ticks in user and system mode.
    let behind = stat.rsplit_once(')').expect("a name").1;
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Usage {
        kib: field("VmRSS:"),
        descriptors: fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count),
        threads: field("Threads:") as usize,
        busy: Duration::from_millis(ticks * 10),
    }
}

/// The time that all its threads have had on the processor so far, to the nanosecond.
pub fn on_processor(id: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
    let each = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(each.sum())
}

/// Whether a process watches files or folders (inotify).
pub fn watches_files(id: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{id}/fdinfo")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_to_string(entry.path()).ok()).any(|text| text.contains("inotify wd:"))
}

/// Waits until many looks in a row see the same descriptors and threads.
pub fn settled(id: u32, patience: Duration) -> Option<()> {
    let (mut last, mut same) = (None, 0);
    until(patience, || {
        let now = usage(id);
        let seen = Some((now.descriptors, now.threads));
        same = if seen == last { same + 1 } else { 0 };
        last = seen;
        (same >= 30).then_some(())
    })
}

/// Looks every few milliseconds until there is something to see, or it has been long enough.
pub fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if begin.elapsed() > patience {
            return None;
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// This process plays ten thousand clients.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
