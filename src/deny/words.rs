//! The sentences that a refused caller reads.
//!
//! They are for the client; what the operator reads of a reason stands in `decision/reason.rs`.

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::decision::Reason;
use crate::facts::RoleId;
use crate::policy::rbac::Roles;

/// What happened.
pub(super) enum Detail<'a> {
    /// A fixed sentence, or the words of the rule's author.
    Text(&'a str),
    /// The nearest grant lacks one thing.
    Nearest(&'a Needs<'a>),
}

/// What a caller can do.
pub(super) enum Hint<'a> {
    /// A fixed sentence, or the words of the rule's author.
    Text(&'a str),
    /// Obtain what is lacking.
    Need(&'a Needs<'a>),
    /// Wait.
    After(Timestamp),
}

/// All of them, the most helpful first.
pub(super) type Hints<'a> = SmallVec<[Hint<'a>; 3]>;

/// What the nearest grant needs.
pub(super) enum Needs<'a> {
    /// Any of these roles.
    Roles(&'a Roles, &'a [RoleId]),
    /// All of these scopes.
    Scopes(&'a [Box<str>]),
}

/// What a caller can do about a reason, whoever it is. None: nothing that would not be obvious.
pub(super) fn advice(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::MalformedRequest | Reason::BadFraming | Reason::BadForwarded => {
            "Send the request whole and as HTTP prescribes it; a proxy on the way may have altered it."
        }
        Reason::HeadTooLarge | Reason::TooManyFields => {
            "Send less in the header; in a browser, clear the cookies of this site."
        }
        Reason::TargetTooLong => "Shorten the address, or send the data in the body.",
        Reason::BadTarget => "Check the address for unusual characters and encode it once.",
        Reason::BadAuthority => "Name exactly one host.",
        Reason::BadHeader => "Send each header field once, under its usual name.",
        Reason::MethodRefused => "Use another method.",
        Reason::ExpectationFailed => "Remove the Expect field.",
        Reason::IpNotAllowed => "Connect through a network that may come here.",
        Reason::IpBanned => "Wait until the ban ends, or ask to have it ended.",
        Reason::IpDenied => "If you share this address with others, try another connection.",
        Reason::NoRoute => "Check the address for mistakes.",
        Reason::Misdirected => "Check the host name.",
        Reason::WafMatch | Reason::WafScore => {
            "If the request was meant well, report it and quote the request id."
        }
        Reason::BodyMalformed => "Check that the body is complete and is what its content type says.",
        Reason::BodyTooLarge => "Send a smaller body.",
        Reason::BodyEncoding => "Send the body without Content-Encoding.",
        Reason::BodyCharset => "Send the body as UTF-8.",
        Reason::WafBudget => "Send less at once.",
        Reason::CredentialsMissing => "Log in, or send your credentials with the request.",
        Reason::SchemeUnknown => "Use a scheme that the WWW-Authenticate field lists.",
        Reason::CredentialsConflict => "Send exactly one credential.",
        Reason::TokenMalformed | Reason::TokenInvalid | Reason::KeyUnknown => {
            "Check that you use the credential that was issued for this service."
        }
        Reason::TokenExpired => "Log in again, or obtain a new token.",
        Reason::TokenRevoked | Reason::SubjectInvalid => "Log in again.",
        Reason::PasswordWrong => "Check user name and password.",
        Reason::RoleMissing => "Ask for the role that this needs.",
        Reason::ScopeMissing => "Obtain a token with the scope that this needs.",
        Reason::SubjectNotListed | Reason::NoMatchingGrant => "If you need this, ask for access.",
        Reason::GrantExpired => "If you still need this, ask for access anew.",
        Reason::KeysUnavailable
        | Reason::UpstreamConnect
        | Reason::UpstreamDns
        | Reason::UpstreamRefused
        | Reason::UpstreamConnectTimeout
        | Reason::UpstreamTls
        | Reason::UpstreamCertificate
        | Reason::UpstreamUnavailable
        | Reason::UpstreamOverloaded
        | Reason::UpstreamTimeout
        | Reason::UpstreamReset
        | Reason::UpstreamProtocol
        | Reason::Overloaded
        | Reason::LogUnavailable
        | Reason::InternalError => "Try again in a moment.",
        Reason::TokenNotYetValid
        | Reason::DeniedByRule
        | Reason::ConditionUnmet
        | Reason::ConditionError
        | Reason::GrantNotYetValid => return None,
    })
}

// === Needs ===

impl<'a> Needs<'a> {
    fn count(&self) -> usize {
        match self {
            Needs::Roles(_, roles) => roles.len(),
            Needs::Scopes(scopes) => scopes.len(),
        }
    }

    /// The names of what is needed.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let (table, roles, scopes) = match *self {
            Needs::Roles(table, roles) => (Some(table), roles, &[][..]),
            Needs::Scopes(scopes) => (None, &[][..], scopes),
        };
        let roles = roles.iter().filter_map(move |role| Some(table?.name(*role)));
        roles.chain(scopes.iter().map(|scope| &**scope))
    }

    /// The key of a grant that says it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Needs::Roles(..) => "roles",
            Needs::Scopes(_) => "scopes",
        }
    }

    /// `the role a`, `one of the roles a, b`, `the scopes a, b`.
    fn parts(&self, part: &mut impl FnMut(&str)) {
        part(match (self, self.count()) {
            (Needs::Roles(..), 1) => "the role ",
            (Needs::Roles(..), _) => "one of the roles ",
            (Needs::Scopes(_), 1) => "the scope ",
            (Needs::Scopes(_), _) => "the scopes ",
        });
        for (index, name) in self.names().enumerate() {
            part(if index == 0 { "" } else { ", " });
            part(name);
        }
    }
}

// === sentences ===

/// A sentence that is put together from parts, so that it can be written anywhere without a copy.
pub(super) trait Sentence {
    /// Hands over the parts in their order.
    fn parts(&self, part: &mut impl FnMut(&str));

    /// The whole.
    fn text(&self) -> String {
        let mut text = String::with_capacity(96);
        self.parts(&mut |part| text.push_str(part));
        text
    }
}

impl Sentence for Detail<'_> {
    fn parts(&self, part: &mut impl FnMut(&str)) {
        match self {
            Detail::Text(text) => part(text),
            Detail::Nearest(needs) => {
                part("No grant allows this; the nearest one needs ");
                needs.parts(part);
                part(".");
            }
        }
    }
}

impl Sentence for Hint<'_> {
    fn parts(&self, part: &mut impl FnMut(&str)) {
        match self {
            Hint::Text(text) => part(text),
            Hint::Need(needs) => {
                part(match needs {
                    Needs::Roles(..) => "Ask for ",
                    Needs::Scopes(_) => "Obtain a token with ",
                });
                needs.parts(part);
                part(".");
            }
            Hint::After(until) => part(&format!("Try again after {until:.0}.")),
        }
    }
}
