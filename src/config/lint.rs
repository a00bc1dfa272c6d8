//! Lints that need to see the process and the policy together.

use std::net::{IpAddr, SocketAddr};

use super::raw::{Root, ServerText};
use super::settings::Settings;
use crate::policy::Policy;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;

/// Looks for what is dangerous or useless although every table is right by itself.
pub(super) fn check(
    root: &Root,
    settings: &Settings,
    policy: Option<&Policy>,
    diagnostics: &mut Diagnostics,
) {
    upstream_addresses(settings, diagnostics);
    let Some(policy) = policy else { return };
    trusted_proxies(root, policy, diagnostics);
}

/// A request to such an upstream would go round in a circle, or reach the admin interface.
fn upstream_addresses(settings: &Settings, diagnostics: &mut Diagnostics) {
    for upstream in &settings.upstreams {
        for server in &upstream.servers {
            let ServerText::Http { host, port, authority } = server else { continue };
            let address = match host.as_str() {
                "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
                host => host.parse::<IpAddr>().ok(),
            };
            let Some(address) = address.map(|address| SocketAddr::new(address, *port)) else { continue };
            let hits = |listen: SocketAddr| {
                listen.port() == address.port()
                    && listen.port() != 0
                    && (listen.ip() == address.ip()
                        || (listen.ip().is_unspecified() && address.ip().is_loopback()))
            };
            if settings.admin.as_ref().is_some_and(|admin| hits(admin.listen)) {
                diagnostics.push(
                    Code::UpstreamIsAdmin,
                    upstream.place,
                    format!("the server `{authority}` of `{}` is the admin listener", upstream.name),
                );
            } else if settings.listeners.iter().any(|listener| hits(listener.address)) {
                diagnostics.push(
                    Code::UpstreamIsSelf,
                    upstream.place,
                    format!("the server `{authority}` of `{}` is one of our own listeners", upstream.name),
                );
            }
        }
    }
}

fn trusted_proxies(root: &Root, policy: &Policy, diagnostics: &mut Diagnostics) {
    let Some(first) = root.server.as_ref().and_then(|server| server.trusted_proxies.first()) else { return };
    // Whoever can reach us from anywhere could then name any address as its own.
    let anywhere = [IpAddr::from([8, 8, 8, 8]), IpAddr::from([0x2001, 0x4860, 0, 0, 0, 0, 0, 1])];
    if anywhere.into_iter().any(|address| policy.proxies.trusts(address)) {
        diagnostics
            .push(Code::TrustsTheWorld, first.place, "every address is trusted to name the client's address")
            .help("list the addresses of your own proxies");
    }
}
