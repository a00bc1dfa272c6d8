//! A recorded request as a case for `portcullis test`, so that what was found out stays found out.

use toml::{Table, Value};

use crate::audit::{Line, Recalled};
use crate::cli::explain::account::Account;
use crate::cli::written_toml::inline;
use crate::policy::Caller;

/// The case: that the request is decided as the account says.
pub(super) fn toml(line: &Line<'_>, recalled: &Recalled, account: &Account<'_>) -> String {
    let mut request = Table::new();
    let mut put = |key: &str, value: Value| drop(request.insert(key.to_owned(), value));
    put("method", recalled.method.as_str().into());
    put("path", recalled.uri.to_string().into());
    put("host", line.host.to_string().into());
    if let Some(ip) = recalled.ip {
        put("ip", ip.to_string().into());
        if let Some(peer) = recalled.peer.filter(|peer| *peer != ip) {
            put("peer", peer.to_string().into());
        }
    }
    if recalled.scheme == crate::facts::Scheme::Https {
        put("https", true.into());
    }
    let headers = recalled.headers.iter().filter(|(name, _)| *name != http::header::HOST);
    let headers: Table =
        headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into()))).collect();
    if !headers.is_empty() {
        put("headers", headers.into());
    }
    let mut case = Table::new();
    let name = format!("{} {} ({})", recalled.method, recalled.uri.path(), &*line.request_id);
    case.insert("name".to_owned(), name.into());
    case.insert("at".to_owned(), date(recalled.now).unwrap_or_else(|| recalled.now.to_string().into()));
    case.insert("request".to_owned(), request.into());
    if let Caller::Assumed(holder) = &account.sample.caller {
        let mut identity = Table::new();
        identity.insert("subject".to_owned(), holder.subject.to_string().into());
        for (key, list) in [("roles", &holder.roles), ("scopes", &holder.scopes)] {
            let list: Vec<Value> = list.iter().map(|text| text.to_string().into()).collect();
            if !list.is_empty() {
                identity.insert(key.to_owned(), list.into());
            }
        }
        let claims = holder.claims.iter().filter(|(name, _)| *name != "sub");
        let claims: Table =
            claims.filter_map(|(name, value)| Some((name.clone(), Value::try_from(value).ok()?))).collect();
        if !claims.is_empty() {
            identity.insert("claims".to_owned(), claims.into());
        }
        case.insert("identity".to_owned(), identity.into());
    }
    let mut expect = Table::new();
    let denial = account.denial();
    let outcome = if denial.is_some() { "deny" } else { "allow" };
    expect.insert("outcome".to_owned(), outcome.into());
    expect.insert("rule".to_owned(), account.name(account.decision.rule()).to_owned().into());
    if let Some(denial) = denial {
        expect.insert("reason".to_owned(), denial.reason.info().code.into());
    }
    case.insert("expect".to_owned(), expect.into());
    let mut out = String::from("[[case]]\n");
    // Inline tables, so that the case can be put between others.
    for (key, value) in case {
        out.push_str(&format!("{key} = {}\n", inline(&value)));
    }
    out
}

fn date(at: jiff::Timestamp) -> Option<Value> {
    at.to_string().parse().ok().map(Value::Datetime)
}
