//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ConnectionLimits;

/// Takes as many descriptors as the system grants without asking further, and warns if that is less than
/// the connections may come to need. The lower limit that a process begins with is there for programs
/// that use `select`. How many clients there is room for, each with an upstream: were clients taken until
/// there is no descriptor left, none of them could be served.
pub(super) fn take(limits: ConnectionLimits) -> u32 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let needed = u64::from(limits.total) * 2 + OWN;
    if let Some(granted) = limit.current.filter(|granted| *granted < needed) {
        tracing::warn!(
            granted,
            needed,
            "`limits.connections` may need more descriptors than the system grants; \
             connections beyond them wait until others end"
        );
    }
    limit.current.map_or(u32::MAX, room)
}

/// How many clients so many descriptors are enough for.
fn room(granted: u64) -> u32 {
    let left = granted.saturating_sub(OWN);
    let room = left - (left / 2).min(UPSTREAMS);
    u32::try_from(room).unwrap_or(u32::MAX).max(LEAST)
}

/// More clients than this hardly want an upstream at once; the others are idle.
const UPSTREAMS: u64 = 4096;

/// Besides a client and an upstream for each connection: listeners, logs, runtimes, operators.
const OWN: u64 = 128;

/// A few clients are tried in any case.
const LEAST: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_an_upstream() {
        assert_eq!([0, 64, 256, 1024, u64::MAX].map(room), [LEAST, LEAST, 64, 448, u32::MAX]);
        assert!(room(20_000) > 10_000);
    }
}
