//! Lints that need to see the process and the policy together.

use std::net::{IpAddr, SocketAddr};

use super::raw::{Root, ServerText};
use super::settings::{Listener, Settings};
use crate::policy::Policy;
use crate::policy::code::Code;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::route::WafBodyWord;

/// Looks for what is dangerous or useless although every table is right by itself.
pub(super) fn check(
    root: &Root,
    settings: &Settings,
    policy: Option<&Policy>,
    diagnostics: &mut Diagnostics,
) {
    upstream_addresses(settings, diagnostics);
    let Some(policy) = policy else { return };
    unused_upstreams(settings, policy, diagnostics);
    demo_keys(settings, policy, diagnostics);
    unasked_certificates(root, settings, diagnostics);
    uninspected_routes(root, policy, diagnostics);
}

fn unused_upstreams(settings: &Settings, policy: &Policy, diagnostics: &mut Diagnostics) {
    for upstream in policy.routes.unused_upstreams().filter_map(|at| settings.upstreams.get(at)) {
        let message = format!("no route names the upstream `{}`", upstream.name);
        diagnostics
            .push(Code::UnusedName, upstream.place, message)
            .about(format!("upstream/{}", upstream.name));
    }
}

/// Keys that ship with portcullis are known to everybody; on loopback that does no harm.
fn demo_keys(settings: &Settings, policy: &Policy, diagnostics: &mut Diagnostics) {
    let reachable = settings.listeners.iter().find(|listener| !listener.address.ip().is_loopback());
    let Some(listener) = reachable else { return };
    for source in policy.authn.demo_keys_used() {
        diagnostics
            .push(
                Code::DemoKey,
                source.place,
                format!(
                    "`{}` has a key for demonstrations, and others can reach {}",
                    source.value, listener.address
                ),
            )
            .about(format!("authn/{}", source.value))
            .help("make a key of your own: `portcullis hash-key --generate`");
    }
}

/// Nobody shows a certificate to a listener that does not ask for one.
fn unasked_certificates(root: &Root, settings: &Settings, diagnostics: &mut Diagnostics) {
    let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client.is_some());
    if settings.listeners.iter().any(asks) {
        return;
    }
    for source in root.policy.authn.iter().flat_map(|authn| &authn.mtls) {
        diagnostics
            .push(Code::UnusedName, source.place, "no listener asks for client certificates")
            .about(format!("authn/{}", source.id.value))
            .help("add `client_ca` to the `tls` of a listener");
    }
}

fn uninspected_routes(root: &Root, policy: &Policy, diagnostics: &mut Diagnostics) {
    if !policy.waf.inspects_bodies() {
        return;
    }
    for route in &root.policy.route {
        let why = match (route.waf_body, route.upgrade.is_empty()) {
            (Some(WafBodyWord::Off), _) => "`waf_body` is off",
            (_, false) => "what flows after an upgrade is not inspected",
            _ => continue,
        };
        diagnostics
            .push(
                Code::NotInspected,
                route.id.place,
                format!("WAF rules do not see all bodies of the route `{}`: {why}", route.id.value),
            )
            .about(format!("route/{}", route.id.value));
    }
}

