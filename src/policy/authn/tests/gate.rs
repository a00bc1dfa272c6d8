//! The gate, and what the shell asks for around it.

use http::{Method, Uri};

use super::tokens::{claims, rsa, with};
use super::*;
use crate::decision::RuleRef;
use crate::facts::{Body, Client, Fields, Scheme, Target, Who};

fn judge(identity: &Identity, route: AuthnWord, trace: Option<&mut Trace>) -> Verdict {
    let headers = headers(&[("host", "a.test")]);
    let facts = Facts {
        now: now(),
        target: &Target::parse(&Method::GET, Scheme::Http, &Uri::from_static("/"), &headers),
        headers: &headers,
        fields: &Fields::default(),
        client: &Client::direct([127, 0, 0, 1].into()),
        route: None,
        identity,
        body: &Body::Absent,
    };
    lab().check(&facts, route, trace)
}

fn valid(holder: Holder) -> Identity {
    Identity::Valid(Arc::new(Who { holder: Arc::new(holder), ..Who::default() }))
}

fn rule(verdict: Verdict) -> (RuleRef, Option<u16>) {
    match verdict {
        Verdict::Pass(rule) => (rule, None),
        Verdict::Deny(denial) => (denial.rule, Some(denial.status())),
        Verdict::Answer(rule) => panic!("this gate does not answer: {rule:?}"),
    }
}

#[test]
fn somebody_is_demanded_only_where_the_route_says_so() {
    assert_eq!(rule(judge(&Identity::Nobody, AuthnWord::Optional, None)), (Builtin::Anonymous.into(), None));
    assert_eq!(rule(judge(&Identity::Nobody, AuthnWord::Off, None)), (Builtin::Anonymous.into(), None));
    assert_eq!(
        rule(judge(&Identity::Nobody, AuthnWord::Required, None)),
        (Builtin::AuthnRequired.into(), Some(401))
    );
    assert_eq!(
        rule(judge(&valid(Holder::default()), AuthnWord::Required, None)),
        (Builtin::Identified.into(), None)
    );
}

#[test]
fn what_is_shown_must_be_valid_where_none_is_demanded_too() {
    for (built_in, status) in [(Builtin::Signature, 401), (Builtin::KeysUnavailable, 503)] {
        let identity = Identity::Invalid(Problem::new(built_in, "why"));
        for route in [AuthnWord::Optional, AuthnWord::Required] {
            assert_eq!(rule(judge(&identity, route, None)), (built_in.into(), Some(status)));
        }
    }
}

#[test]
fn a_token_before_its_time_says_when_it_comes() {
    let token =
        rsa().token(&with(claims(), &[("nbf", serde_json::json!(at("2026-11-24T13:00:00Z").as_second()))]));
    let identity = Identity::Invalid(bearer(&lab(), &token).unwrap_err());
    let Verdict::Deny(denial) = judge(&identity, AuthnWord::Optional, None) else { unreachable!() };
    assert_eq!((denial.until, denial.temporary()), (Some(at("2026-11-24T13:00:00Z")), true));
}

#[test]
fn the_trace_tells_who_and_what_was_dropped() {
    let mut trace = Trace::default();
    let holder = Holder {
        source: "lab".into(),
        subject: "alice".into(),
        roles: vec!["user".into()],
        ignored_roles: vec!["root".into()],
        ..Holder::default()
    };
    let _ = judge(&valid(holder), AuthnWord::Optional, Some(&mut trace));
    assert_eq!(
        trace.steps[0].note,
        "`alice` by source `lab`, roles: user; dropped, since not in the source's `roles_allowed`: root"
    );
}

#[test]
fn a_401_offers_what_the_route_reads() {
    let header = HeaderName::from_static("x-api-key");
    let all = [Challenge::Bearer, Challenge::ApiKey { header }, Challenge::Basic { realm: "the lab".into() }];
    assert_eq!(lab().challenges(AuthnWord::Required), all);
    assert_eq!(lab().challenges(AuthnWord::Off), []);
    assert_eq!(Authn::default().challenges(AuthnWord::Optional), [Challenge::Bearer]);
    assert!(lab().has_sources() && !Authn::default().has_sources());
}

fn private(authn: &Authn, route: AuthnWord, identity: &Identity) -> String {
    authn.private_headers(route, identity).map(HeaderName::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn credentials_do_not_reach_the_upstream_unless_their_source_says_so() {
    let by = |source: &str, bearer| valid(Holder { source: source.into(), bearer, ..Holder::default() });
    assert_eq!(private(&lab(), AuthnWord::Optional, &by("lab", true)), "authorization x-api-key");
    assert_eq!(private(&lab(), AuthnWord::Optional, &Identity::Nobody), "authorization x-api-key");
    assert_eq!(private(&lab(), AuthnWord::Off, &Identity::Nobody), "");
    let text = LAB.replace("leeway = \"60s\"", "forward = true");
    let (forwarding, _, _) =
        compile(&text, &[("jwks.json", &tokens::key_set([rsa()])), ("htpasswd", &htpasswd())]);
    assert_eq!(private(&forwarding, AuthnWord::Optional, &by("lab", true)), "x-api-key");
    assert_eq!(private(&forwarding, AuthnWord::Optional, &by("people", false)), "authorization x-api-key");
    assert_eq!(private(&forwarding, AuthnWord::Optional, &by("lab-user", false)), "authorization x-api-key");
}
