//! Rules as users write them, against requests: what is refused, by which rule, and what is recorded.

mod expressions;

use ::toml::de::DeTable;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use jiff::Timestamp;

use super::*;
use crate::decision::{BodyInspection, Reason, ShadowHit, WafMatch};
use crate::facts::{Client, Fields, Identity, Scheme, Target};
use crate::policy::decode::{Decode, Node};
use crate::policy::diagnostic::{Diagnostics, FileId};
use crate::policy::source::{Attached, Sources};

/// A compiled `[waf]`, and what compiling it found.
pub(super) struct Bench {
    pub(super) waf: Waf,
    pub(super) mode: Mode,
    pub(super) cx_rules: crate::policy::rules::Rules,
    pub(super) problems: Vec<String>,
}

/// Compiles the text of a policy file of which only `[waf]` and `[network]` are read.
pub(super) fn compile(text: &str) -> Bench {
    compile_with(text, &[])
}

/// The same with programs in SecLang, which the glob `*.conf` stands for.
pub(super) fn compile_with(text: &str, programs: &[(&str, &str)]) -> Bench {
    let ((waf, mode, cx_rules), problems) = within(text, programs, |raw, cx| {
        let (waf, mode) = match raw {
            Some(None) => (Waf::default(), Mode::Enforce),
            raw => Waf::compile(raw.flatten().as_ref(), cx),
        };
        (waf, mode, std::mem::take(&mut cx.rules))
    });
    Bench { waf, mode, cx_rules, problems }
}

/// The first rule of TOML and of a program, as both are lowered, but for their places.
pub(super) fn lowered(text: &str, program: &str) -> (ir::Rule, ir::Rule) {
    let (rules, problems) = within(text, &[("a.conf", program)], |raw, cx| {
        let raw = raw.flatten().expect("[waf]");
        let mine = toml::rules(&raw.rule, &mut TableBudget(0), cx).into_iter().filter_map(|(_, built)| built);
        let script = seclang::read(&raw.seclang.expect("a program").value, cx);
        let theirs = script.items.iter().filter_map(ScriptItem::rule).map(|rule| rule.rule.clone());
        let mine = mine.map(|built| (*built.rule).clone()).next();
        (mine.expect("a rule"), theirs.take(1).next().expect("a rule"))
    });
    assert_eq!(problems, [""; 0]);
    let placeless = |mut rule: ir::Rule| {
        rule.place = Default::default();
        for link in &mut rule.links {
            if let ir::Test::All(conditions) = &mut link.test {
                conditions.iter_mut().for_each(|condition| condition.place = Default::default());
            }
        }
        rule
    };
    (placeless(rules.0), placeless(rules.1))
}

/// Decodes `[waf]` and `[network]`, and does something with them. Also the problems.
fn within<T>(
    text: &str,
    programs: &[(&str, &str)],
    work: impl FnOnce(Option<Option<RawWaf>>, &mut Compile<'_>) -> T,
) -> (T, Vec<String>) {
    let mut sources = Sources::single("main.toml", text);
    let files = programs.iter().map(|(name, text)| sources.attach_program(*name, *text)).collect();
    sources.expand("*.conf", files);
    sources.attach("words.txt", "# names\nalpha\n\n beta \n");
    sources.attach_failure("dir", Attached::Unreadable("it is a directory".into()));
    let mut diagnostics = Diagnostics::default();
    let table = DeTable::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let waf = table.get_ref().get("waf");
    let raw = waf.map(|waf| RawWaf::decode(Node::new(FileId(0), waf), &mut diagnostics));
    let networks: Vec<_> = table
        .get_ref()
        .get("network")
        .and_then(|networks| Decode::decode(Node::new(FileId(0), networks), &mut diagnostics))
        .unwrap_or_default();
    let networks = crate::policy::network::Networks::compile(&networks, &sources, &mut diagnostics);
    let mut cx = Compile {
        sources: &sources,
        now: Timestamp::UNIX_EPOCH,
        diagnostics: &mut diagnostics,
        rules: Default::default(),
        networks,
        roles: Default::default(),
        routes: Default::default(),
    };
    let made = work(raw, &mut cx);
    let problems = diagnostics.into_sorted();
    let shown = problems.iter().map(|problem| {
        let at = problem.place.map_or_else(String::new, |place| sources.show(place));
        format!("{at} {}: {}", problem.code.info().name, problem.message)
    });
    (made, shown.collect())
}

/// A request to be judged.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) host: &'a str,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) peer: [u8; 4],
    pub(super) shadow: bool,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Request {
            method: "GET",
            uri: "/",
            host: "app.test",
            headers: Vec::new(),
            body: Body::Absent,
            peer: [192, 0, 2, 1],
            shadow: false,
        }
    }
}

impl<'a> Request<'a> {
    pub(super) fn get(uri: &'a str) -> Self {
        Request { uri, ..Request::default() }
    }

