//! The kinds of problems that policy text can have: errors and lints, each with a page.

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Suspicious; the configuration is used.
    Warning,
    /// Dangerous: `run` does not start with it, `check` fails.
    Deny,
    /// Wrong: the configuration is not used.
    Error,
}

/// An entry of the table of codes.
#[derive(Debug)]
pub struct CodeInfo {
    /// The code as printed, kebab-case.
    pub name: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What it means and what to do: `portcullis explain --lint CODE`.
    pub page: &'static str,
}

impl Severity {
    /// The word people read.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Deny => "deny",
            Severity::Error => "error",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal $severity:ident, $page:literal;)+) => {
        /// A kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $page] $name,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// Its entry.
            pub const fn info(self) -> &'static CodeInfo {
                match self {
                    $(Code::$name => &CodeInfo { name: $code, severity: Severity::$severity, page: $page },)+
                }
            }
        }
    };
}

codes! {
    File = "file" Error, "A file that the configuration needs cannot be read. The message says which and why: it is absent, a directory, not readable for this user, too large, or not UTF-8.";
    Syntax = "syntax" Error, "The text is not TOML. The caret stands where the parser could not go on; the cause is often a little before it, such as a missing quote or bracket.";
    Include = "include" Error, "An `include` matches no file, includes a file twice, or an included file has tables that may only stand in the main file.";
    UnknownKey = "unknown-key" Error, "A key that portcullis does not know. A misspelt rule must not become an absent rule, so unknown keys are errors. The help names the nearest key that exists.";
    MissingKey = "missing-key" Error, "A table lacks a key that it must have.";
    WrongType = "wrong-type" Error, "A value has another type than its key takes, such as a number where a string stands.";
    BadValue = "bad-value" Error, "A value of the right type that cannot be used: an address that is none, a duration without unit, a pattern that does not parse. The message says what is wrong and what may stand there.";
    UnknownName = "unknown-name" Error, "A role, network, route, upstream or rule is referred to that is defined nowhere. The help names the nearest one that is.";
    DuplicateId = "duplicate-id" Error, "Two rules of one stage, or two routes, roles, networks or sources, have the same id. A decision could not be told from the other's.";
    ReservedId = "reserved-id" Error, "The id or name belongs to a built-in rule or role (`portcullis explain --rules builtin`).";
    Cycle = "cycle" Error, "Roles inherit from each other in a circle, or networks contain each other.";
    Conflict = "conflict" Error, "Two keys or tables exclude each other, or one needs another that is absent.";
    AmbiguousRoute = "ambiguous-route" Error, "Two routes are equally specific and match the same requests, so the order of files would decide. Make one of them more specific.";
    ShadowWithoutEnd = "shadow-without-end" Error, "A stage or route is in shadow without `shadow_until`. A whole stage in shadow protects nothing, so it must say when it ends; after that time it enforces.";
    Limit = "limit" Error, "A limit of portcullis itself is exceeded, for example the size of a file or of a compiled pattern.";
    UnusedName = "unused-name" Warning, "A role, network, upstream or source is defined and used nowhere. It is harmless, but often a sign of a typing error elsewhere.";
    ShadowRuleWithoutEnd = "shadow-rule-without-end" Warning, "A rule is in shadow without `shadow_until`, so it may be forgotten there. Say until when it is to be watched.";
    ShadowEnded = "shadow-ended" Warning, "The `shadow_until` of a rule, stage or route has passed: it enforces now, whatever `mode` says. Remove both keys, or give it a new end.";
    NeverValid = "never-valid" Warning, "The validity window of a rule has ended, or ends before it begins, or its `when` asks for a time that is over: the rule does nothing.";
    ExpiredCertificate = "expired-certificate" Warning, "The certificate of a listener has ended: every client that looks at it will refuse the connection.";
    TrustsTheWorld = "trusts-the-world" Deny, "`trusted_proxies`, or `proxy_protocol.from` of a listener, contains the whole address space. Every client could then choose its own address by sending the forwarding header.";
    DemoKey = "demo-key" Deny, "A key that ships with portcullis for demonstrations is configured on a listener that others can reach. Everybody knows it. Make your own with `portcullis hash-key`.";
    UpstreamIsAdmin = "upstream-is-admin" Deny, "An upstream's address is the admin listener's. Whoever may use that route could read and change this gateway.";
    UpstreamIsSelf = "upstream-is-self" Deny, "An upstream's address is one of our own listeners: requests would go round in a circle until a limit stops them.";
    NotInspected = "not-inspected" Warning, "A route is exempt from body inspection (`waf_body = \"off\"`, or an upgrade) while body rules exist. This is sometimes right, for uploads and WebSockets; it is listed so that nobody is surprised.";
    NothingGranted = "nothing-granted" Warning, "There is no `[[rbac.grant]]` at all, so every request is refused by `rbac/default-deny`.";
    WeakSecret = "weak-secret" Warning, "An HMAC secret is shorter than the hash it is used with (RFC 7518 section 3.2), so it can be guessed.";
    RolesNotAllowed = "roles-not-allowed" Warning, "A JWT source reads roles and may bring none: there are several issuers, and this one has no `roles_allowed`. Otherwise each issuer could hand out the roles that were meant for another's tokens.";
    ClaimPrefix = "claim-prefix" Warning, "The path of a claim in `[[authn.jwt]]` begins with `claims.`, as in a `when`. It begins inside the claims there, so a claim that is called `claims` is looked for.";
    KeySkipped = "key-skipped" Warning, "A key of a key set cannot be used and is left out: it is for encryption, of an unknown kind, too weak, or broken. Tokens signed with it are refused as `authn/key-unknown`.";
    ShadowedRule = "shadowed-rule" Warning, "A rule never decides anything, because rules before it decide every request that it is about. The message says which.";
    NobodyPasses = "nobody-passes" Warning, "An `allow` rule lets nobody through: another `allow` rule is about all of its requests and has none of its addresses, and every rule must let an address through.";
    NeverMatches = "never-matches" Warning, "A rule never matches: it is about requests that no route serves, or that the routes it names do not serve; it looks at bodies that are not read; its condition asks for text that its transformations never leave; or its `when` contradicts itself.";
    RedundantGrant = "redundant-grant" Warning, "A grant allows nothing that other grants do not allow. The message says which they are.";
    OverbroadDeny = "overbroad-deny" Warning, "A deny forbids all that a grant allows, to everybody whom the grant allows it. A deny beats every grant, so the grant gives nothing.";
    AllowAll = "allow-all" Warning, "A grant allows everything to everybody: `roles = [\"anyone\"]` without path, method, host, route or condition.";
    GrantExpiresSoon = "grant-expires-soon" Warning, "A grant ends within two weeks, or within `[lint] expires_within`.";
    RoleWithoutSource = "role-without-source" Warning, "Rules name a role that no source of `[authn]` can bring, nor any role that inherits it. What is granted to it is granted to nobody.";
    UnknownClaim = "unknown-claim" Warning, "A condition looks at a claim that no source of `[authn]` can bring. In a grant such a condition is never met, in a deny always.";
    LookalikePath = "lookalike-path" Warning, "A path that is open to everybody and one that is protected are the same but for upper and lower case, or a slash at the end.";
    ShadowedRoute = "shadowed-route" Warning, "A route serves nothing, because more specific routes together take every request that it would serve. The message says which.";
    UnreachedRoute = "unreached-route" Warning, "No grant is about any request of a route, so every request to it is refused.";
    MatchesEverything = "matches-everything" Warning, "The expression of a WAF rule matches every text that is not empty, or with `not` none.";
    UselessExclusion = "useless-exclusion" Warning, "An exclusion keeps nothing from a rule: the rule does not run, looks at none of these texts, or is about other requests.";
    UnusedAllow = "unused-allow" Warning, "A `[[lint.allow]]` allows a finding that is not there, or no longer.";
    PlainHttpKeys = "plain-http-keys" Warning, "A key set is fetched over plain HTTP from another machine. Whoever can answer in its place can sign tokens that this gateway believes.";
    Seclang = "seclang" Error, "A line of a SecLang program (`waf.seclang`) that is wrong, or that this version cannot run as it is meant. A rule that did less than it says would be worse than none, so the program is not used.";
    SeclangIgnored = "seclang-ignored" Warning, "A line of a SecLang program (`waf.seclang`) that has no effect here: a setting of another engine, whose place in this one the message names. Of several such lines the first is told.";
}

impl std::str::FromStr for Code {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Code::ALL.iter().copied().find(|code| code.info().name == name).ok_or(())
    }
}
