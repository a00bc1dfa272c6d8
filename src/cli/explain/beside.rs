//! The same request with something changed, judged again beside the one that was asked about.

use std::net::IpAddr;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use jiff::Timestamp;

use super::account::Account;
use super::asked::{Asked, SOMEBODY};
use super::what_if::{Change, Said, TokenFrom, Variation, conclude};
use crate::cli::policies::Named;
use crate::cli::request::{Person, Request};
use crate::facts::Identity;
use crate::policy::{Caller, World};

/// What the request is compared with besides: whatever changes more than a fact of it.
pub(super) enum Other {
    /// Whoever this token is for asks.
    Token(TokenFrom, Box<Asked>),
    /// It is asked at this time.
    At(Timestamp),
    /// This policy judges.
    Policy(Box<Named>),
}

impl Other {
    /// The request with this bearer token instead of whoever asks.
    pub(super) fn token(from: TokenFrom, token: &[u8], asked: &Asked) -> Result<Other, String> {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        let mut request = asked.request.clone();
        let value = value.map_err(|_| "the secret cannot stand in a header field".to_owned())?;
        request.headers.insert(AUTHORIZATION, value);
        let asked = Asked {
            request,
            caller: Caller::FromHeaders,
            body: asked.body.clone(),
            key_header: None,
            assumed: Vec::new(),
            roles: Vec::new(),
            hidden: asked.hidden.clone(),
            warnings: Vec::new(),
        };
        Ok(Other::Token(from, Box::new(asked)))
    }
}

/// Judges the request once for each address, each role and each of the others, and where none alone is
/// enough, once for those together that may be: roles, or a token, from an address.
pub(super) fn compare(
    base: &Account<'_>,
    world: &World,
    (asked, now): (&Asked, Timestamp),
    ips: &[IpAddr],
    roles: &[String],
    others: &[Other],
) -> Vec<Variation> {
    let asker = Asker { base, world, asked, now };
    let mut variations: Vec<Variation> =
        ips.iter().copied().map(Change::Ip).map(|to| asker.fact(to)).collect();
    variations.extend(roles.iter().map(|role| asker.fact(Change::Roles(vec![role.clone()]))));
    let enough = |variation: &Variation| variation.said.refused.is_none();
    if !variations.iter().any(enough) {
        match (ips, roles) {
            ([], [_, _, ..]) => variations.push(asker.fact(Change::Roles(roles.to_vec()))),
            (ips, [_, ..]) => {
                variations.extend(ips.iter().map(|ip| asker.fact(Change::Both(*ip, roles.to_vec()))));
            }
            (_, []) => {}
        }
    }
    variations.extend(others.iter().map(|other| asker.other(other)));
    if !variations.iter().any(enough) {
        for other in others {
            let Other::Token(from, shown) = other else { continue };
            variations.extend(ips.iter().map(|ip| {
                let request = arriving(shown.request.clone(), *ip);
                let shown = Asked { request, ..Asked::clone(shown) };
                asker.judge(Change::Shown(*ip, from.clone()), &shown)
            }));
        }
    }
    variations
}

/// Who judges the variations of one request.
#[derive(Clone, Copy)]
struct Asker<'a> {
    base: &'a Account<'a>,
    world: &'a World,
    asked: &'a Asked,
    now: Timestamp,
}

impl Asker<'_> {
    /// With another fact.
    fn fact(&self, change: Change) -> Variation {
        let identity = self.base.identity.as_ref();
        let (request, hidden) = match change.ip() {
            Some(ip) => (arriving(self.asked.request.clone(), ip), None),
            None => (self.asked.request.clone(), self.asked.hidden.clone()),
        };
        let caller = with_roles(&self.asked.caller, identity, change.roles());
        self.judge(change, &Asked { request, caller, hidden, ..self.asked.clone() })
    }

    /// With something else changed.
    fn other(&self, other: &Other) -> Variation {
        match other {
            Other::Token(from, shown) => self.judge(Change::Token(from.clone()), shown),
            Other::At(at) => {
                let account = Account::judged(self.base.setup, self.world, self.asked, *at);
                self.told(Change::At(*at), &account)
            }
            Other::Policy(named) => {
                let account = Account::judged(&named.setup, self.world, self.asked, self.now);
                self.told(Change::Policy(named.phrase()), &account)
            }
        }
    }

    fn judge(&self, change: Change, asked: &Asked) -> Variation {
        self.told(change, &Account::judged(self.base.setup, self.world, asked, self.now))
    }

    fn told(&self, change: Change, account: &Account<'_>) -> Variation {
        let said = said(account);
        let conclusion = conclude(&self::said(self.base), &said, &change);
        Variation { change, said, conclusion }
    }
}

fn said(account: &Account<'_>) -> Said {
    Said::new(account.policy(), &account.decision, account.identity.as_ref())
}

/// A request whose client is the other end of the connection.
fn arriving(mut request: Request, ip: IpAddr) -> Request {
    request.ip = ip;
    request.peer = None;
    request.headers.remove("x-forwarded-for");
    request.headers.remove("forwarded");
    request
}

/// Who asks, with more roles.
pub(super) fn with_roles(caller: &Caller, identity: Option<&Identity>, roles: &[String]) -> Caller {
    if roles.is_empty() {
        return caller.clone();
    }
    let holder = match (caller, identity) {
        (Caller::Assumed(holder), _) => holder.clone(),
        (Caller::FromHeaders, Some(Identity::Valid(who))) => who.holder.clone(),
        (Caller::FromHeaders, _) => {
            let person = Person { subject: SOMEBODY.to_owned(), roles: roles.to_vec(), ..Person::default() };
            return person.caller();
        }
    };
    let mut holder = (*holder).clone();
    holder.roles.extend(roles.iter().map(|role| role.as_str().into()));
    Caller::Assumed(holder.into())
}
