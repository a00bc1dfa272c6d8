//! Which policy took away what a request is refused for the want of: the last change that the default deny
//! is told with, since it has no text of its own that could change.
//!
//! Made of the history when a policy is put in force: what roles lost, by method, host and path. A refusal
//! looks up its own path among these, and nothing else pays for it. It speaks of roles and subjects, as the
//! history does: of a grant with a condition, it says when what some holder of the role might do was taken.
//! Where the history names too few subjects to tell, nothing is said. `portcullis why` asks the policies
//! themselves.

use std::collections::HashSet;
use std::sync::Arc;

use crate::decision::{Change, Version};
use crate::facts::{Identity, RoleId, RoleSet, Target};
use crate::policy::Policy;
use crate::policy::scope::{HostPattern, Index, MethodName, MethodSet, PathPattern, Scope};
use crate::state::{CellLine, Entry};

/// What roles lost.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Lead to the losses, the younger before the older.
    index: Index<u32>,
    losses: Vec<Loss>,
    /// The hosts that the policy names, and the ends of hosts, for losses on all others.
    named: HashSet<Box<str>>,
    ends: HashSet<Box<str>>,
}

#[derive(Clone, Debug)]
struct Loss {
    role: RoleId,
    change: Change,
    /// Only on hosts that nothing names.
    unnamed: bool,
    /// Where it is not about every holder of the role: the line, for its subjects.
    some: Option<Arc<CellLine>>,
}

/// Older losses are forgotten. So many are found and kept without being felt.
const MOST: usize = 10_000;

impl Taken {
    /// What the entries of a history say, the oldest first, for who is judged by a policy.
    pub(crate) fn of(entries: &[Entry], policy: &Policy) -> Taken {
        let mut changes: Vec<(Change, &CellLine)> = Vec::new();
        let mut last: Option<Version> = None;
        for entry in entries {
            match entry {
                Entry::Earlier { last: earlier, .. } => {
                    last = earlier.as_ref().and_then(|last| last.parse().ok());
                }
                Entry::Accepted(accepted) => {
                    let to = accepted.version();
                    let Some(from) = last.replace(to) else { continue };
                    let change = Change { at: accepted.at, from, to };
                    let cells = accepted.difference.iter().flat_map(|difference| &difference.cells);
                    changes.extend(cells.filter(|cell| cell.change == "lost").map(|cell| (change, cell)));
                }
                Entry::Refused(_) | Entry::Jump(_) => {}
            }
        }
        let mut known = HashSet::new();
        let (mut scopes, mut losses) = (Vec::new(), Vec::new());
        for (change, cell) in changes.into_iter().rev() {
            if losses.len() >= MOST {
                break;
            }
            // Of the same cell only the last loss matters.
            let whose = (&cell.subjects, &cell.except_subjects);
            if !known.insert((&cell.role, &cell.path, &cell.methods, &cell.hosts, whose)) {
                continue;
            }
            let (Some(role), Some(scope)) = (policy.roles.get(&cell.role), scope(cell)) else { continue };
            let unnamed = cell.hosts.iter().any(|host| **host == *EVERY_OTHER);
            let some = !cell.subjects.is_empty() || !cell.except_subjects.is_empty();
            let some = some.then(|| Arc::new(cell.clone()));
            let mut add = |scope: Scope, unnamed| {
                scopes.push((scope, u32::try_from(losses.len()).unwrap_or(u32::MAX)));
                losses.push(Loss { role, change, unnamed, some: some.clone() });
            };
            if unnamed {
                add(Scope { hosts: Vec::new(), ..scope.clone() }, true);
            }
            if !unnamed || !scope.hosts.is_empty() {
                add(scope, false);
            }
        }
        if losses.is_empty() {
            return Taken::default();
        }
        let hosts = policy.rbac.each_scope().flat_map(|(_, scope)| &scope.hosts);
        let hosts = policy.routes.iter().filter_map(|(_, route)| route.host.as_ref()).chain(hosts);
        let (mut named, mut ends) = (HashSet::new(), HashSet::new());
        for host in hosts {
            match host {
                HostPattern::Exact(name) => named.insert(name.clone()),
                HostPattern::Below(suffix) => ends.insert(suffix.clone()),
            };
        }
        let index = Index::new(scopes.iter().map(|(scope, at)| (scope, *at)));
        Taken { index, losses, named, ends }
    }

