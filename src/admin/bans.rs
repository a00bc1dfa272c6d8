//! `/api/bans`: temporary blocks, and who made them.

use http::StatusCode;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AdminState;
use super::access::Caller;
use super::answer::{Answer, json, problem};
use super::input::plain;
use super::members::{Document, Kind, Member};
use super::parameter::BadParameter;
use super::query::pairs;
use crate::policy::ip::{Listed, Spared};
use crate::policy::network::parse_net;
use crate::serve::{BanError, Standing};
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

impl Document for Wanted {
    const MEMBERS: &'static [Member] = &[
        Member::needed("address", Kind::Text, "an address or a network such as 203.0.113.0/24"),
        Member::needed("for", Kind::Text, "a time span such as 1h"),
        Member::new("reason", Kind::Text, "a text of one line"),
    ];
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
    /// Networks of `[ip] never_ban` that it does not concern.
    pub(super) spared: Vec<String>,
    /// How many more there are.
    pub(super) more_spared: usize,
    /// Whether they have all of it.
    pub(super) without_effect: bool,
}

/// A longer ban belongs into the policy.
const LONGEST: Longest = Longest {
    span: SignedDuration::from_hours(366 * 24),
    why: "a year at most; what lasts longer belongs into an `[[ip.rule]]`",
};

/// A longer reason is no reason but a report.
const LONGEST_REASON: usize = 500;

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
    let wanted = match make(wanted, caller) {
        Ok(ban) => ban,
        Err(why) => return problem(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    match state.bans.ban(wanted) {
        Ok(made) => {
            let Ban { until, reason, .. } = &made.ban;
            let who = made.ban.who();
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let but = match &made.spared {
                Spared::Nothing => String::new(),
                Spared::Part(listed) | Spared::All(listed) => format!(" but for {listed} (never_ban)"),
            };
            state.changes.note(caller, format!("banned {who}{but} until {until:.0}{why}"));
            json(StatusCode::CREATED, &Shown::from(made))
        }
        Err(error) => {
            let status = match &error {
                BanError::Never(..) => StatusCode::CONFLICT,
                BanError::Wide { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                BanError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            problem(status, error.to_string())
        }
    }
}

/// `DELETE`, with `?address=`.
pub(super) fn unban(state: &AdminState, caller: &Caller, query: &str) -> Answer {
    let address = pairs(query).into_iter().find(|(name, _)| name == "address").map(|(_, value)| value);
    let Some(address) = address else {
        let accepted = "an address or network, as it was banned: `?address=203.0.113.9`";
        return BadParameter::unlike("address", "say whose ban ends", accepted).answer();
    };
    let parsed = plain("address", address.trim(), LONGEST_ADDRESS)
        .and_then(|address| parse_net(&address).map_err(|why| format!("`{address}` {why}")));
    let net = match parsed {
        Ok(net) => net,
        Err(why) => return problem(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    match state.bans.unban(net) {
        Ok(Some(ended)) => {
            state.changes.note(caller, format!("ended the ban of {}", ended.who()));
            let ended = Standing { ban: ended, spared: Spared::Nothing };
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
    let address = plain("address", address.trim(), LONGEST_ADDRESS)?;
    let net = parse_net(&address).map_err(|why| format!("address: `{address}` {why}"))?;
    let until = end(&r#for, LONGEST)?;
    let reason = plain("reason", reason.trim(), LONGEST_REASON)?;
    let since = Timestamp::now();
    Ok(Ban { net, until, since, reason, by: caller.to_string() })
}

/// An IPv6 network, written in full.
pub(super) const LONGEST_ADDRESS: usize = 64;

/// How long something may last that is for a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest {
    pub(super) span: SignedDuration,
    /// What to say of more.
    pub(super) why: &'static str,
}

/// The time after a span that somebody wrote.
pub(super) fn end(span: &str, longest: Longest) -> Result<Timestamp, String> {
    let span = plain("for", span.trim(), 64)?;
    let parsed: SignedDuration =
        span.parse().map_err(|_| format!("for: `{span}` is no time span such as 10m, 1h or 36h"))?;
    if parsed <= SignedDuration::ZERO {
        return Err("for: it must end later than now".to_owned());
    }
    if parsed > longest.span {
        return Err(format!("for: {}", longest.why));
    }
    Timestamp::now().checked_add(parsed).map_err(|_| format!("for: `{span}` is too long"))
}

impl From<Standing> for Shown {
    fn from(standing: Standing) -> Shown {
        let Standing { ban, spared } = standing;
        let address = ban.who();
        let Ban { until, since, reason, by, .. } = ban;
        let seconds_left = until.duration_since(Timestamp::now()).as_secs().max(0);
        let without_effect = matches!(spared, Spared::All(_));
        let (spared, more_spared) = match spared {
            Spared::Nothing => (Vec::new(), 0),
            Spared::Part(Listed { nets, more }) | Spared::All(Listed { nets, more }) => (nets, more),
        };
        Shown { address, until, seconds_left, since, reason, by, spared, more_spared, without_effect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_always_has_an_end_that_comes() {
        for span in ["10m", "1h", "1h 30m", "PT2H", "8784h"] {
            assert!(end(span, LONGEST).is_ok(), "{span}");
        }
        for span in ["", "0s", "-1h", "for ever", "8785h", "1"] {
            assert!(end(span, LONGEST).is_err(), "{span}");
        }
    }

    #[test]
    fn its_members_are_those_that_are_read() {
        crate::admin::members::agree::<Wanted>();
    }
}
