//! What another policy would have done with a request whose texts no record keeps: nothing else, where what
//! changed between the two is not about the request.

use crate::audit::Line;
use crate::cli::replay::{Finding, Replayer};
use crate::config::Setup;

/// Whether a policy surely refuses by the same rule what the one that decided refused: an exclusion for
/// another path, say, is a change of the rule and none for this request.
pub(super) fn refuses_as_well(decided: &Setup, other: &Setup, line: &Line<'_>) -> bool {
    if line.policy().is_none_or(|version| version.hash != decided.policy.version.hash) {
        return false;
    }
    match Replayer::new(Some(decided), other).judge(line) {
        Finding::Same { by, .. } => by.is_none_or(|by| other.policy.rules.name(by) == &*line.rule),
        Finding::Allowed(_) | Finding::Refused(_) | Finding::Unknown(_) => false,
    }
}
