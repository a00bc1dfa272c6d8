//! The rules nobody wrote. Each has a name, so that every refusal has one.
//!
//! The one table behind `explain --rules builtin`, the README's list and the reserved ids.

use super::{Reason, Stage};

/// What a built-in rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It refuses.
    Refusal,
    /// It names the absence of any rule that spoke.
    Pass,
    /// The gateway answers by itself; nothing is refused, and nothing reaches an upstream.
    Answer,
    /// The world broke.
    Fault,
}

/// An entry of the table.
#[derive(Debug)]
pub struct BuiltinInfo {
    /// The prefix of the rule id.
    pub stage: Stage,
    /// The id behind the prefix.
    pub id: &'static str,
    /// Prefix and id: `rbac/default-deny`.
    pub name: &'static str,
    /// The reason it gives (for a pass: what a refusal in its place would give).
    pub reason: Reason,
    /// What it is for.
    pub kind: Kind,
    /// What was found, one sentence for people.
    pub text: &'static str,
}

macro_rules! builtins {
    ($($stage:ident $prefix:literal { $($name:ident = $id:literal $kind:ident $reason:ident, $text:literal;)+ })+) => {
        /// A rule nobody wrote.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Builtin { $($(#[doc = $text] $name,)+)+ }

        impl Builtin {
            /// Every built-in rule, by stage.
            pub const ALL: &'static [Builtin] = &[$($(Builtin::$name,)+)+];

            /// The entry of this rule.
            pub const fn info(self) -> &'static BuiltinInfo {
                match self {
                    $($(Builtin::$name => &BuiltinInfo {
                        stage: Stage::$stage,
                        id: $id,
                        name: concat!($prefix, "/", $id),
                        reason: Reason::$reason,
                        kind: Kind::$kind,
                        text: $text,
                    },)+)+
                }
            }
        }
    };
}

