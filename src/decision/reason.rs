//! The closed set of reasons: one for each kind of cause, each with one status.
//!
//! `portcullis explain --reason CODE` prints an entry; the 403 body, the log and the metric carry
//! its code. The compiler is the checklist: a reason without an entry does not build.

/// What is known of a reason.
#[derive(Debug)]
pub struct ReasonInfo {
    /// The snake_case code in headers, bodies, logs.
    pub code: &'static str,
    /// The HTTP status of a refusal for this reason.
    pub status: u16,
    /// The status phrase that a client reads as the title.
    pub title: &'static str,
    /// Whether the same request may succeed later without anyone changing the policy.
    pub temporary: bool,
    /// One sentence for the client, true at every disclosure level that shows the reason.
    pub detail: &'static str,
    /// Likely causes, the likeliest first, for the operator.
    pub causes: &'static [&'static str],
    /// What to look at next.
    pub check: &'static str,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal $title:literal, $temporary:ident, $detail:literal,
        [$($cause:literal),+ $(,)?], $check:literal;)+) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason, in the order of the stages that give them.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The entry of this reason.
            pub const fn info(self) -> &'static ReasonInfo {
                match self {
                    $(Reason::$name => &ReasonInfo {
                        code: $code, status: $status, title: $title, temporary: reasons!(@ $temporary),
                        detail: $detail, causes: &[$($cause),+], check: $check,
                    },)+
                }
            }
        }
    };
    (@ temporary) => { true };
    (@ permanent) => { false };
}