    pub(super) fn post(content_type: &str, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Request {
            method: "POST",
            headers,
            body: Body::Whole(body.as_bytes().to_vec().into()),
            ..Request::default()
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What both gates said.
pub(super) struct Judged {
    /// `clean`, or the gate, rule and reason of a refusal.
    pub(super) verdict: String,
    pub(super) notes: Notes,
    pub(super) trace: Vec<String>,
}

impl Bench {
    pub(super) fn judge(&self, request: &Request<'_>) -> Judged {
        self.judge_at(request, Timestamp::UNIX_EPOCH)
    }

    fn judge_at(&self, request: &Request<'_>, now: Timestamp) -> Judged {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host".to_owned(), request.host.to_owned())].iter().chain(&request.headers) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a field value"));
        }
        let method = Method::from_bytes(request.method.as_bytes()).expect("a method");
        let uri: Uri = request.uri.parse().expect("a target");
        let fields = Fields::scan(&method, Version::HTTP_11, &headers);
        let target = Target::parse(&method, Scheme::Http, &uri, &headers);
        assert_eq!(target.error, None, "{uri} never comes to the WAF");
        let client = Client::direct(request.peer.into());
        let facts = Facts {
            now,
            target: &target,
            headers: &headers,
            fields: &fields,
            client: &client,
            route: None,
            identity: &Identity::Nobody,
            body: &request.body,
        };
        let (mut notes, mut carried, mut trace) = (Notes::default(), Carried::default(), Trace::default());
        let mut verdict =
            self.waf.check_head(&facts, request.shadow, &mut carried, &mut notes, Some(&mut trace));
        if matches!(verdict, Verdict::Pass(_)) {
            verdict = self.waf.check_body(&facts, request.shadow, &mut carried, &mut notes, Some(&mut trace));
        }
        let verdict = match verdict {
            Verdict::Pass(_) => "clean".to_owned(),
            Verdict::Answer(rule) => panic!("no gate of the WAF answers: {rule:?}"),
            Verdict::Deny(denial) => {
                let rule = self.cx_rules.name(denial.rule).trim_start_matches("waf/");
                format!("{}: {rule} {}", denial.stage.gate(), denial.reason.info().code)
            }
        };
        let trace = trace.steps.iter().map(|step| {
            let rule = step.rule.map_or("-", |rule| self.cx_rules.name(rule));
            format!("{rule} {:?}: {}", step.outcome, step.note)
        });
        Judged { verdict, notes, trace: trace.collect() }
    }

    /// The matches as `rule target score`, `~` before those in shadow.
    pub(super) fn matched(&self, judged: &Judged) -> Vec<String> {
        let show = |matched: &WafMatch| {
            let shadow = if matched.shadow { "~" } else { "" };
            format!(
                "{shadow}{} {} {}",
                self.cx_rules.name(matched.rule).trim_start_matches("waf/"),
                matched.target,
                matched.score
            )
        };
        judged.notes.waf.matched.iter().map(show).collect()
    }

    pub(super) fn shadow(&self, judged: &Judged) -> Vec<String> {
        let show = |hit: &ShadowHit| {
            format!("{} {}", self.cx_rules.name(hit.rule).trim_start_matches("waf/"), hit.reason.info().code)
        };
        judged.notes.shadow.iter().map(show).collect()
    }
}

/// Compiles rules that have no problems.
#[track_caller]
fn rules(text: &str) -> Bench {
    let bench = compile(text);
    assert_eq!(bench.problems, [""; 0]);
    bench
}

#[track_caller]
pub(super) fn check(bench: &Bench, request: Request<'_>, verdict: &str, matched: &[&str]) {
    let judged = bench.judge(&request);
    assert_eq!(
        (judged.verdict.as_str(), bench.matched(&judged)),
        (verdict, matched.iter().map(|text| (*text).to_owned()).collect())
    );
}

// === verdicts ===

const THREE: &str = r#"
[[waf.rule]]
id = "one"
score = 2
targets = ["query"]
match = { contains = "one" }
msg = "one was found"
[[waf.rule]]
id = "two"
score = 3
targets = ["query"]
match = { contains = "two" }
[[waf.rule]]
id = "three"
score = 4
targets = ["args"]
match = { contains = "three" }
"#;

#[test]
fn the_rule_at_which_the_sum_reaches_the_threshold_is_named() {
    let bench = rules(THREE);
    check(&bench, Request::get("/?a=one"), "clean", &["one query:a 2"]);
    check(&bench, Request::get("/?a=two&b=one"), "waf: two waf_score", &["one query:b 2", "two query:a 3"]);
    check(
        &bench,
        Request::get("/?a=one&b=three"),
        "waf (body): three waf_score",
        &["one query:a 2", "three query:b 4"],
    );
    let judged = bench.judge(&Request::get("/?a=one+one&b=one"));
    assert_eq!((judged.notes.waf.score, judged.notes.waf.threshold), (2, 5));
    assert_eq!(judged.notes.waf.matched[0].msg, "one was found");
}

#[test]
fn a_rule_that_denies_is_named_before_a_sum_that_comes_later() {
    let deny =
        "[[waf.rule]]\nid = \"no\"\naction = \"deny\"\ntargets = [\"path\"]\nmatch = { contains = \"x\" }\n";
    let before = rules(&format!("{deny}{THREE}"));
    check(
        &before,
        Request::get("/x?a=one+two"),
        "waf: no waf_match",
        &["no path 0", "one query:a 2", "two query:a 3"],
    );
    let after = rules(&format!("{THREE}{deny}"));
    check(
        &after,
        Request::get("/x?a=one+two"),
        "waf: two waf_score",
        &["one query:a 2", "two query:a 3", "no path 0"],
    );
    let judged = after.judge(&Request::get("/x?a=one+two"));
    assert!(judged.trace[2].starts_with("waf/no AlsoMatched"), "{:?}", judged.trace);
}

#[test]
fn a_rule_that_logs_is_recorded_and_nothing_else() {
    let bench = rules(
        "[[waf.rule]]\nid = \"seen\"\naction = \"log\"\ntargets = [\"method\"]\nmatch = { equals = \"GET\" }",
    );
    check(&bench, Request::get("/"), "clean", &["seen method 0"]);
}

#[test]
fn no_waf_is_clean_and_notes_nothing() {
    for text in ["", "[waf]", "[waf]\npacks = []"] {
        let bench = rules(text);
        let judged = bench.judge(&Request::get("/?a=%3Cscript%3E"));
        assert_eq!((judged.verdict.as_str(), judged.notes.waf.threshold), ("clean", 0));
    }
}

// === targets ===

#[track_caller]
fn sees(targets: &str, request: Request<'_>, want: &[&str]) {
    let bench = rules(&format!(
        "[[waf.rule]]\nid = \"x\"\naction = \"log\"\ntargets = {targets}\nmatch = {{ contains = \"needle\" }}"
    ));
    check(&bench, request, "clean", want);
}

#[test]
fn every_target_is_seen_where_it_is_named() {
    sees("['line']", Request::get("/a?needle"), &["x line 0"]);
    sees("['path']", Request::get("/n%65edle"), &["x path 0"]);
    sees("['query']", Request::get("/?n%65edle"), &["x query.names:needle 0"]);
    sees("['query.values']", Request::get("/?needle"), &[]);
    sees("['query:q']", Request::get("/?a=needle&q=nee%64le"), &["x query:q 0"]);
    sees("['query', '!query:a']", Request::get("/?a=needle"), &[]);
    sees("['query', '!query:/^a/']", Request::get("/?ab=needle&b=needle"), &["x query:b 0"]);
    sees(
        "['header:X-A']",
        Request::get("/").with("x-b", "needle").with("x-a", "needle"),
        &["x header:x-a 0"],
    );
    sees("['header', '!header:x-a']", Request::get("/").with("x-a", "needle"), &[]);
    sees("['header.names']", Request::get("/").with("x-needle", ""), &["x header.names:x-needle 0"]);
    sees("['cookie:/^s/']", Request::get("/").with("cookie", "a=needle; sid=needle"), &["x cookie:sid 0"]);
    sees("['cookie']", Request::get("/").with("cookie", "needle"), &["x cookie.names:needle 0"]);
    sees("['form']", Request::post("application/x-www-form-urlencoded", "a=nee%64le"), &["x form:a 0"]);
    sees(
        "['json:a.0.b']",
        Request::post("application/json", r#"{"a":[{"b":"needle","c":"needle"}]}"#),
        &["x json:a.0.b 0"],
    );
    sees(
        "['json.names']",
        Request::post("application/json", r#"{"a":{"needle":1}}"#),
        &["x json.names:a.needle 0"],
    );
    sees("['xml']", Request::post("text/xml", "<a><b c='needle'/></a>"), &["x xml:a.b.@c 0"]);
    sees("['args']", Request::post("text/xml", "<a>needle</a>"), &["x xml:a 0"]);
    sees("['body']", Request::post("text/plain", "a needle"), &["x body 0"]);
    sees("['body']", Request::post("application/json", "\"needle\""), &[]);
    let file =
        "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"needle\"\r\n\r\nneedle\r\n--b--\r\n";
    sees("['file']", Request::post("multipart/form-data; boundary=b", file), &["x file:f 0"]);
}

#[test]
fn the_address_of_the_client_is_a_target() {
    let bench = rules(
        "[network]\noffice = [\"192.0.2.0/24\"]\n[[waf.rule]]\nid = \"away\"\naction = \"deny\"\ntargets = [\"client\"]\nmatch = { ip_match = [\"office\", \"10.0.0.0/8\"], not = true }",
    );
    check(&bench, Request::get("/"), "clean", &[]);
    check(
        &bench,
        Request { peer: [203, 0, 113, 9], ..Request::default() },
        "waf: away waf_match",
        &["away client 0"],
    );
}

#[test]
fn header_fields_of_one_gate_do_not_hide_those_of_another() {
    let bench = rules(
        "[[waf.rule]]\nid = \"h\"\naction = \"log\"\ntargets = [\"header:x-a\"]\nmatch = { present = true }\n[[waf.rule]]\nid = \"b\"\naction = \"log\"\ntargets = [\"header:x-b\", \"body\"]\nmatch = { present = true }",
    );
    let request = Request::get("/").with("x-a", "").with("x-b", "");
    check(&bench, request, "clean", &["h header:x-a 0", "b header:x-b 0"]);
}

// === conditions ===

#[test]
fn conditions_are_combined() {
    let text = |wanted: &str| {
        format!(
            "[[waf.rule]]\nid = \"x\"\naction = \"log\"\ntargets = [\"query.values\"]\ntransforms = [\"lowercase\"]\nmatch = {wanted}"
        )
    };
    for (wanted, yes, no) in [
        ("{ all = [{ contains = 'a' }, { contains = 'b', not = true }] }", "/?q=A", "/?q=ab"),
        ("{ any = [{ contains = 'a' }, { contains = 'b' }] }", "/?q=b", "/?q=c"),
        ("{ contains = 'a', not = true }", "/?q=b", "/?q=a"),
        ("{ contains_any = { file = 'words.txt' } }", "/?q=xBETAx", "/?q=names"),
        ("{ equals_any = ['x', 'y'] }", "/?q=Y", "/?q=xy"),
        ("{ bytes_outside = ['32-126'] }", "/?q=%00", "/?q=x"),
    ] {
        let bench = rules(&text(wanted));
        check(&bench, Request::get(yes), "clean", &["x query:q 0"]);
        check(&bench, Request::get(no), "clean", &[]);
    }
    let long = rules(
        "[[waf.rule]]\nid = \"x\"\naction = \"log\"\ntargets = [\"query\"]\ntransforms = [\"length\"]\nmatch = { gt = 3 }",
    );
    check(&long, Request::get("/?q=abcd&r="), "clean", &["x query:q 0"]);
}

#[test]
fn a_chain_needs_all_of_its_links_in_one_request() {
    let bench = rules(
        r#"
        [[waf.rule]]
        id = "x"
        action = "deny"
        targets = ["path"]
        match = { contains = "admin" }
        chain = [
            { targets = ["header:x-role"], match = { equals = "guest" } },
            { targets = ["json:q"], transforms = ["url_decode"], match = { contains = "'" } },
        ]"#,
    );
    let post = |role: &str, body: &str| Request {
        uri: "/admin",
        ..Request::post("application/json", body).with("x-role", role)
    };
    check(&bench, post("guest", r#"{"q":"%27"}"#), "waf (body): x waf_match", &["x path 0"]);
    check(&bench, post("root", r#"{"q":"%27"}"#), "clean", &[]);
    check(&bench, post("guest", r#"{"r":"%27"}"#), "clean", &[]);
}

#[test]
fn a_rule_above_the_paranoia_level_does_not_run() {
    let rule = "[[waf.rule]]\nid = \"x\"\naction = \"deny\"\nparanoia = 3\ntargets = [\"path\"]\nmatch = { present = true }";
    check(&rules(rule), Request::get("/"), "clean", &[]);
    check(&rules(&format!("[waf]\nparanoia = 2\n{rule}")), Request::get("/"), "clean", &[]);
    check(
        &rules(&format!("[waf]\nparanoia = 3\n{rule}")),
        Request::get("/"),
        "waf: x waf_match",
        &["x path 0"],
    );
}

#[test]
fn a_rule_is_about_its_scope_only() {
    let bench = rules(
        "[[waf.rule]]\nid = \"x\"\naction = \"deny\"\npath = \"/a/{*rest}\"\nmethods = [\"GET\"]\ntargets = [\"query\"]\nmatch = { contains = \"x\" }\n[[waf.rule]]\nid = \"y\"\naction = \"log\"\ntargets = [\"path\"]\nmatch = { present = true }",
    );
    check(&bench, Request::get("/a/b?x"), "waf: x waf_match", &["x query.names:x 0", "y path 0"]);
    check(&bench, Request::get("/b?x"), "clean", &["y path 0"]);
    check(&bench, Request { method: "HEAD", ..Request::get("/a?x") }, "clean", &["y path 0"]);
}

// === exclusions ===

#[test]
fn an_exclusion_keeps_texts_from_rules_in_its_scope() {
    let bench = rules(&format!(
        "{THREE}[[waf.exclude]]\nid = \"e\"\npath = \"/search\"\ntargets = [\"query:q\"]\nrules = [\"waf/one\"]\n"
    ));
    check(&bench, Request::get("/search?q=one+two"), "clean", &["two query:q 3"]);
    check(&bench, Request::get("/search?r=one&q=one"), "clean", &["one query:r 2"]);
    check(&bench, Request::get("/other?q=one"), "clean", &["one query:q 2"]);
}

#[test]
fn an_exclusion_without_texts_turns_rules_off() {
    for (scope, uri, want) in [
        ("", "/?q=one", &[][..]),
        ("path = \"/s\"\n", "/s?q=one", &[]),
        ("path = \"/s\"\n", "/?q=one", &["one query:q 2"]),
    ] {
        let bench = rules(&format!(
            "{THREE}[[waf.exclude]]\nid = \"e\"\n{scope}rules = [\"waf/one\", \"waf/three\"]\n"
        ));
        check(&bench, Request::get(uri), "clean", want);
    }
}

// === shadow ===

#[test]
fn a_rule_in_shadow_is_recorded_and_never_counts() {
    let shadow = "mode = \"shadow\"\nshadow_until = 2099-01-01T00:00:00Z\n";
    let bench = rules(&format!(
        "{THREE}[[waf.rule]]\nid = \"tight\"\nscore = 3\n{shadow}targets = [\"query\"]\nmatch = {{ contains = \"x\" }}\n[[waf.rule]]\nid = \"no\"\naction = \"deny\"\n{shadow}targets = [\"query\"]\nmatch = {{ contains = \"y\" }}"
    ));
    let judge = |uri| bench.judge(&Request::get(uri));
    // Alone it is below the threshold; with what counts it would have made the difference.
    assert_eq!(bench.shadow(&judge("/?a=x")), [""; 0]);
    let judged = judge("/?a=x+one");
    assert_eq!((judged.verdict.as_str(), judged.notes.waf.score), ("clean", 2));
    assert_eq!(bench.shadow(&judged), ["tight waf_score"]);
    assert_eq!(bench.matched(&judged), ["one query:a 2", "~tight query:a 3"]);
    // The sum that makes the difference may come at the body gate.
    assert_eq!(bench.shadow(&judge("/?a=x+three")), ["tight waf_score"]);
    // Where other rules refuse anyway it made no difference.
    let judged = judge("/?a=x+one+two");
    assert_eq!((judged.verdict.as_str(), bench.shadow(&judged).len()), ("waf: two waf_score", 0));
    let judged = judge("/?a=y+one+two");
    assert_eq!(
        (judged.verdict.as_str(), bench.shadow(&judged)),
        ("waf: two waf_score", vec!["no waf_match".to_owned()])
    );
}

#[test]
fn a_shadow_that_ended_enforces() {
    let bench = compile(
        "[[waf.rule]]\nid = \"no\"\naction = \"deny\"\nmode = \"shadow\"\nshadow_until = 2000-01-01T00:00:00Z\ntargets = [\"path\"]\nmatch = { present = true }",
    );
    let later: Timestamp = "2001-01-01T00:00:00Z".parse().expect("a time");
    assert_eq!(bench.judge(&Request::get("/")).verdict, "clean");
    assert_eq!(bench.judge_at(&Request::get("/"), later).verdict, "waf: no waf_match");
}

#[test]
fn a_stage_in_shadow_records_what_it_would_have_done() {
    let bench = rules(THREE);
    let shadow = |uri| bench.judge(&Request { shadow: true, ..Request::get(uri) });
    let judged = shadow("/?a=one+two+three");
    assert_eq!((judged.verdict.as_str(), judged.notes.waf.score), ("clean", 0));
    assert_eq!(bench.shadow(&judged), ["two waf_score"]);
    assert_eq!(bench.matched(&judged), ["~one query:a 2", "~two query:a 3", "~three query:a 4"]);
    assert_eq!(bench.shadow(&shadow("/?a=one")), [""; 0]);
    let judged = bench.judge(&Request { shadow: true, ..Request::post("application/json", "{") });
    assert_eq!(
        (judged.verdict.as_str(), bench.shadow(&judged)),
        ("clean", vec!["body-malformed body_malformed".to_owned()])
    );
}

#[test]
fn a_rule_that_is_off_does_not_run() {
    let bench = rules(
        "[[waf.rule]]\nid = \"x\"\naction = \"deny\"\nmode = \"off\"\ntargets = [\"path\"]\nmatch = { present = true }",
    );
    check(&bench, Request::get("/"), "clean", &[]);
    assert!(!bench.waf.wants_body_of(&Request::get("/")));
}

// === bodies ===

impl Waf {
    fn wants_body_of(&self, request: &Request<'_>) -> bool {
        let (headers, uri): (HeaderMap, Uri) = (HeaderMap::new(), request.uri.parse().expect("a target"));
        let method = Method::POST;
        let target = Target::parse(&method, Scheme::Http, &uri, &headers);
        let fields = Fields::scan(&method, Version::HTTP_11, &headers);
        let client = Client::direct(request.peer.into());
        self.wants_body(&Facts {
            now: Timestamp::UNIX_EPOCH,
            target: &target,
            headers: &headers,
            fields: &fields,
            client: &client,
            route: None,
            identity: &Identity::Nobody,
            body: &Body::Absent,
        })
    }
}

const BODY: &str = "[[waf.rule]]\nid = \"x\"\naction = \"deny\"\npath = \"/{*rest}\"\ntargets = [\"args\", \"body\"]\nmatch = { contains = \"needle\" }";

#[test]
fn a_body_is_wanted_where_a_rule_that_runs_looks_at_it() {
    let head = rules(
        "[[waf.rule]]\nid = \"x\"\naction = \"deny\"\ntargets = [\"query\"]\nmatch = { contains = \"x\" }",
    );
    assert!(!head.waf.wants_body_of(&Request::get("/")) && !Waf::default().wants_body_of(&Request::get("/")));
    let scoped = rules(&BODY.replace("/{*rest}", "/a"));
    assert!(!scoped.waf.wants_body_of(&Request::get("/b")));
    assert!(rules(BODY).waf.wants_body_of(&Request::get("/")));
    assert_eq!(rules(&format!("[waf.body]\nlimit = \"64KiB\"\n{BODY}")).waf.body_limit(), 65536);
}

#[test]
fn bodies_that_cannot_be_judged_are_refused_by_name() {
    let bench = rules(BODY);
    for (request, want) in [
        (Request::post("application/json", "{\"a\":"), "waf (body): body-malformed body_malformed"),
        (
            Request::post("application/x-www-form-urlencoded;/json", "a"),
            "waf (body): body-malformed body_malformed",
        ),
        (Request::post("text/plain; charset=utf-16", "a"), "waf (body): body-charset body_charset"),
        (
            Request::post("text/plain", "a").with("content-encoding", "br"),
            "waf (body): body-encoding body_encoding",
        ),
        (Request { body: Body::TooLarge, ..Request::default() }, "waf (body): body-too-large body_too_large"),
        (
            Request { body: Body::TooLarge, shadow: true, ..Request::default() },
            "waf (body): body-too-large body_too_large",
        ),
        (Request::post("text/plain", "a needle"), "waf (body): x waf_match"),
        (Request::post("text/plain", "thread"), "clean"),
        (Request::post("application/json", ""), "clean"),
        (Request { body: Body::Unread, ..Request::get("/?a=needle") }, "waf (body): x waf_match"),
        (Request { body: Body::Unread, ..Request::get("/?a=thread") }, "clean"),
    ] {
        assert_eq!(bench.judge(&request).verdict, want);
    }
    assert_eq!(bench.judge(&Request::post("text/plain", "x")).notes.waf.body, BodyInspection::Inspected);
    assert_eq!(bench.judge(&Request::get("/")).notes.waf.body, BodyInspection::None);
    let without = rules("");
    assert_eq!(
        without.judge(&Request { body: Body::TooLarge, ..Request::default() }).verdict,
        "waf (body): body-too-large body_too_large"
    );
}

#[test]
fn bounds_of_bodies_are_settings() {
    let bench = rules(&format!("[waf.body]\ndepth = 2\nfields = 3\n{BODY}"));
    for body in ["[[[1]]]", "[1,2,3]"] {
        let verdict = bench.judge(&Request::post("application/json", body)).verdict;
        assert_eq!(verdict, "waf (body): body-too-large body_too_large", "{body}");
    }
    assert_eq!(bench.judge(&Request::post("application/json", "[[1]]")).verdict, "clean");
}

#[test]
fn work_beyond_the_budget_is_refused() {
    let bench = rules(&format!("[waf]\nbudget = 2000\n{BODY}"));
    assert_eq!(bench.judge(&Request::post("text/plain", "x")).verdict, "clean");
    let long = "x".repeat(2000);
    assert_eq!(bench.judge(&Request::post("text/plain", &long)).verdict, "waf (body): budget waf_budget");
    let judged = bench.judge(&Request { shadow: true, ..Request::post("text/plain", &long) });
    assert_eq!(
        (judged.verdict.as_str(), bench.shadow(&judged)),
        ("clean", vec!["budget waf_budget".to_owned()])
    );
}

// === the record ===

#[test]
fn matched_data_is_kept_only_where_asked_for_and_never_of_credentials() {
    let mut bench = rules(
        "[[waf.rule]]\nid = \"x\"\naction = \"log\"\ntargets = [\"args\", \"header\", \"cookie\"]\ntransforms = [\"url_decode\"]\nmatch = { regex = 'needle.*' }",
    );
    let data = |bench: &Bench, request: Request<'_>| bench.judge(&request).notes.waf.matched[0].data.clone();
    assert_eq!(data(&bench, Request::get("/?q=a+needle%0a")), "");
    bench.waf.data_limit = 8;
    bench.waf.credentials = vec![HeaderName::from_static("x-api-key")];
    assert_eq!(data(&bench, Request::get("/?q=a+needle%250a1")), "needle\\n1");
    assert_eq!(data(&bench, Request::get("/?q=a+needle+and+more")), "needle a");
    for request in [
        Request::get("/?password=needle"),
        Request::get("/?access_TOKEN=needle"),
        Request::get("/").with("cookie", "a=needle"),
        Request::get("/").with("authorization", "needle"),
        Request::get("/").with("x-api-key", "needle"),
    ] {
        let judged = bench.judge(&request);
        assert_eq!(judged.notes.waf.matched[0].data, "");
        assert!(judged.trace[0].contains("not shown"), "{:?}", judged.trace);
    }
}

#[test]
fn the_trace_shows_the_transformations_of_what_matched() {
    let bench = rules(
        "[[waf.rule]]\nid = \"x\"\nscore = 5\ntargets = [\"query\"]\ntransforms = [\"url_decode\", \"remove_nulls\", \"lowercase\"]\nmatch = { contains = \"<script\" }",
    );
    let judged = bench.judge(&Request::get("/?q=%253CSCRIPT"));
    assert_eq!(
        judged.trace,
        [
            "waf/x Deny(WafScore): matches query:q: `%3CSCRIPT` → url_decode → `<SCRIPT` → lowercase → `<script`"
        ]
    );
    assert_eq!(judged.notes.waf.matched[0].score, 5);
    assert_eq!(Reason::WafScore.info().status, 403);
}

// === problems ===

#[track_caller]
fn refuses(text: &str, want: &[&str]) {
    assert_eq!(compile(text).problems, want);
}

/// A rule with these lines.
fn rule(lines: &str) -> String {
    format!("[[waf.rule]]\nid = \"x\"\n{lines}")
}

#[test]
fn problems_are_told_with_their_places() {
    let text = [
        rule("score = 1\naction = \"deny\"\ntargets = [\"query\"]\nmatch = { contains = \"x\" }"),
        "[[waf.rule]]\nid = \"y\"\ntargets = [\"qeury\"]\ntransforms = [\"lowercas\"]\nmatch = { conatins = \"x\" }".to_owned(),
    ];
    refuses(&text[0], &["main.toml:4 conflict: a rule has either `score` or `action`"]);
    // What is wrong with a rule's action does not hide what is wrong with its operators and targets.
    refuses(
        &rule(
            "score = 1\naction = 'deny'\ntargets = []\nmatch = { any = [{ regex = '(' }, { contains = '' }] }",
        ),
        &[
            "main.toml:4 conflict: a rule has either `score` or `action`",
            "main.toml:5 bad-value: `targets` names nothing to look at",
            "main.toml:6 bad-value: this is not a regular expression: unclosed group, at byte 0",
            "main.toml:6 bad-value: the text is empty, so every value would match",
        ],
    );
    refuses(
        &text[1],
        &[
            "main.toml:2 missing-key: the rule `y` has neither `score` nor `action`",
            "main.toml:3 bad-value: `qeury` is not a target: `qeury` is no target",
            "main.toml:4 bad-value: `lowercas` is not one of `base64_decode`, `base64_decode_lenient`, `cmd_line`, `compress_whitespace`, `css_decode`, `escape_seq_decode`, `hex_decode`, `hex_encode`, `html_entity_decode`, `js_decode`, `length`, `lowercase`, `normalise_path`, `normalise_path_win`, `remove_comments`, `remove_comments_char`, `remove_nulls`, `remove_whitespace`, `replace_comments`, `sha1`, `sql_comments`, `trim`, `unicode_nfkc`, `uppercase`, `url_decode`, `url_decode_uni`, `utf8_to_unicode`",
            "main.toml:5 unknown-key: unknown key `conatins` in `match`",
        ],
    );
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    for (lines, want) in [
        (
            "targets = ['query']\nmatch = { contains = 'x' }",
            "main.toml:2 missing-key: the rule `x` has neither `score` nor `action`",
        ),
        (
            "score = 0\ntargets = ['query']\nmatch = { contains = 'x' }",
            "main.toml:3 bad-value: a score of 0 adds nothing",
        ),
        (
            "score = 1\nparanoia = 5\ntargets = ['query']\nmatch = { contains = 'x' }",
            "main.toml:4 bad-value: `5` is not a paranoia level",
        ),
        (
            "score = 1\ntargets = []\nmatch = { contains = 'x' }",
            "main.toml:4 bad-value: `targets` names nothing to look at",
        ),
        (
            "score = 1\ntargets = ['!query']\nmatch = { contains = 'x' }",
            "main.toml:4 bad-value: `targets` names nothing to look at",
        ),
        (
            "score = 1\ntargets = ['query', '!json:a']\nmatch = { contains = 'x' }",
            "main.toml:4 bad-value: `!json:a` takes away from `json`, which no entry names",
        ),
        (
            "score = 1\ntargets = ['query:/(/']\nmatch = { contains = 'x' }",
            "main.toml:1 bad-value: this is not a regular expression: unclosed group, at byte 0",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { regex = 'a*' }",
            "main.toml:5 bad-value: this expression matches the empty text, and so every value",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { regex = '(' }",
            "main.toml:5 bad-value: this is not a regular expression: unclosed group, at byte 0",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { contains = '' }",
            "main.toml:5 bad-value: the text is empty, so every value would match",
        ),
        (
            "score = 1\ntargets = ['query']\ntransforms = ['lowercase']\nmatch = { contains = 'X' }",
            "main.toml:6 bad-value: `contains` compares with capitals what `lowercase` made small",
        ),
        ("score = 1\ntargets = ['query']\nmatch = { }", "main.toml:5 missing-key: `match` has no operator"),
        (
            "score = 1\ntargets = ['query']\nmatch = { contains = 'a', equals = 'b' }",
            "main.toml:5 conflict: `match` has several operators",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { all = [{ contains = 'a' }], contains = 'b' }",
            "main.toml:5 conflict: an operator stands beside `all` or `any`",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { all = [], any = [] }",
            "main.toml:5 conflict: `all` and `any` stand in one `match`",
        ),
        ("score = 1\ntargets = ['query']\nmatch = { any = [] }", "main.toml:5 bad-value: `any` is empty"),
        (
            "score = 1\ntargets = ['query']\nmatch = { present = false }",
            "main.toml:5 bad-value: this operator takes only `true`",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { gt = 'x' }",
            "main.toml:5 wrong-type: expected an integer, found a string",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { bytes_outside = ['9-x'] }",
            "main.toml:5 bad-value: `9-x` is not a byte range",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { ip_match = ['nowhere'] }",
            "main.toml:5 unknown-name: there is no network `nowhere`",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { contains_any = { file = 'none.txt' } }",
            "main.toml:5 file: the file `none.txt` does not exist",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { contains_any = { file = 'dir' } }",
            "main.toml:5 file: the file `dir` cannot be read: it is a directory",
        ),
        (
            "score = 1\ntargets = ['query']\nmatch = { regex = '(?:\\w{500}){1000}' }",
            "main.toml:5 limit: this expression is too large once it is compiled",
        ),
        (
            "score = 1\nscroe = 1\ntargets = ['query']\nmatch = { contains = 'x' }",
            "main.toml:4 unknown-key: unknown key `scroe` in [[waf.rule]]",
        ),
    ] {
        refuses(&rule(lines), &[want]);
    }
    // A condition that must not hold may match the empty text: that is how forms are listed.
    rules(&rule("score = 1\ntargets = ['query.values']\nmatch = { regex = '^[a-z]*$', not = true }"));
}

#[test]
fn settings_out_of_range_are_refused() {
    for (text, want) in [
        ("[waf]\nseclangs = []", "main.toml:2 unknown-key: unknown key `seclangs` in [waf]"),
        (
            "[waf]\nthreshold = 0",
            "main.toml:2 bad-value: `waf.threshold` is 0, which would refuse every request",
        ),
        ("[waf]\nbudget = 0", "main.toml:2 bad-value: `waf.budget` is 0, which would refuse every request"),
        ("[waf]\nparanoia = 0", "main.toml:2 bad-value: `0` is not a paranoia level"),
        ("[waf]\npacks = ['crs']", "main.toml:2 bad-value: `crs` is not one of `core`"),
        ("[waf]\npacks = ['core', 'core']", "main.toml:2 bad-value: the pack `core` is named twice"),
        ("[waf.body]\ndepth = 101", "main.toml:2 bad-value: `waf.body.depth` is 101, and not from 1 to 100"),
        (
            "[waf.body]\nlimit = \"2GiB\"",
            "main.toml:2 bad-value: `waf.body.limit` is 2147483648, and not from 1 to 1073741824",
        ),
        ("[waf]\nmode = \"off\"", "main.toml:2 bad-value: a stage or route cannot be off"),
        (
            "[waf]\nmode = \"shadow\"",
            "main.toml:2 shadow-without-end: a stage or route in shadow needs `shadow_until`",
        ),
    ] {
        refuses(text, &[want]);
    }
    let shadow = rules("[waf]\nmode = \"shadow\"\nshadow_until = 2099-01-01T00:00:00Z");
    assert!(matches!(shadow.mode, Mode::Shadow(Some(_))));
}

#[test]
fn exclusions_name_rules_that_exist() {
    let exclude = |lines: &str| format!("{THREE}[[waf.exclude]]\nid = \"e\"\n{lines}");
    for (lines, want) in [
        ("rules = ['waf/tow']", "main.toml:20 unknown-name: there is no rule `waf/tow`"),
        (
            "rules = ['waf/body-malformed']",
            "main.toml:20 bad-value: `waf/body-malformed` is not a rule of `[waf]` that can be excluded",
        ),
        ("rules = []", "main.toml:20 bad-value: `rules` is empty, so nothing would be excluded"),
        (
            "rules = ['waf/one']\ntargets = []",
            "main.toml:21 bad-value: `targets` is empty, so nothing would be excluded",
        ),
        (
            "rules = ['waf/one']\ntargets = ['!query:q']",
            "main.toml:21 bad-value: an exclusion names what is not looked at, without `!`",
        ),
        (
            "rules = ['waf/one']\n[[waf.exclude]]\nid = 'e'\nrules = ['waf/two']",
            "main.toml:22 duplicate-id: the exclusion `e` is defined twice",
        ),
    ] {
        refuses(&exclude(lines), &[want]);
    }
}

#[test]
fn ids_are_unique_over_packs_and_written_rules() {
    let id = |id: &str| {
        format!(
            "[[waf.rule]]\nid = \"{id}\"\nscore = 1\ntargets = [\"query\"]\nmatch = {{ contains = \"x\" }}\n"
        )
    };
    refuses(&format!("{}{}", id("x"), id("x")), &["main.toml:7 duplicate-id: the id `x` is taken"]);
    refuses(&id("clean"), &["main.toml:2 reserved-id: `waf/clean` is a built-in rule"]);
    let text = format!("[waf]\npacks = [\"core\"]\n{}", id("sqli-union-select"));
    refuses(&text, &["main.toml:4 duplicate-id: the id `sqli-union-select` is taken"]);
}

#[test]
fn rules_of_a_pack_stand_in_the_table_of_rules_with_their_own_places() {
    let bench = rules("[waf]\npacks = [\"core\"]");
    let Some(crate::decision::RuleRef::Written(rule)) = bench.cx_rules.by_name("waf/sqli-union-select")
    else {
        panic!("the rule is in the table")
    };
    let info = bench.cx_rules.get(rule);
    assert!(info.at.starts_with("core:"), "{}", info.at);
    let line: usize = info.at[5..].parse().expect("a line");
    let text = include_str!("../../../config/waf/core.toml");
    assert!(text.lines().nth(line - 1).is_some_and(|line| line == "[[waf.rule]]"));
}

#[test]
fn the_tables_of_two_files_become_one() {
    let read = |text: &str, diagnostics: &mut Diagnostics| {
        let table = DeTable::parse(text).expect("TOML");
        RawWaf::decode(Node::new(FileId(0), table.get_ref().get("waf").expect("[waf]")), diagnostics)
            .expect("decodes")
    };
    let mut diagnostics = Diagnostics::default();
    let mut first = read(&format!("[waf]\nthreshold = 5\n[waf.body]\ndepth = 3\n{THREE}"), &mut diagnostics);
    let second = read(&format!("[waf]\nparanoia = 2\n{}", BODY), &mut diagnostics);
    first.absorb(second, &mut diagnostics);
    assert_eq!((first.rule.len(), first.paranoia.map(|at| at.value), diagnostics.len()), (4, Some(2), 0));
    let third = read("[waf]\nthreshold = 6\n[waf.body]\ndepth = 3", &mut diagnostics);
    first.absorb(third, &mut diagnostics);
    assert_eq!(diagnostics.len(), 2);
}
