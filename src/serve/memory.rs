//! How much memory the system lets the process have (a control group's limit, as containers have it), and
//! how it is shared out. Who comes beyond that is refused and told so; the system would end the process.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Settings;

/// What there is room for. Nothing is limited where the system limits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Connections of clients.
    pub(super) connections: u32,
    /// Bytes of bodies that are held to be inspected.
    pub(super) bodies: Option<u64>,
}

/// Finds it out.
pub(super) fn take(settings: &Settings) -> Shares {
    let tls = settings.listeners.iter().any(|listener| listener.tls.is_some());
    let Some(granted) = granted() else { return Shares { connections: u32::MAX, bodies: None } };
    let shares = shares(granted, tls);
    if shares.connections < settings.connections.total {
        tracing::warn!(
            memory = granted,
            connections = shares.connections,
            "the memory that the system grants is enough for fewer connections than `limits.connections`; \
             those beyond are refused"
        );
    }
    shares
}

/// Half of the memory for connections, by what one that is idle costs; a quarter for bodies. The rest is for the
/// policy and for what passes through.
fn shares(granted: u64, tls: bool) -> Shares {
    let each = if tls { IDLE_TLS } else { IDLE };
    let connections = u32::try_from(granted / 2 / each).unwrap_or(u32::MAX).max(LEAST);
    Shares { connections, bodies: Some(granted / 4) }
}

/// Bytes of a connection that is idle (`tests/soak idle` holds it below), with its socket.
const IDLE: u64 = 24 << 10;
const IDLE_TLS: u64 = 64 << 10;

/// A few clients are tried in any case.
const LEAST: u32 = 8;

/// The least that any group which the process is in lets it have.
fn granted() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    files(&own).filter_map(|path| limit(&fs::read_to_string(path).ok()?)).min()
}

/// The files of the limits, by the list of groups that the process is in: of each group and those above it. In a
/// container the path may be that of the host, which is not to be seen; the uppermost is the container's own.
fn files(own: &str) -> impl Iterator<Item = PathBuf> {
    own.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (kinds, group) = (fields.next().unwrap_or_default(), fields.next().unwrap_or("/"));
        let (root, file) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => ("", ""),
        };
        let groups = Path::new(group).ancestors().filter(move |_| !root.is_empty());
        groups.map(move |group| Path::new(root).join(group.strip_prefix("/").unwrap_or(group)).join(file))
    })
}

/// `max`, or a number near the largest, means that there is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_all_groups_above_are_looked_at() {
        let names = |own: &str| -> Vec<String> {
            files(own).map(|path| path.to_string_lossy().into_owned()).collect()
        };
        let own = "12:cpu,cpuacct:/a\n9:memory:/kube/pod\n0::/";
        let first = "/sys/fs/cgroup/memory/kube/pod/memory.limit_in_bytes";
        let above = "/sys/fs/cgroup/memory/kube/memory.limit_in_bytes";
        let top = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(names(own), [first, above, top, "/sys/fs/cgroup/memory.max"]);
        assert_eq!(names("0::/user.slice")[0], "/sys/fs/cgroup/user.slice/memory.max");
    }

    #[test]
    fn no_limit_is_none() {
        for (text, wanted) in
            [("max\n", None), ("9223372036854771712\n", None), ("67108864\n", Some(67_108_864)), ("", None)]
        {
            assert_eq!(limit(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_shares_leave_room_for_the_rest() {
        for (granted, tls) in [(64_u64 << 20, false), (64 << 20, true), (1 << 30, false), (0, false)] {
            let shares = shares(granted, tls);
            let each = if tls { IDLE_TLS } else { IDLE };
            assert!(u64::from(shares.connections) * each <= granted / 2 || shares.connections == LEAST);
            assert_eq!(shares.bodies, Some(granted / 4));
        }
        assert_eq!(shares(64 << 20, false).connections, 1365);
    }
}
