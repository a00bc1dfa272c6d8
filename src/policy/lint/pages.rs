//! The second half of a lint's page: why it matters, an example that it fires on, and how to mend it.
//! (The first half, what it is, stands in the table of codes.)
//!
//! Each example is checked by a test: put behind a configuration with the upstream `app` and the route
//! `app` for everything, it makes `check` report the lint.

use crate::policy::code::Code;

/// What a person wants to know who meets a lint.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Why it matters.
    pub why: &'static str,
    /// Lines of a configuration that it is reported for.
    pub example: &'static str,
    /// What to do.
    pub mend: &'static str,
}

/// The page of a lint; errors explain themselves where they are reported.
pub fn page(code: Code) -> Option<&'static Page> {
    PAGES.iter().find(|(of, _)| *of == code).map(|(_, page)| page)
}

const PAGES: &[(Code, Page)] = &[
    (
        Code::UnusedName,
        Page {
            why: "Whoever reads the policy believes that the name does something. Often the place that should refer to it refers to another by mistake.",
            example: "[network]\noffice = [\"192.0.2.0/24\"]     # no rule says \"office\"\n",
            mend: "Refer to it where it was meant to count, or remove it.",
        },
    ),
    (
        Code::ShadowRuleWithoutEnd,
        Page {
            why: "A rule in shadow refuses nobody. Without an end it may stay so for years, while everybody believes that it protects.",
            example: "[[rbac.deny]]\nid = \"no-deletes\"\nmethods = [\"DELETE\"]\nmode = \"shadow\"\n",
            mend: "Add `shadow_until`, look at what the rule would have refused until then (`shadow` in the decision log), and let it enforce.",
        },
    ),
    (
        Code::ShadowEnded,
        Page {
            why: "The rule refuses requests although its `mode` reads as if it did not. Whoever looks for the cause of a refusal is misled.",
            example: "[[rbac.deny]]\nid = \"no-deletes\"\nmethods = [\"DELETE\"]\nmode = \"shadow\"\nshadow_until = 2020-01-01T00:00:00Z\n",
            mend: "Remove `mode` and `shadow_until` so that the text says what happens, or give it a later end.",
        },
    ),
    (
        Code::NeverValid,
        Page {
            why: "What the rule was there for no longer holds: a grant that has ended gives nothing, a deny that has ended protects nothing.",
            example: "[[rbac.grant]]\nid = \"for-the-audit\"\nroles = [\"anyone\"]\npath = \"/audit/{*rest}\"\nuntil = 2020-01-01T00:00:00Z\n",
            mend: "Remove the rule, or correct `from` and `until`.",
        },
    ),
    (
        Code::ExpiredCertificate,
        Page {
            why: "Clients verify the certificate and give up. Nothing of this gateway's rules is ever asked.",
            example: "[[listener]]\naddress = \"127.0.0.1:8443\"\ntls = { certificates = [{ cert = \"ended.pem\", key = \"ended.key\" }] }\n",
            mend: "Put a new certificate and key in the place of both files; a running gateway takes them over by itself.",
        },
    ),
    (
        Code::TrustsTheWorld,
        Page {
            why: "Address rules, bans and the log are then about an address that the client made up.",
            example: "[server]\nlisten = [\"127.0.0.1:8080\"]\ntrusted_proxies = [\"0.0.0.0/0\"]\n",
            mend: "List the addresses of the proxies in front of this gateway, and nothing else. Without proxies leave the key out.",
        },
    ),
    (
        Code::DemoKey,
        Page {
            why: "Whoever has read the examples can use it, with all roles that it brings.",
            example: "[server]\nlisten = [\"0.0.0.0:8080\"]\n\n[[authn.api_key]]\nid = \"demo-reader\"\nheader = \"x-api-key\"\nhash = \"\"\"sha256:\\\ncc551f29bff81915d8d2765567f3c5f73f4b9ebc70f37757eefe31734bde1421\"\"\"\n",
            mend: "Make a key of your own: `portcullis hash-key --generate` prints it once, and the hash to put here.",
        },
    ),
    (
        Code::UpstreamIsAdmin,
        Page {
            why: "Operators' interfaces trust whoever reaches them on loopback, and this gateway is on loopback.",
            example: "[admin]\nlisten = \"127.0.0.1:9901\"\n\n[upstream.oops]\nservers = [\"http://127.0.0.1:9901\"]\n",
            mend: "Correct the address of the upstream.",
        },
    ),
    (
        Code::UpstreamIsSelf,
        Page {
            why: "One request becomes thousands, until connections run out.",
            example: "[server]\nlisten = [\"127.0.0.1:8080\"]\n\n[upstream.oops]\nservers = [\"http://127.0.0.1:8080\"]\n",
            mend: "Correct the address of the upstream, or that of the listener.",
        },
    ),
    (
        Code::NotInspected,
        Page {
            why: "An attack in such a body is seen by no rule.",
            example: "[[route]]\nid = \"uploads\"\npath = \"/uploads/{*rest}\"\nupstream = \"app\"\nwaf_body = \"off\"\n\n[[waf.rule]]\nid = \"script\"\nscore = 5\ntargets = [\"form\"]\nmatch = { contains = \"<script\" }\n",
            mend: "Make the route as narrow as can be, and allow this lint for it with the reason.",
        },
    ),
    (
        Code::NothingGranted,
        Page {
            why: "Nothing is allowed that no grant allows: the gateway is closed.",
            example: "[rbac]\n",
            mend: "Add a [[rbac.grant]] that says what and to whom.",
        },
    ),
    (
        Code::WeakSecret,
        Page {
            why: "Whoever has one token can try secrets at home, and sign tokens of any content with the one that fits.",
            example: "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"app\"]\nalgorithms = [\"HS256\"]\n\n[authn.jwt.jwks]\ninline = '{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"c2hvcnQ\"}]}'\n",
            mend: "Make a long one (`openssl rand -hex 32`) and give it to the issuer too; better, use signatures with key pairs.",
        },
    ),
    (
        Code::RolesNotAllowed,
        Page {
            why: "The operator expects roles from this source and there are none: its users are refused.",
            example: "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"app\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://id.example.com/jwks.json\" }\nroles = \"roles\"\n\n[[authn.jwt]]\nid = \"partner\"\nissuer = \"https://id.example.net\"\naudience = [\"app\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://id.example.net/jwks.json\" }\n",
            mend: "List under `roles_allowed` which roles its tokens may bring.",
        },
    ),
    (
        Code::ClaimPrefix,
        Page {
            why: "Nobody has the roles, the scopes or the subject that the operator expects, since no token has such a claim: its users are refused.",
            example: "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"app\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://id.example.com/jwks.json\" }\nroles = \"claims.roles\"\n",
            mend: "Write the path without `claims.`. If there is a claim of that name, write the path as a list of names.",
        },
    ),
    (
        Code::KeySkipped,
        Page {
            why: "Tokens that the issuer signs with this key are refused, although they are genuine.",
            example: "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"app\"]\nalgorithms = [\"HS256\"]\n\n[authn.jwt.jwks]\ninline = '''{\"keys\":[{\"kty\":\"odd\",\"kid\":\"b\"},\n  {\"kty\":\"oct\",\"kid\":\"a\",\n   \"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}'''\n",
            mend: "If the key is for encryption, leave it. Else replace it at the issuer by one of the kinds that are understood: RSA from 2048 bits, P-256, P-384, Ed25519.",
        },
    ),
    (
        Code::PlainHttpKeys,
        Page {
            why: "The keys decide who is believed, so whoever answers in place of the issuer is everybody.",
            example: "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"app\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"http://id.example.com/jwks.json\" }\n",
            mend: "Use https, or a file.",
        },
    ),
    (
        Code::SeclangIgnored,
        Page {
            why: "Whoever wrote the line expects something of it: a limit, a log, an engine that is off. Here it is not so.",
            example: "[waf]\nseclang = [\"waf.conf\"]     # with the line: SecRuleEngine DetectionOnly\n",
            mend: "Say it where the message points to, such as `[waf] mode` or `[waf.body]`, and remove the line, or allow this lint with the reason.",
        },
    ),
    (
        Code::ShadowedRule,
        Page {
            why: "It is believed to protect or to explain something, and is never the one that does. With `allow` rules it usually shows a misunderstanding: every rule must let an address through, so a second list does not add to the first.",
            example: "[[rbac.deny]]\nid = \"closed\"\npath = \"/internal/{*rest}\"\n\n[[rbac.deny]]\nid = \"no-writes\"\npath = \"/internal/reports\"\nmethods = [\"POST\", \"PUT\"]\n",
            mend: "Remove it; or put the narrower rule first if its reason should be the one that is named; or narrow the other. Addresses are added to the list of the rule that is there.",
        },
    ),
    (
        Code::NobodyPasses,
        Page {
            why: "Every request that the rule is about is refused, whoever makes it, and the refusal names but one of the two rules. A second `allow` rule does not add to the first: it narrows it.",
            example: "[[ip.rule]]\nid = \"office\"\nallow = [\"192.0.2.0/24\"]\n\n[[ip.rule]]\nid = \"reports-from-the-vpn\"\npath = \"/reports/{*rest}\"\nallow = [\"198.51.100.0/24\"]\n",
            mend: "Put the addresses that may pass into one rule; or list in the narrower one only addresses that the wider one has too; or exempt them there with `except`. To close a path for everybody, `deny` both families: `[\"0.0.0.0/0\", \"::/0\"]`.",
        },
    ),
    (
        Code::NeverMatches,
        Page {
            why: "A rule that nothing is judged by is a typing error in a path, host, route or text, or a leftover of what is gone.",
            example: "[[rbac.grant]]\nid = \"orders\"\nroles = [\"anyone\"]\npath = \"/orders/{*rest}\"\nroutes = [\"shop\"]\n\n[[route]]\nid = \"shop\"\npath = \"/shop/{*rest}\"\nupstream = \"app\"\n",
            mend: "Compare it with the routes: `path`, `host` and `methods` must leave something of one of them, and bodies must be read where it looks at them. A condition is compared with what its `transforms` leave.",
        },
    ),
    (
        Code::RedundantGrant,
        Page {
            why: "Whoever removes it to take a permission away takes nothing away. The broader grant may also be broader than it was meant to be.",
            example: "[[rbac.grant]]\nid = \"read\"\nroles = [\"anyone\"]\nmethods = [\"GET\", \"HEAD\"]\n\n[[rbac.grant]]\nid = \"read-orders\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\npath = \"/orders/{*rest}\"\n",
            mend: "Remove it, or narrow the other grant.",
        },
    ),
    (
        Code::OverbroadDeny,
        Page {
            why: "Somebody believes to have been given something. Either the deny says more than it should, or the grant is a leftover that opens a door on the day when the deny goes.",
            example: "[[rbac.grant]]\nid = \"reports\"\nroles = [\"anyone\"]\npath = \"/internal/reports\"\n\n[[rbac.deny]]\nid = \"closed\"\npath = \"/internal/{*rest}\"\n",
            mend: "Narrow the deny (`except_roles`, `methods`, a deeper `path`), or remove the grant.",
        },
    ),
    (
        Code::AllowAll,
        Page {
            why: "Nothing is left to the other grants, and what is added behind this gateway later is open from its first day.",
            example: "[[rbac.grant]]\nid = \"open\"\nroles = [\"anyone\"]\n",
            mend: "Say what is open (`paths`, `methods`) and to whom (`roles`). Where all of it is meant, as with a gateway that only filters, allow this lint with the reason.",
        },
    ),
    (
        Code::GrantExpiresSoon,
        Page {
            why: "On that day people who could work cannot, without anybody having changed anything.",
            example: "[[rbac.grant]]\nid = \"for-the-audit\"\nroles = [\"anyone\"]\npath = \"/audit/{*rest}\"\nuntil = 2026-12-01T00:00:00Z     # checked in November 2026\n",
            mend: "Give it a later `until`, or agree with its users that it ends. How early it is reported: `[lint] expires_within = \"336h\"`.",
        },
    ),
    (
        Code::RoleWithoutSource,
        Page {
            why: "Grants of this role give nothing, and denies of it protect from nobody. Usually `roles_allowed` of a source was forgotten.",
            example: "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"app\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://id.example.com/jwks.json\" }\nroles = \"roles\"\nroles_allowed = [\"reader\"]\n\n[rbac.role.reader]\n[rbac.role.auditor]\n\n[[rbac.grant]]\nid = \"audit\"\nroles = [\"auditor\"]\npath = \"/audit/{*rest}\"\n",
            mend: "Add the role to `roles` or `roles_allowed` of the source that is to bring it, or remove role and rules.",
        },
    ),
    (
        Code::UnknownClaim,
        Page {
            why: "The rule looks as if it depended on who asks, and always comes out the same.",
            example: "[[rbac.grant]]\nid = \"own\"\nroles = [\"anyone\"]\npath = \"/users/{id}\"\nwhen = \"claims.sub == path.id\"     # there are no tokens here\n",
            mend: "Add the source that brings the claim, or correct its name.",
        },
    ),
    (
        Code::LookalikePath,
        Page {
            why: "This gateway tells `/admin` from `/Admin`, and does not tell `/admin` from `/admin/`. If what is behind it sees that otherwise, what is protected can be had by the other spelling.",
            example: "[[rbac.grant]]\nid = \"admin\"\nroles = [\"authenticated\"]\npath = \"/admin/{*rest}\"\n\n[[rbac.grant]]\nid = \"public\"\nroles = [\"anyone\"]\npath = \"/Admin/help\"\n",
            mend: "Write both in the same way. If they are two things behind the gateway too, allow this lint with the reason.",
        },
    ),
    (
        Code::ShadowedRoute,
        Page {
            why: "Whoever changes it changes nothing. Often one of the others takes more than it was meant to.",
            example: "[[route]]\nid = \"reports\"\npath = \"/reports\"\nupstream = \"app\"\n\n[[route]]\nid = \"reports-beta\"\npath = \"/reports\"\nheaders = { x-beta = true }\nupstream = \"app\"\n\n[[route]]\nid = \"reports-stable\"\npath = \"/reports\"\nheaders = { x-beta = false }\nupstream = \"app\"\n",
            mend: "Remove it; or give the others a condition less, so that something is left for it.",
        },
    ),
    (
        Code::UnreachedRoute,
        Page {
            why: "Clients get 401 or 403 from `rbac/default-deny` for whatever they ask there.",
            example: "[[route]]\nid = \"reports\"\npath = \"/reports/{*rest}\"\nupstream = \"app\"\n\n[[rbac.grant]]\nid = \"orders\"\nroles = [\"anyone\"]\npath = \"/orders/{*rest}\"\n",
            mend: "Add a grant for what the route serves, or remove the route. A route with `authn = \"off\"` needs a grant to `anyone`.",
        },
    ),
    (
        Code::MatchesEverything,
        Page {
            why: "With `score` or `action = \"deny\"` it refuses whoever sends anything at all in these places; with `not` it is never met.",
            example: "[[waf.rule]]\nid = \"comment\"\nscore = 5\ntargets = [\"query:comment\"]\nmatch = { regex = '.+' }\n",
            mend: "Say what the text must hold. To refuse any value, `present = true` says so plainly.",
        },
    ),
    (
        Code::UselessExclusion,
        Page {
            why: "It is believed to keep a false alarm away. If it did once, the rule has changed since, and the alarm may be back.",
            example: "[[waf.rule]]\nid = \"select\"\nscore = 5\ntargets = [\"query\"]\nmatch = { contains = \"select\" }\n\n[[waf.exclude]]\nid = \"comment-box\"\ntargets = [\"form:comment\"]\nrules = [\"waf/select\"]\n",
            mend: "Remove the exclusion, or name the texts that the rule looks at.",
        },
    ),
    (
        Code::UnusedAllow,
        Page {
            why: "What is allowed once and mended since would be allowed again without anybody looking.",
            example: "[[lint.allow]]\ncode = \"unused-name\"\nname = \"role/auditor\"\nreason = \"comes with the next release\"\n",
            mend: "Remove the entry.",
        },
    ),
];