/// A request to such an upstream would go round in a circle, or reach the admin interface.
fn upstream_addresses(settings: &Settings, diagnostics: &mut Diagnostics) {
    for upstream in &settings.upstreams {
        for server in &upstream.servers {
            let ServerText::Tcp { host, port, authority, .. } = &server.url else { continue };
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
                diagnostics
                    .push(
                        Code::UpstreamIsAdmin,
                        upstream.place,
                        format!("the server `{authority}` of `{}` is the admin listener", upstream.name),
                    )
                    .about(format!("upstream/{}", upstream.name));
            } else if settings.listeners.iter().any(|listener| hits(listener.address)) {
                diagnostics
                    .push(
                        Code::UpstreamIsSelf,
                        upstream.place,
                        format!(
                            "the server `{authority}` of `{}` is one of our own listeners",
                            upstream.name
                        ),
                    )
                    .about(format!("upstream/{}", upstream.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::config::compile;
    use crate::policy::code::Code;
    use crate::policy::source::Sources;

    const BASE: &str = "version = 1\n[[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"app\"\n\
                        [[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";

    #[track_caller]
    fn check(text: &str, want: &[Code]) {
        let outcome = compile(Sources::single("p.toml", format!("{BASE}{text}")), Timestamp::UNIX_EPOCH);
        let codes: Vec<Code> = outcome.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, want, "{:#?}", outcome.diagnostics);
    }

    fn with(listen: &str, server: &str, more: &str) -> String {
        format!("[server]\nlisten = [\"{listen}\"]\n[upstream.app]\nservers = [\"{server}\"]\n{more}")
    }

    #[test]
    fn an_upstream_that_is_us_is_refused() {
        check(&with("127.0.0.1:80", "http://127.0.0.1:81", ""), &[]);
        check(&with("127.0.0.1:80", "http://localhost", ""), &[Code::UpstreamIsSelf]);
        check(&with("0.0.0.0:80", "http://127.0.0.1", ""), &[Code::UpstreamIsSelf]);
        let admin = "[admin]\nlisten = \"127.0.0.1:9901\"\n";
        check(&with("127.0.0.1:80", "http://127.0.0.1:9901", admin), &[Code::UpstreamIsAdmin]);
    }

    #[test]
    fn a_demo_key_may_only_be_used_where_nobody_else_is() {
        let hash = crate::policy::authn::hash_key(b"demo-reader-key");
        let key = format!("[[authn.api_key]]\nid = \"k\"\nheader = \"x-api-key\"\nhash = \"{hash}\"\n");
        check(&with("127.0.0.1:80", "builtin:echo", &key), &[]);
        check(&with("0.0.0.0:80", "builtin:echo", &key), &[Code::DemoKey]);
    }

    #[test]
    fn names_that_nothing_uses_are_listed() {
        check(
            &with("127.0.0.1:80", "builtin:echo", "[upstream.old]\nservers = [\"http://old\"]\n"),
            &[Code::UnusedName],
        );
    }

    #[test]
    fn trusting_every_address_is_refused() {
        for nets in ["\"0.0.0.0/0\"", "\"::/0\"", "\"0.0.0.0/1\", \"128.0.0.0/1\""] {
            let text = format!(
                "[server]\nlisten = [\"127.0.0.1:80\"]\ntrusted_proxies = [{nets}]\n\
                 [upstream.app]\nservers = [\"builtin:echo\"]\n"
            );
            check(&text, &[Code::TrustsTheWorld]);
        }
    }

    /// A listener with these lines.
    fn listener(lines: &str, more: &str) -> String {
        format!(
            "[upstream.app]\nservers = [\"builtin:echo\"]\n{more}[[listener]]\naddress = \"127.0.0.1:80\"\n{lines}"
        )
    }

    #[test]
    fn a_listener_believes_the_proxies_it_names_and_names_some() {
        let from = |list: &str| listener(&format!("proxy_protocol = {{ from = {list} }}\n"), "");
        check(&from("[\"10.0.0.0/8\", \"2001:db8::1\"]"), &[]);
        check(&from("\"10.0.0.1\""), &[]);
        check(&from("[\"0.0.0.0/0\"]"), &[Code::TrustsTheWorld]);
        check(&from("[]"), &[Code::BadValue]);
        check(&from("[\"office\"]"), &[Code::BadValue]);
        check(&from("[\"10.0.0.1/8\"]"), &[Code::BadValue]);
        check(&listener("proxy_protocol = true\n", ""), &[Code::WrongType]);
        check(&listener("proxy_protocol = {}\n", ""), &[Code::MissingKey]);
    }

    #[test]
    fn client_certificates_are_asked_for_whole_or_not_at_all() {
        let tls = |more: &str| {
            listener(&format!("tls = {{ certificates = [{{ cert = \"c\", key = \"k\" }}]{more} }}\n"), "")
        };
        check(&tls(""), &[]);
        check(&tls(", client_ca = \"ca\", client_crl = [\"a\", \"b\"], client_cert = \"optional\""), &[]);
        check(&tls(", client_cert = \"optional\""), &[Code::Conflict]);
        check(&tls(", client_crl = [\"crl\"]"), &[Code::Conflict]);
        check(&tls(", client_ca = \"ca\", client_cert = \"maybe\""), &[Code::BadValue]);
        check(&listener("tls = { certificates = [] }\n", ""), &[Code::BadValue]);
    }

    #[test]
    fn certificates_that_nobody_is_asked_for_are_listed() {
        let source = "[[authn.mtls]]\nid = \"x\"\nsubject = \"uri\"\n";
        let tls = "tls = { certificates = [{ cert = \"c\", key = \"k\" }], client_ca = \"ca\" }\n";
        check(&listener(tls, source), &[]);
        check(&listener("", source), &[Code::UnusedName]);
    }

    #[test]
    fn routes_whose_bodies_nobody_looks_at_are_listed_where_rules_would() {
        let rule = "[waf]\npacks = []\n[[waf.rule]]\nid = \"x\"\nscore = 5\ntargets = [\"form\"]\n\
                    match = { contains = \"x\" }\n";
        let route = "[[route]]\nid = \"up\"\npath = \"/up\"\nupstream = \"app\"\nwaf_body = \"off\"\n";
        check(&with("127.0.0.1:80", "builtin:echo", route), &[]);
        check(&with("127.0.0.1:80", "builtin:echo", &format!("{route}{rule}")), &[Code::NotInspected]);
    }
}
