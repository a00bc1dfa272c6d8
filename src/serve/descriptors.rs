//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ConnectionLimits;

/// Takes as many descriptors as the system grants without asking further, and warns if that is less than
/// the connections may come to need. The lower limit that a process begins with is there for programs
/// that use `select`.
pub(super) fn take(limits: ConnectionLimits) {
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
}

/// Besides a client and an upstream for each connection: listeners, logs, runtimes, operators.
const OWN: u64 = 128;
