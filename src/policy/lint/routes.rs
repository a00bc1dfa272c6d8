//! Routes that no grant reaches.

use std::ops::ControlFlow;

use super::Look;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::route::AuthnWord;

/// Reports routes that serve no request that a grant could be about. Without any grant another lint
/// says so once.
pub(super) fn unreached(look: &Look<'_>, diagnostics: &mut Diagnostics) {
    if look.policy.rbac.grants_nothing() {
        return;
    }
    // Which routes wait for a grant: over clear text one that redirects answers itself. And which of them
    // identify nobody, so that the grant must be for everybody.
    let mut waiting: Vec<bool> = look.policy.routes.iter().map(|(_, route)| !route.redirect).collect();
    let open_only: Vec<bool> =
        look.policy.routes.iter().map(|(_, route)| route.authn == AuthnWord::Off).collect();
    let mut left = waiting.iter().filter(|waits| **waits).count();
    for (scope, open) in look.policy.rbac.grants(look) {
        let looked = look.served.each(scope, |id| {
            let place = id.0 as usize;
            let may = open || open_only.get(place) == Some(&false);
            if let Some(waits) = waiting.get_mut(place).filter(|waits| **waits && may) {
                *waits = false;
                left -= 1;
            }
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // All are reached, or it is too much work to find out.
        if looked.is_break() {
            return;
        }
    }
    for (((_, route), raw), waits) in look.policy.routes.iter().zip(&look.raw.route).zip(waiting) {
        if !waits {
            continue;
        }
        let (grant, help) = match route.authn {
            AuthnWord::Off => (
                "no grant for `anyone`",
                "the route identifies nobody (`authn = \"off\"`): add a [[rbac.grant]] for `anyone` with its path, or let it identify callers",
            ),
            _ => ("no grant", "add a [[rbac.grant]] with its path, or remove the route"),
        };
        let message = format!("{grant} is about the route `{}`, so all its requests are refused", route.name);
        diagnostics
            .push(Code::UnreachedRoute, raw.id.place, message)
            .about(format!("route/{}", route.name))
            .label("always refused")
            .help(help);
    }
}