    /// The last policy that took from a role of who asks what is asked for.
    #[cold]
    pub(crate) fn from(&self, target: &Target, identity: &Identity) -> Option<Change> {
        let nobody = RoleSet::anyone();
        let roles = identity.who().map_or(&nobody, |who| &who.roles);
        let subject = identity.who().map(|who| &*who.holder.subject);
        let about = |loss: &Loss| loss.some.as_ref().map_or(Some(true), |line| line.is_about(subject));
        let mut newest = u32::MAX;
        self.index.visit(target, None, |&at| {
            let Some(loss) = self.losses.get(at as usize).filter(|_| at < newest) else { return };
            let here = !(loss.unnamed && self.is_named(target.host()));
            if roles.contains(loss.role) && here && about(loss) != Some(false) {
                newest = at;
            }
        });
        // Where nobody can tell whether it is about this caller, it may be or an older one.
        self.losses.get(newest as usize).filter(|loss| about(loss).is_some()).map(|loss| loss.change)
    }

    /// Whether the policy has a name for a host.
    fn is_named(&self, host: &str) -> bool {
        let end = |(at, _)| host.get(at..).is_some_and(|end| self.ends.contains(end));
        self.named.contains(host) || host.match_indices('.').any(end)
    }
}

/// The requests of a line.
fn scope(cell: &CellLine) -> Option<Scope> {
    let methods: Vec<MethodName> =
        cell.methods.iter().map(|method| method.parse().map(MethodName)).collect::<Result<_, _>>().ok()?;
    let hosts = cell.hosts.iter().filter(|host| ***host != *EVERY_OTHER);
    Some(Scope {
        paths: vec![PathPattern::parse(&cell.path).ok()?],
        hosts: hosts.map(|host| HostPattern::parse(host)).collect::<Option<_>>()?,
        methods: MethodSet::new(methods.iter().map(|method| &method.0)),
        routes: Vec::new(),
    })
}