builtins! {
    Intake "intake" {
        Malformed = "malformed" Refusal MalformedRequest, "The request is not valid HTTP, or its body broke off or came too slowly.";
        HeadTooLarge = "head-too-large" Refusal HeadTooLarge, "The request head exceeds `limits.head`.";
        TargetTooLong = "target-too-long" Refusal TargetTooLong, "The request target exceeds `limits.target`.";
        TooManyFields = "too-many-fields" Refusal TooManyFields, "The request has more fields than `limits.fields`.";
        BadTarget = "bad-target" Refusal BadTarget, "The request target has control bytes, no leading slash, or was altered while parsing.";
        EncodedSlash = "encoded-slash" Refusal BadTarget, "The path has an encoded slash (`%2F`).";
        Backslash = "backslash" Refusal BadTarget, "The path has a backslash, plain or encoded.";
        Nul = "nul" Refusal BadTarget, "The path has a NUL byte.";
        PathParameters = "path-parameters" Refusal BadTarget, "The path has `;` parameters.";
        BadPercent = "bad-percent" Refusal BadTarget, "The path has a `%` that is not followed by two hexadecimal digits.";
        BadUtf8 = "bad-utf8" Refusal BadTarget, "The path is not UTF-8 once decoded.";
        Fragment = "fragment" Refusal BadTarget, "The request target has a fragment (`#`).";
        AuthorityMissing = "authority-missing" Refusal BadAuthority, "The request names no host.";
        AuthorityConflict = "authority-conflict" Refusal BadAuthority, "The request names more than one host, or an invalid one.";
        FramingConflict = "framing-conflict" Refusal BadFraming, "Content-Length and Transfer-Encoding are doubled, odd, or both present.";
        HeaderName = "header-name" Refusal BadHeader, "A header name has an underscore, or folds to one that the gateway sets.";
        HeaderDuplicate = "header-duplicate" Refusal BadHeader, "A field that may stand once is repeated.";
        ForwardedMalformed = "forwarded-malformed" Refusal BadForwarded, "The forwarding header of a trusted proxy cannot be read, or a proxy sent no usable PROXY protocol header.";
        MethodRefused = "method-refused" Refusal MethodRefused, "The method is unknown, or one that is never passed here.";
        Expect = "expect" Refusal ExpectationFailed, "The Expect field asks for something other than `100-continue`.";
        Intelligible = "clean" Pass MalformedRequest, "The request is intelligible, unambiguous and within size.";
    }
    Ip "ip" {
        Banned = "banned" Refusal IpBanned, "The address is banned for a time, by an operator.";
        NoIpRule = "no-rule" Pass IpDenied, "No address rule concerns this request.";
    }
    Route "route" {
        NoRoute = "none" Refusal NoRoute, "No route serves this path.";
        RouteAuthority = "authority" Refusal Misdirected, "No route serves this host, or the TLS connection was made for another.";
        Preflight = "preflight" Answer NoRoute, "A page of a listed origin asks what it may do here (CORS); answered with 204.";
        Redirect = "redirect" Answer NoRoute, "The route is served over TLS only; answered with a 308 to it.";
        Routed = "matched" Pass NoRoute, "A route serves this.";
    }
    Waf "waf" {
        WafClean = "clean" Pass WafMatch, "No WAF rule refused.";
        BodyMalformed = "body-malformed" Refusal BodyMalformed, "The body is not what its content type says.";
        BodyTooLarge = "body-too-large" Refusal BodyTooLarge, "The body exceeds the size that is inspected or passed.";
        BodyEncoding = "body-encoding" Refusal BodyEncoding, "The body has a Content-Encoding and could not be inspected.";
        BodyCharset = "body-charset" Refusal BodyCharset, "The body is in a character set that is not inspected.";
        WafBudget = "budget" Refusal WafBudget, "Inspecting the request would exceed `waf.budget`.";
    }
    Authn "authn" {
        Anonymous = "anonymous" Pass CredentialsMissing, "Nobody was shown, and nobody is demanded here.";
        Identified = "identified" Pass CredentialsMissing, "A valid credential was shown.";
        AuthnRequired = "required" Refusal CredentialsMissing, "This route demands a credential, or this listener a client certificate.";
        UnknownScheme = "unknown-scheme" Refusal SchemeUnknown, "No source of this route reads this Authorization scheme.";
        CredentialConflict = "conflict" Refusal CredentialsConflict, "More than one credential was shown.";
        CredentialMalformed = "malformed" Refusal TokenMalformed, "The credential cannot be parsed.";
        Expired = "expired" Refusal TokenExpired, "The token is past its `exp`, or the client certificate has run out.";
        NotYetValid = "not-yet-valid" Refusal TokenNotYetValid, "The token is before its `nbf`, or the client certificate is not valid yet.";
        Signature = "signature" Refusal TokenInvalid, "The signature of a token or certificate does not verify, or its algorithm is not accepted.";
        Issuer = "issuer" Refusal TokenInvalid, "The token's `iss` is not the source's issuer, or no authority of the listener issued the certificate.";
        Audience = "audience" Refusal TokenInvalid, "The token's `aud` is not one of the source's audiences.";
        ClaimMissing = "claim-missing" Refusal TokenInvalid, "A required claim is absent.";
        ClaimType = "claim-type" Refusal TokenInvalid, "A claim is of the wrong type.";
        CriticalHeader = "critical-header" Refusal TokenInvalid, "The token's `crit` names an extension that is not understood (RFC 7515 section 4.1.11).";
        Revoked = "revoked" Refusal TokenRevoked, "The credential is in the list of revoked ones.";
        KeyUnknown = "key-unknown" Refusal KeyUnknown, "No source has this key.";
        Password = "password" Refusal PasswordWrong, "User name or password is wrong.";
        SubjectInvalid = "subject-invalid" Refusal SubjectInvalid, "The subject cannot be written into a header field, or a certificate names more than one.";
        KeysUnavailable = "keys-unavailable" Refusal KeysUnavailable, "The keys of the source could not be obtained, or no valid revocation list covers the certificate.";
    }
    Rbac "rbac" {
        DefaultDeny = "default-deny" Refusal NoMatchingGrant, "No grant allows this.";
    }
    Fault "fault" {
        FaultConnect = "upstream-connect" Fault UpstreamConnect, "The upstream cannot be connected to.";
        FaultTimeout = "upstream-timeout" Fault UpstreamTimeout, "The upstream did not answer in time.";
        FaultReset = "upstream-reset" Fault UpstreamReset, "The upstream cut the connection.";
        FaultProtocol = "upstream-protocol" Fault UpstreamProtocol, "The upstream's answer is not valid HTTP.";
        FaultOverload = "overload" Fault Overloaded, "A limit of this gateway is reached.";
        FaultLog = "log" Fault LogUnavailable, "The decision could not be recorded.";
        FaultInternal = "internal" Fault InternalError, "Judging the request failed.";
    }
}

impl Builtin {
    /// The status of the answer that the gateway gives by itself.
    pub const fn own_status(self) -> Option<u16> {
        match self {
            Builtin::Preflight => Some(204),
            Builtin::Redirect => Some(308),
            _ => None,
        }
    }

    /// The built-in rule with this full name, if any. Such ids are reserved.
    pub fn by_name(name: &str) -> Option<Builtin> {
        Builtin::ALL.iter().copied().find(|builtin| builtin.info().name == name)
    }
}
