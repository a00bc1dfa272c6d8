//! `/api/bans`: temporary blocks, and who made them.

use http::StatusCode;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AdminState;
use super::access::Caller;
use super::answer::{Answer, json, problem};
use super::input::pairs;
use crate::policy::network::parse_net;
use crate::serve::BanError;
use crate::state::Ban;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// An address or a network.
    address: String,
    /// For how long: `1h`, `2d 12h`.
    r#for: String,
    /// Why.
    #[serde(default)]
    reason: String,
}

/// A ban as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) address: String,
    pub(super) until: Timestamp,
    pub(super) seconds_left: i64,
    pub(super) since: Timestamp,
    pub(super) reason: String,
    pub(super) by: String,
}

/// A longer ban belongs into the policy.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// The bans in force.
pub(super) fn shown(state: &AdminState) -> Vec<Shown> {
    state.bans.bans().into_iter().map(Shown::from).collect()
}

/// `GET`.
pub(super) fn list(state: &AdminState) -> Answer {
    json(StatusCode::OK, &json!({ "bans": shown(state) }))
}

/// `POST`.
pub(super) fn ban(state: &AdminState, caller: &Caller, wanted: Wanted) -> Answer {
    let made = match make(wanted, caller) {
        Ok(ban) => ban,
        Err(why) => return problem(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    match state.bans.ban(made.clone()) {
        Ok(()) => {
            let Ban { until, reason, .. } = &made;
            let who = made.who();
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            state.changes.note(caller, format!("banned {who} until {until:.0}{why}"));
            json(StatusCode::CREATED, &Shown::from(made))
        }
        Err(error @ BanError::Never(_)) => problem(StatusCode::CONFLICT, error.to_string()),
        Err(error @ BanError::Io(_)) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// `DELETE`, with `?address=`.
pub(super) fn unban(state: &AdminState, caller: &Caller, query: &str) -> Answer {
    let address = pairs(query).into_iter().find(|(name, _)| name == "address").map(|(_, value)| value);
    let Some(address) = address else {
        return problem(StatusCode::BAD_REQUEST, "say whose ban ends: `?address=203.0.113.9`");
    };
    let net = match parse_net(address.trim()) {
        Ok(net) => net,
        Err(why) => return problem(StatusCode::UNPROCESSABLE_ENTITY, format!("`{address}` {why}")),
    };
    match state.bans.unban(net) {
        Ok(Some(ended)) => {
            state.changes.note(caller, format!("ended the ban of {}", ended.who()));
            json(StatusCode::OK, &json!({ "ended": Shown::from(ended) }))
        }
        Ok(None) => {
            problem(StatusCode::NOT_FOUND, format!("`{address}` is not banned{}", covering(state, net)))
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("the ban was not ended: {error}")),
    }
}

/// The ban of a network, for whoever would end that of an address in it.
fn covering(state: &AdminState, net: IpNet) -> String {
    match state.bans.of(net.addr()).first() {
        Some(ban) => format!("; a ban of {} covers it", ban.who()),
        None => String::new(),
    }
}

fn make(wanted: Wanted, caller: &Caller) -> Result<Ban, String> {
    let Wanted { address, r#for, reason } = wanted;
    let address = address.trim();
    let net = parse_net(address).map_err(|why| format!("address: `{address}` {why}"))?;
    if net.prefix_len() == 0 {
        return Err(format!("address: `{address}` is everybody"));
    }
    let until = end(&r#for)?;
    let reason: String = reason.trim().chars().take(500).collect();
    let since = Timestamp::now();
    Ok(Ban { net, until, since, reason, by: caller.to_string() })
}

/// The time after a span that somebody wrote.
pub(super) fn end(span: &str) -> Result<Timestamp, String> {
    let span = span.trim();
    let parsed: SignedDuration =
        span.parse().map_err(|_| format!("for: `{span}` is no time span such as 10m, 1h or 36h"))?;
    if parsed <= SignedDuration::ZERO {
        return Err("for: it must end later than now".to_owned());
    }
    if parsed > LONGEST {
        return Err("for: a year at most; what lasts longer belongs into an `[[ip.rule]]`".to_owned());
    }
    Timestamp::now().checked_add(parsed).map_err(|_| format!("for: `{span}` is too long"))
}

impl From<Ban> for Shown {
    fn from(ban: Ban) -> Shown {
        let address = ban.who();
        let Ban { until, since, reason, by, .. } = ban;
        let seconds_left = until.duration_since(Timestamp::now()).as_secs().max(0);
        Shown { address, until, seconds_left, since, reason, by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_always_has_an_end_that_comes() {
        for span in ["10m", "1h", "1h 30m", "PT2H", "8784h"] {
            assert!(end(span).is_ok(), "{span}");
        }
        for span in ["", "0s", "-1h", "for ever", "8785h", "1"] {
            assert!(end(span).is_err(), "{span}");
        }
    }
}