/// The hosts that neither policy of a change names.
const EVERY_OTHER: &str = "*";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, Method, Uri, Version as HttpVersion};

    use super::*;
    use crate::facts::{Body, Holder, Scheme};
    use crate::policy::diff::{Difference, Version as Side};
    use crate::policy::source::Sources;
    use crate::state::{Attempt, History, Limits, Origin};

    const PATHS: [&str; 5] = ["/a", "/a/x", "/a/x/y", "/b/7", "/c"];
    const HOSTS: [&str; 3] = ["api.test", "www.test", "elsewhere.test"];
    const METHODS: [Method; 2] = [Method::GET, Method::DELETE];
    const ROLES: [&str; 3] = ["r0", "r1", "r2"];

    /// A policy out of a number: grants that come and go, to roles that inherit or do not.
    fn config(bits: u64) -> String {
        let mut text =
            "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\n[upstream.u]\nservers = [\"builtin:echo\"]\n\
             [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"u\"\n[rbac.role.r0]\n[rbac.role.r1]\n"
                .to_owned();
        text.push_str(if bits & 1 == 1 {
            "[rbac.role.r2]\ninherits = [\"r0\"]\n"
        } else {
            "[rbac.role.r2]\n"
        });
        let grants = [
            ("a", "roles = [\"r0\"]\npath = \"/a/{*rest}\""),
            ("b", "roles = [\"r1\"]\npaths = [\"/a/x\", \"/b/{id}\"]\nmethods = [\"GET\"]"),
            ("c", "roles = [\"anyone\"]\npath = \"/c\""),
            ("d", "roles = [\"authenticated\"]\npath = \"/b/{id}\"\nhost = \"api.test\""),
            ("e", "roles = [\"r2\"]\nhosts = [\"*.test\"]\npath = \"/a/x/{*rest}\"\nmethods = [\"DELETE\"]"),
            ("f", "roles = [\"r1\"]\npath = \"/{*rest}\"\nmethods = [\"GET\"]\nhost = \"www.test\""),
            ("g", "subjects = [\"ann\"]\npath = \"/b/{id}\""),
            ("h", "subjects = [\"ann\", \"bob\"]\nroles = [\"r1\"]\npath = \"/a/{*rest}\""),
        ];
        text.push_str("[[rbac.grant]]\nid = \"z\"\nroles = [\"r0\"]\npath = \"/z\"\n");
        for (at, (id, rest)) in grants.iter().enumerate() {
            if bits >> (at + 1) & 1 == 1 {
                text.push_str(&format!("[[rbac.grant]]\nid = \"{id}\"\n{rest}\n"));
            }
        }
        text
    }

    fn ask(
        policy: &Policy,
        method: &Method,
        host: &str,
        path: &str,
        (role, subject): (Option<&str>, &str),
    ) -> (bool, Target, Identity) {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, host.parse().unwrap());
        let uri: Uri = path.parse().unwrap();
        let peer = [192, 0, 2, 7].into();
        let admitted = policy.admit(method, Scheme::Https, &uri, HttpVersion::HTTP_11, &headers, peer);
        let identity = role.map_or(Identity::Nobody, |role| {
            let holder = Holder { subject: subject.into(), roles: vec![role.into()], ..Holder::default() };
            Identity::Valid(Arc::new(policy.roles.who(Arc::new(holder))))
        });
        let facts = policy.facts(&admitted, &headers, &identity, &Body::Absent, jiff::Timestamp::UNIX_EPOCH);
        let mut progress = crate::policy::Progress::default();
        let verdict = policy.check(crate::decision::Stage::Rbac, &facts, &mut progress, None);
        let passes = matches!(verdict, crate::decision::Verdict::Pass(_));
        (passes, admitted.target, identity)
    }

    #[test]
    fn the_last_policy_that_let_it_pass_was_replaced_by_the_one_that_is_named() {
        let mut dice: u64 = 7;
        for _ in 0..12 {
            let mut history = History::in_memory(Limits::default());
            let mut setups: Vec<crate::config::Setup> = Vec::new();
            for step in 0..6 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let outcome = crate::config::compile(
                    Sources::single("a", config(dice >> 33)),
                    jiff::Timestamp::UNIX_EPOCH,
                );
                let setup = outcome.setup.expect("a policy");
                let at = jiff::Timestamp::from_second(1000 + step).unwrap();
                let difference = setups.last().map(|before: &crate::config::Setup| {
                    let old = Side { policy: &before.policy, sources: &before.sources };
                    Difference::between(old, Side { policy: &setup.policy, sources: &setup.sources }, at)
                });
                let attempt = Attempt {
                    hash: setup.policy.version.hash,
                    sources: &setup.sources,
                    difference: difference.as_ref(),
                };
                if setups.last().is_none_or(|last| last.policy.version.hash != attempt.hash) {
                    history.accept(&attempt, Origin { at, trigger: "test", by: None });
                    setups.push(setup);
                }
            }
            let current = &setups.last().unwrap().policy;
            let taken = Taken::of(history.entries(), current);
            let mut asked = 0;
            for method in &METHODS {
                for (host, path) in HOSTS.iter().flat_map(|host| PATHS.iter().map(move |path| (host, path))) {
                    let named = |subject| ROLES.map(|role| (Some(role), subject));
                    let who = ["", "ann", "bob", "cid"].into_iter().flat_map(named);
                    for role in [(None, "")].into_iter().chain(who) {
                        let (passes, target, identity) = ask(current, method, host, path, role);
                        if passes {
                            continue;
                        }
                        asked += 1;
                        let last =
                            setups.iter().rposition(|setup| ask(&setup.policy, method, host, path, role).0);
                        let found = taken.from(&target, &identity).map(|change| change.to.generation);
                        let want = last.map(|at| at as u64 + 2);
                        assert_eq!(found, want, "{method} {host}{path} {role:?}");
                    }
                }
            }
            assert!(asked > 0);
        }
    }
}
