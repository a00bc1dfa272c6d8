//! A recorded request as a case for `portcullis test`, so that what was found out stays found out.

use toml::{Table, Value};

use super::Story;
use crate::cli::written_toml::inline;
use crate::policy::Caller;

/// The case: that the request is decided as it was. Where it could not tell a policy that decides so from
/// another, why there is none.
pub(super) fn toml(story: &Story<'_>) -> Result<String, String> {
    let Story { line, recalled, account, settled, agrees, .. } = story;
    if let Some(settled) = settled {
        return Err(format!("{} So a case could not hold, whatever the policy.", settled.why));
    }
    if !recalled.has_path || recalled.ip.is_none() || !recalled.has_subject {
        return Err(
            "The record keeps path, address or subject only in part (`[log]`), so a case would be about another request."
                .to_owned(),
        );
    }
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
    let mut out = String::new();
    if *agrees {
        let denial = account.denial();
        let outcome = if denial.is_some() { "deny" } else { "allow" };
        expect.insert("outcome".to_owned(), outcome.into());
        expect.insert("rule".to_owned(), account.name(account.decision.rule()).to_owned().into());
        if let Some(denial) = denial {
            expect.insert("reason".to_owned(), denial.reason.info().code.into());
        }
    } else {
        // The files decide otherwise than the policy of then: the case says what was, and so fails with them.
        let outcome = if &*line.decision == "deny" { "deny" } else { "allow" };
        expect.insert("outcome".to_owned(), outcome.into());
        if account.policy().rules.by_name(&line.rule).is_some() && &*line.decision != "error" {
            expect.insert("rule".to_owned(), line.rule.to_string().into());
        }
        if let Some(reason) = line.reason.as_ref().filter(|_| &*line.decision == "deny") {
            expect.insert("reason".to_owned(), reason.to_string().into());
        }
        let now = if account.denial().is_some() { "refused" } else { "allowed" };
        let rule = account.name(account.decision.rule());
        out.push_str(&format!(
            "# As it was decided then. The files as they are now: {now} by {rule}, so it fails.\n"
        ));
    }
    case.insert("expect".to_owned(), expect.into());
    out.push_str("[[case]]\n");
    // Inline tables, so that the case can be put between others.
    for (key, value) in case {
        out.push_str(&format!("{key} = {}\n", inline(&value)));
    }
    Ok(out)
}

fn date(at: jiff::Timestamp) -> Option<Value> {
    at.to_string().parse().ok().map(Value::Datetime)
}