reasons! {
    /// The request head is not HTTP.
    MalformedRequest = "malformed_request", 400 "Bad Request", permanent,
        "The request is not well-formed HTTP.",
        ["a client or a proxy in front writes invalid HTTP", "TLS or another protocol spoken to a plain HTTP port",
         "a body that broke off, or paused for longer than `timeouts.body_idle`"],
        "look at the bytes the client sends, for example with `curl -v --trace -`";
    /// The request head exceeds the size limit.
    HeadTooLarge = "head_too_large", 431 "Request Header Fields Too Large", permanent,
        "The request head is larger than this gateway accepts.",
        ["cookies that have grown", "a token with very many claims"],
        "compare the size of the head with `[limits] head`";
    /// The request target exceeds the size limit.
    TargetTooLong = "target_too_long", 414 "URI Too Long", permanent,
        "The request target is longer than this gateway accepts.",
        ["a form sent as a query", "a redirect that nests its own target"],
        "compare the length of the target with `[limits] target`";
    /// The request has too many header fields.
    TooManyFields = "too_many_fields", 431 "Request Header Fields Too Large", permanent,
        "The request has more header fields than this gateway accepts.",
        ["a proxy in front adds a field for every hop", "a client repeats fields"],
        "compare the number of fields with `[limits] fields`";
    /// The request target can be read in more than one way.
    BadTarget = "bad_target", 400 "Bad Request", permanent,
        "The request target is ambiguous or invalid.",
        ["an identifier with a slash, backslash or semicolon that the client does not encode as this route expects",
         "a scanner looking for path confusion"],
        "the rule says what was found; a route that needs it lists it under `accept`";
    /// The host is missing, doubled or contradictory.
    BadAuthority = "bad_authority", 400 "Bad Request", permanent,
        "The request does not name exactly one host.",
        ["a client that sends no Host", "a proxy in front that rewrites the host in one place and not in the other"],
        "compare the request line with the Host field";
    /// The length of the body is given in a way two readers could understand differently.
    BadFraming = "bad_framing", 400 "Bad Request", permanent,
        "The length of the request body is ambiguous.",
        ["an old client or proxy that sends both Content-Length and Transfer-Encoding", "an attempt at request smuggling"],
        "look at Content-Length and Transfer-Encoding as the client sends them";
    /// A header field is doubled or its name could be mistaken for another's.
    BadHeader = "bad_header", 400 "Bad Request", permanent,
        "A header field is repeated or its name is not acceptable.",
        ["a field name with an underscore", "Authorization, Content-Type or another single field sent twice"],
        "the rule says which; a route that needs underscores lists `underscore-headers` under `accept`";
    /// The forwarding header of a trusted proxy cannot be read.
    BadForwarded = "bad_forwarded", 400 "Bad Request", permanent,
        "The forwarding information of the proxy in front cannot be read.",
        ["a trusted proxy passes on what its client sent", "the wrong `client_address` is configured",
         "a proxy that `proxy_protocol` lists does not speak it, or does not say whose connection it is"],
        "look at the header named by `[server] client_address` as the proxy in front sends it";
    /// The method is never passed.
    MethodRefused = "method_refused", 405 "Method Not Allowed", permanent,
        "This method is not accepted here.",
        ["TRACE or CONNECT, which are refused unless a route allows them", "a method in lower case"],
        "use a method that the service answers";
    /// An expectation other than 100-continue.
    ExpectationFailed = "expectation_failed", 417 "Expectation Failed", permanent,
        "The only expectation this gateway meets is 100-continue.",
        ["a client or test tool that sends an unusual Expect field"],
        "remove the Expect field";
    /// No allow rule contains the address.
    IpNotAllowed = "ip_not_allowed", 403 "Forbidden", permanent,
        "This address is not on the list of addresses that may come here.",
        ["the client is outside the office or VPN network", "the client's address changed",
         "a proxy in front is not listed under `trusted_proxies`, so its own address is judged"],
        "compare `client` in the decision log with the networks of the rule";
    /// A deny rule contains the address.
    IpDenied = "ip_denied", 403 "Forbidden", permanent,
        "This address is on a list of addresses that may not come here.",
        ["the address was listed for abuse", "an address shared by many (NAT, VPN exit) was listed"],
        "look the address up in the networks of the rule";
    /// An operator has banned the address for a time.
    IpBanned = "ip_banned", 403 "Forbidden", temporary,
        "This address is banned for a while.",
        ["an operator banned it, or something that watches the log did", "an address shared by many (NAT, VPN exit) was banned"],
        "`portcullis ban --list` says since when, until when, by whom and why; `portcullis unban` ends it";
    /// No route serves this path.
    NoRoute = "no_route", 404 "Not Found", permanent,
        "Nothing is served here.",
        ["a mistyped path", "a route that was removed or narrowed"],
        "compare host and path with the `[[route]]` tables";
    /// No route serves this host.
    Misdirected = "misdirected", 421 "Misdirected Request", permanent,
        "This host is not served here.",
        ["DNS points a name here that no route names", "a client reuses a connection for another host"],
        "compare the Host field with the `host` of the routes";
    /// A WAF rule with `action = "deny"` matched.
    WafMatch = "waf_match", 403 "Forbidden", permanent,
        "Something in the request looks like an attack.",
        ["an attack", "a legitimate value that looks like one: see the target in the decision log"],
        "find the match in the decision log; exclude the rule for that target with `[[waf.exclude]]` if it is benign";
    /// The WAF's score reached the threshold.
    WafScore = "waf_score", 403 "Forbidden", permanent,
        "Something in the request looks like an attack.",
        ["an attack", "several weak signs in a legitimate request: see the list in the decision log"],
        "find the matches in the decision log; exclude the ones that are benign for their targets";
    /// The body is not what its content type claims.
    BodyMalformed = "body_malformed", 400 "Bad Request", permanent,
        "The request body is not what its content type says.",
        ["a client sends JSON under a form's content type or the other way round", "a body cut short"],
        "check the content type and the body of the request";
    /// The body exceeds the size that is inspected or passed.
    BodyTooLarge = "body_too_large", 413 "Content Too Large", permanent,
        "The request body is larger than this gateway accepts here.",
        ["an upload on a route whose bodies are inspected"],
        "compare the size with `[waf.body] limit` and the route's `body_limit`; a route for uploads says `waf_body = \"off\"`";
    /// The body is compressed or otherwise encoded.
    BodyEncoding = "body_encoding", 415 "Unsupported Media Type", permanent,
        "Encoded request bodies are not accepted here.",
        ["a client that compresses what it sends"],
        "send the body without Content-Encoding, or set `waf_body = \"off\"` on the route";
    /// The body is in a character set that is not inspected.
    BodyCharset = "body_charset", 415 "Unsupported Media Type", permanent,
        "The character set of the request body is not accepted here.",
        ["a client that sends neither UTF-8 nor Latin-1", "an attempt to hide an attack in a rare encoding"],
        "send the body as UTF-8";
    /// Judging the request would take more work than a request may cost.
    WafBudget = "waf_budget", 403 "Forbidden", permanent,
        "The request is too costly to inspect.",
        ["an input made to slow the inspection down", "a very large or deeply nested body"],
        "look at the size and shape of the body; raise `[waf] budget` only if it is legitimate";
    /// Someone is demanded, and nobody was shown.
    CredentialsMissing = "credentials_missing", 401 "Unauthorized", permanent,
        "The request carries no credentials.",
        ["the client is not logged in", "a proxy or redirect dropped the Authorization field", "the token is sent in another place than this route reads"],
        "check that the Authorization field, or the API key field, reaches this gateway";
    /// A scheme that no source of this route reads.
    SchemeUnknown = "scheme_unknown", 401 "Unauthorized", permanent,
        "The authentication scheme is not one that is read here.",
        ["a token without the word Bearer before it", "Basic credentials on a route that takes tokens"],
        "compare the scheme in the Authorization field with the challenges of the answer";
    /// More than one credential.
    CredentialsConflict = "credentials_conflict", 401 "Unauthorized", permanent,
        "The request carries more than one credential.",
        ["an API key and a token sent together", "a proxy in front that adds a second Authorization field"],
        "send exactly one credential";
    /// The credential cannot be parsed.
    TokenMalformed = "token_malformed", 401 "Unauthorized", permanent,
        "The credential cannot be read.",
        ["a truncated or doubly encoded token", "a placeholder or an empty variable sent as a token"],
        "decode the token and check that it has three parts";
    /// The token is past its end.
    TokenExpired = "token_expired", 401 "Unauthorized", permanent,
        "The token has expired.",
        ["the session ended and the client did not renew it", "the client's or this machine's clock is wrong"],
        "obtain a new token; compare its `exp` with the time";
    /// The token's time has not come.
    TokenNotYetValid = "token_not_yet_valid", 401 "Unauthorized", temporary,
        "The token is not valid yet.",
        ["the clock of the issuer is ahead of ours"],
        "compare the token's `nbf` with the time";
    /// The token's signature, issuer, audience or another claim is wrong.
    TokenInvalid = "token_invalid", 401 "Unauthorized", permanent,
        "The token is not valid here.",
        ["a token for another service or environment", "the signing key was rotated and this gateway does not have the new one", "a forged token"],
        "the rule says what is wrong: signature, issuer, audience or a claim";
    /// The credential was revoked.
    TokenRevoked = "token_revoked", 401 "Unauthorized", permanent,
        "The credential has been revoked.",
        ["the user logged out everywhere, left, or was locked", "a leaked credential was withdrawn"],
        "look the subject or token id up in the file named by `[authn] revoked`";
    /// No key source knows this key.
    KeyUnknown = "key_unknown", 401 "Unauthorized", permanent,
        "The key is not known here.",
        ["a mistyped or withdrawn API key", "a token signed by a key that is not in the key set"],
        "compare the key id of the token with the key set, or hash the API key with `portcullis hash-key`";
    /// User and password do not match.
    PasswordWrong = "password_wrong", 401 "Unauthorized", permanent,
        "User name or password is wrong.",
        ["a mistyped password", "a user that does not exist here"],
        "try the credentials anew; compare the user with `[[authn.basic]]`";
    /// The subject cannot be passed on.
    SubjectInvalid = "subject_invalid", 401 "Unauthorized", permanent,
        "The subject of the credential is not acceptable.",
        ["a subject with control characters or line breaks", "a subject that is empty or far too long"],
        "look at the `sub` claim of the token";
    /// The keys to verify with cannot be had.
    KeysUnavailable = "keys_unavailable", 503 "Service Unavailable", temporary,
        "Credentials cannot be verified at the moment.",
        ["the key set's URL is unreachable or answers something else", "the key set has not been fetched yet"],
        "look at the log and at `portcullis_jwks_age_seconds`; fetch the URL by hand";
    /// The single nearest grant needs a role that the caller lacks.
    RoleMissing = "role_missing", 403 "Forbidden", permanent,
        "A role is missing.",
        ["the role was never granted, or was removed", "the token was issued before the role was granted: log in again",
         "the token's source may not bring that role (`roles_allowed`)"],
        "compare the roles in the decision log with those the nearest grant needs";
    /// The single nearest grant needs a scope that the token lacks.
    ScopeMissing = "scope_missing", 403 "Forbidden", permanent,
        "A scope is missing.",
        ["the client did not ask for the scope when it obtained the token"],
        "compare the scopes of the token with those the nearest grant needs";
    /// The single nearest grant names other subjects.
    SubjectNotListed = "subject_not_listed", 403 "Forbidden", permanent,
        "This subject is not among those who may do this.",
        ["the grant lists its subjects by name and this one is not there"],
        "compare the subject in the decision log with the grant";
    /// An explicit deny.
    DeniedByRule = "denied_by_rule", 403 "Forbidden", permanent,
        "A rule forbids this.",
        ["the rule says so on purpose: read its reason", "the rule covers more than it was meant to"],
        "read the rule; `portcullis explain` shows what it matched";
    /// The condition of the single nearest grant is unmet.
    ConditionUnmet = "condition_unmet", 403 "Forbidden", permanent,
        "A condition of the rule that would allow this is not met.",
        ["the resource belongs to someone else", "the request lacks the header or parameter that the rule looks at"],
        "`portcullis explain` shows the condition with the values it saw";
    /// A deny's condition could not be evaluated, so it counts as met.
    ConditionError = "condition_error", 403 "Forbidden", permanent,
        "A value that a rule must look at is missing or of the wrong kind.",
        ["a claim that the token lacks, or a header or parameter that the request lacks", "a header sent twice", "a value of another type than the condition compares it with"],
        "`portcullis explain` shows the condition with the values it saw";
    /// No grant is near enough to say more.
    NoMatchingGrant = "no_matching_grant", 403 "Forbidden", permanent,
        "No rule allows this.",
        ["no grant is about this path and method", "the grants that are about it each lack something else, or several things",
         "they are for somebody, and nobody can be identified here"],
        "`portcullis explain` lists the nearest grants and what each lacks";
    /// The single nearest grant is past its end.
    GrantExpired = "grant_expired", 403 "Forbidden", permanent,
        "The permission that allowed this has ended.",
        ["a grant with an `until` that has passed"],
        "extend or replace the grant";
    /// The single nearest grant's time has not come.
    GrantNotYetValid = "grant_not_yet_valid", 403 "Forbidden", temporary,
        "The permission that allows this has not begun.",
        ["a grant with a `from` in the future"],
        "wait, or change the grant";
    /// The upstream cannot be connected to.
    UpstreamConnect = "upstream_connect", 502 "Bad Gateway", temporary,
        "The service behind this gateway cannot be reached.",
        ["the service is down or restarting", "its address or port changed"],
        "connect to the upstream's address by hand";
    /// The upstream's name has no address.
    UpstreamDns = "upstream_dns", 502 "Bad Gateway", temporary,
        "The name of the service behind this gateway cannot be resolved.",
        ["the name is misspelt or no longer exists", "the resolver of this machine does not answer"],
        "look the name up on this machine: `getent hosts NAME`";
    /// The upstream refuses connections.
    UpstreamRefused = "upstream_refused", 502 "Bad Gateway", temporary,
        "The service behind this gateway refuses connections.",
        ["the service is down or restarting", "its port or socket path changed"],
        "connect to the upstream's address by hand";
    /// The upstream takes no connection in time.
    UpstreamConnectTimeout = "upstream_connect_timeout", 504 "Gateway Timeout", temporary,
        "The service behind this gateway took too long to accept a connection.",
        ["a firewall drops the packets", "the service's host is down", "the service is overloaded"],
        "connect to the upstream's address by hand, and compare the time with `timeouts.connect`";
    /// No TLS with the upstream.
    UpstreamTls = "upstream_tls", 502 "Bad Gateway", temporary,
        "The service behind this gateway could not be spoken to in TLS.",
        ["the upstream's port does not speak TLS", "it demands a client certificate that it does not get",
         "no common version"],
        "try `openssl s_client -connect HOST:PORT`";
    /// The upstream's certificate is not believed.
    UpstreamCertificate = "upstream_certificate", 502 "Bad Gateway", temporary,
        "The service behind this gateway did not prove who it is.",
        ["its certificate has expired", "it is for another name: see `tls.sni`",
         "its authority is not in `tls.ca`, or not one of the system's"],
        "try `openssl s_client -connect HOST:PORT -verify_return_error`";
    /// Every server of the upstream is unwell.
    UpstreamUnavailable = "upstream_unavailable", 503 "Service Unavailable", temporary,
        "No server of the service behind this gateway is well.",
        ["the health checks of all its servers fail", "all its servers are down or restarting"],
        "look at `upstreams` in `portcullis status`";
    /// The upstream has no room for the request.
    UpstreamOverloaded = "upstream_overloaded", 503 "Service Unavailable", temporary,
        "The service behind this gateway has no room for more requests.",
        ["more requests than the upstream's `max_requests` or `max_connections`", "the service is slow"],
        "compare the upstream's limits with how long it takes to answer";
    /// The upstream does not answer in time.
    UpstreamTimeout = "upstream_timeout", 504 "Gateway Timeout", temporary,
        "The service behind this gateway did not answer in time.",
        ["the service is overloaded", "a slow query"],
        "compare the service's latency with `[timeouts]`";
    /// The upstream cut the connection.
    UpstreamReset = "upstream_reset", 502 "Bad Gateway", temporary,
        "The service behind this gateway cut the connection.",
        ["the service crashed or restarted while answering"],
        "look at the service's own log at this time";
    /// The upstream's answer is not HTTP.
    UpstreamProtocol = "upstream_protocol", 502 "Bad Gateway", temporary,
        "The service behind this gateway answered something that is not valid HTTP.",
        ["another protocol listens on the upstream's port", "a broken response head"],
        "ask the upstream directly and look at the bytes";
    /// This gateway has no room for the request.
    Overloaded = "overloaded", 503 "Service Unavailable", temporary,
        "This gateway is at its limit.",
        ["more connections or requests than the limits allow", "an upstream that holds its requests"],
        "compare `portcullis_connections` with `[limits]`";
    /// The decision cannot be recorded.
    LogUnavailable = "log_unavailable", 503 "Service Unavailable", temporary,
        "The decision could not be recorded, so the request was not passed.",
        ["the disk that holds the decision log is full", "the program that reads the log from a pipe has stopped"],
        "look at `portcullis_log_lost_total` and at the log's file system";
    /// A defect of this gateway.
    InternalError = "internal_error", 503 "Service Unavailable", temporary,
        "This gateway failed while judging the request.",
        ["a defect in portcullis"],
        "look at the process's own log and report it";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.info().code)
    }
}

impl std::str::FromStr for Reason {
    type Err = ();

    fn from_str(code: &str) -> Result<Self, ()> {
        Reason::ALL.iter().copied().find(|reason| reason.info().code == code).ok_or(())
    }
}
