//! A recorded request, asked about again: from its record into an [`Asked`].

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::header;

use super::asked::Asked;
use super::hidden::hide;
use crate::audit::{Line, Recalled};
use crate::cli::request::Request;
use crate::decision::Builtin;
use crate::policy::{Caller, Policy};

/// What a record tells of its request, and in `assumed` what it does not. None if it is no request.
pub(super) fn asked(line: &Line<'_>, policy: &Policy) -> Option<(Asked, Recalled)> {
    let identity = line.identity();
    let recalled = line.recall(identity.as_ref(), &line.values())?;
    let mut assumed = Vec::new();
    if !recalled.has_path {
        assumed.push("the path is not kept as it was".to_owned());
    }
    let via_proxy = !matches!(&*line.client.via, "peer" | "unreadable");
    if !recalled.has_subject {
        assumed.push("the subject is not kept as it was".to_owned());
    }
    let looked = policy.waf.inspects_bodies() || policy.routes.read_headers().next().is_some();
    if looked || &*line.stage == "waf" {
        let text = "query, body and most header fields are not kept, so rules about them see nothing";
        assumed.push(text.to_owned());
    }
    if let Some(what) = disbelieved(line) {
        assumed.push(format!("the credential, {what}, is not kept; nobody is shown instead"));
    }
    let mut headers = recalled.headers.clone();
    let host = headers.remove(header::HOST);
    let request = Request {
        method: recalled.method.clone(),
        target: recalled.uri.clone(),
        fragment: false,
        version: recalled.version,
        scheme: recalled.scheme,
        host,
        headers,
        body: Bytes::new(),
        peer: recalled.peer.filter(|_| via_proxy),
        ip: recalled.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        certificate: None,
    };
    let caller = recalled.holder.as_ref().map_or(Caller::FromHeaders, |holder| {
        let mut holder = (**holder).clone();
        let subject = holder.subject.to_string();
        holder.claims.entry("sub").or_insert_with(|| subject.into());
        Caller::Assumed(Arc::new(holder))
    });
    let roles = recalled.holder.iter().flat_map(|holder| &holder.roles).map(ToString::to_string).collect();
    let warnings = Vec::new();
    let mut asked =
        Asked { request, caller, body: None, key_header: None, assumed, roles, hidden: None, warnings };
    if recalled.ip.is_none() {
        let (hidden, stands) = hide(line, policy, (&asked.request, &asked.caller), recalled.now);
        asked.request.ip = stands;
        asked.hidden = Some(hidden);
    }
    Some((asked, recalled))
}

/// What was wrong with a credential that was not believed, as what is said behind a comma.
pub(super) fn disbelieved(line: &Line<'_>) -> Option<String> {
    let identity = line.identity()?;
    let by_rule = match Builtin::by_name(&line.rule) {
        // Of a scheme that nobody reads it is not known whether it was well formed.
        Some(Builtin::UnknownScheme) => Some("in a scheme that no source reads"),
        Some(Builtin::Password) => Some("whose user name or password was wrong"),
        Some(Builtin::KeyUnknown) => Some("which no source knows"),
        // Whoever has a token for something else forged nothing.
        Some(Builtin::Issuer) => Some("of an issuer that no source trusts"),
        Some(Builtin::Audience) => Some("which is for another audience"),
        Some(Builtin::Signature) => Some("whose signature does not verify"),
        Some(Builtin::ClaimMissing) => Some("which lacks a claim"),
        Some(Builtin::ClaimType) => Some("with a claim of the wrong type"),
        Some(Builtin::CriticalHeader) => Some("whose `crit` is not understood"),
        _ => None,
    };
    match (&*identity.state, by_rule) {
        ("valid" | "none", _) => None,
        (_, Some(what)) => Some(what.to_owned()),
        (state, None) => Some(format!("which was {state}")),
    }
}
