//! The API of the admin listener: recent decisions, explanations, the policy, bans, trails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::support::command::about_folder;
use crate::support::tls::Authority;
use crate::support::{Gateway, Response, get, get_local, read_response, request, wait_until};

const CONFIG: &str = r#"
[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "orders"
path = "/orders/{*rest}"
upstream = "demo"

[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"

[[authn.api_key]]
id = "reader"
header = "x-api-key"
hash = "sha256:cc551f29bff81915d8d2765567f3c5f73f4b9ebc70f37757eefe31734bde1421"
roles = ["orders-reader"]

[rbac.role.orders-reader]
[rbac.role.orders-admin]
inherits = ["orders-reader"]

[[rbac.grant]]
id = "home"
roles = ["anyone"]
path = "/"

[[rbac.grant]]
id = "orders-read"
roles = ["orders-reader"]
methods = ["GET"]
path = "/orders/{*rest}"

[[rbac.grant]]
id = "orders-write"
roles = ["orders-admin"]
methods = ["DELETE"]
path = "/orders/{*rest}"
"#;

/// The key whose hash stands in the configuration.
const KEY: (&str, &str) = ("x-api-key", "demo-reader-key");

struct Operator {
    admin: SocketAddr,
    bearer: String,
}

impl Operator {
    fn of(gateway: &Gateway) -> Operator {
        let token = std::fs::read_to_string(gateway.folder().join("admin.token")).expect("made at the start");
        Operator {
            admin: gateway.admin.expect("an admin listener"),
            bearer: format!("Bearer {}", token.trim()),
        }
    }

    fn read(&self, path: &str) -> Value {
        let answer = get_local(self.admin, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let fields = [
            ("Host", "localhost"),
            ("Authorization", &*self.bearer),
            ("Content-Type", "application/json"),
            ("X-Portcullis-Actor", "alice"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        request(self.admin, method, path, &fields, body.as_bytes())
    }

    /// The recent decisions that a filter wants, once there are this many.
    fn decisions(&self, query: &str, count: usize) -> Vec<Value> {
        wait_until(|| {
            let found = self.read(&format!("/api/decisions?{query}"));
            let found = found["decisions"].as_array().expect("a list").clone();
            (found.len() >= count).then_some(found)
        })
    }
}

#[test]
fn recent_decisions_are_found_by_what_is_known_of_them() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    get(gateway.address, "/");
    let refused = request(gateway.address, "DELETE", "/orders/42", &[KEY], b"");
    let id = refused.header("x-request-id").expect("set").to_owned();
    let all = operator.decisions("", 2);
    assert_eq!(all[0]["request_id"], id, "the newest first: {all:?}");
    assert_eq!(all[0]["rule"], "rbac/default-deny");
    for (query, count) in [
        ("decision=deny", 1),
        ("decision=allow", 1),
        ("stage=rbac&status=403&route=orders&method=DELETE&path=/orders&ip=127.0.0.0/8", 1),
        ("subject=reader", 1),
        ("q=ORDERS/42", 1),
        ("decision=deny&decision=allow&limit=1", 1),
        ("path=/nothing", 0),
    ] {
        let found = operator.read(&format!("/api/decisions?{query}"));
        assert_eq!(found["decisions"].as_array().expect("a list").len(), count, "{query}: {found}");
    }
    let unknown = get_local(operator.admin, "/api/decisions?statis=403");
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("there is no filter `statis`"), "{}", unknown.text());
}

#[test]
fn a_filter_that_no_record_can_meet_is_refused_with_what_can_be_asked_for() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    for (query, parameter, accepted) in [
        ("decision=denied", "decision", json!(["allow", "deny", "error"])),
        ("stage=limbo", "stage", json!(["authn", "fault", "intake", "ip", "rbac", "route", "waf"])),
        ("status=4xx", "status", json!(["a number from 100 to 599"])),
        ("since=yesterday", "since", json!(["a time such as 2026-11-24T08:00:00Z"])),
        ("ip=nowhere", "ip", json!(["an address or a network, such as 203.0.113.0/24"])),
    ] {
        let answer = get_local(operator.admin, &format!("/api/decisions?decision=deny&{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let told = answer.json();
        assert_eq!((&told["parameter"], &told["accepted"]), (&parameter.into(), &accepted), "{told}");
        // Nobody waits for what never comes.
        let fields = [("Host", "localhost"), ("Accept", "text/event-stream")];
        let live = request(operator.admin, "GET", &format!("/api/decisions?{query}"), &fields, b"");
        assert_eq!((live.status, &live.json()["parameter"]), (400, &parameter.into()));
        let page = get_local(operator.admin, &format!("/?{query}")).text();
        assert!(page.contains(&format!("<p class=\"problem\" role=\"alert\">{parameter}: ")), "{page}");
    }
    // The form lets nobody choose or write these.
    let page = get_local(operator.admin, "/").text();
    for text in [
        "name=\"status\" type=\"number\" min=\"100\" max=\"599\"",
        "<option>fault</option>",
        "pattern=\"(authn|",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for path in ["/api/status", "/api/policy", "/api/history", "/api/bans", "/api/log-level"] {
        let answer = get_local(operator.admin, &format!("{path}?since=2026-11-24T08:00:00Z"));
        assert_eq!((answer.status, &answer.json()["parameter"]), (400, &"since".into()), "{path}");
    }
    let answer = operator.send("DELETE", "/api/bans?adress=203.0.113.9", &Value::Null);
    assert_eq!((answer.status, &answer.json()["accepted"][0]), (400, &"address".into()));
    // A prober adds what it likes.
    assert_eq!(get_local(operator.admin, "/livez?x=1").status, 200);
}

#[test]
fn one_decision_is_told_with_its_trail_and_whom_else_it_concerns() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let refused = request(gateway.address, "DELETE", "/orders/42", &[KEY], b"");
    let id = refused.header("x-request-id").expect("set").to_owned();
    operator.decisions("decision=deny", 1);
    let told = operator.read(&format!("/api/decisions/{id}"));
    assert_eq!((&told["request_id"], &told["rule"]), (&id.into(), &"rbac/default-deny".into()));
    let about = &told["about"];
    assert_eq!(about["rule"]["sentence"], "No grant allows this.");
    assert_eq!(about["same_decision"], true, "{told}");
    assert_eq!(about["again"]["nearest"][0]["rule"], "rbac/orders-write");
    let others = &about["others"];
    for number in ["refused", "subjects", "addresses", "callers", "paths", "of_this_caller"] {
        assert_eq!(others[number], 1, "{number}");
    }
    assert_eq!(others["resource"], "DELETE /orders/{*rest} of the route orders");
    assert!(about["trail"].is_null());
    let gone = get_local(operator.admin, "/api/decisions/0197f2c4-7e1b-7c3a-9a51-0d0f5f2b6e11");
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("there is no decision"), "{}", gone.text());
}

#[test]
fn decisions_come_live_as_they_are_made_and_as_they_are_wanted() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let mut events = Events::open(operator.admin, "/api/decisions?decision=deny");
    assert_eq!(events.next().0, "ready");
    get(gateway.address, "/");
    let refused = get(gateway.address, "/secret");
    let (kind, data) = events.next();
    assert_eq!(kind, "decision");
    assert_eq!(data["request_id"], refused.header("x-request-id").expect("set"));
}

#[test]
fn a_question_is_answered_as_the_command_answers_it() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let question = json!({
        "method": "DELETE", "target": "/orders/42", "ip": "203.0.113.9", "subject": "alice",
        "roles": ["orders-reader"], "what_if_role": ["orders-admin"],
    });
    // Reading needs no token, but a document that no form of a foreign page can send.
    let ask = |kind: &str| {
        let fields = [("Host", "localhost"), ("Content-Type", kind)];
        request(operator.admin, "POST", "/api/explain", &fields, question.to_string().as_bytes())
    };
    assert_eq!(ask("text/plain").status, 415);
    let told = ask("application/json").json();
    assert_eq!((&told["decision"], &told["reason"]), (&"deny".into(), &"role_missing".into()), "{told}");
    assert_eq!(told["what_if"][0]["decision"], "allow");
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["explain", "-X", "DELETE", "/orders/42", "--ip", "203.0.113.9", "--as", "alice"])
        .args(["--role", "orders-reader", "--what-if-role", "orders-admin", "--format", "json", "-c"])
        .arg(gateway.folder().join("portcullis.toml"))
        .output()
        .expect("it runs");
    let mut printed: Value = serde_json::from_slice(&command.stdout).expect("JSON");
    let mut told = told;
    for document in [&mut printed, &mut told] {
        // The time of asking, and what only the command assumes.
        document["request"]["time"] = Value::Null;
        document["assumed"] = Value::Null;
        document["rule"]["at"] = Value::Null;
    }
    let places = |document: &Value| document.to_string().replace(&gateway.folder().display().to_string(), "");
    assert_eq!(places(&printed), places(&told));
    let unknown = operator.send("POST", "/api/explain", &json!({"target": "/", "roles": ["raeder"]}));
    assert_eq!(unknown.status, 422);
    let unknown = operator.send("POST", "/api/explain", &json!({"target": "/", "rolls": []}));
    assert_eq!(unknown.status, 400);
    for (field, value, why) in [
        ("at", json!("noon"), "at: `noon` is no time; give a time such as"),
        ("ip", json!("here"), "ip: `here` is no address; give an address such as"),
        (
            "what_if_ip",
            json!(["192.0.2.1", "there"]),
            "what_if_ip: `there` is no address; give a list of addresses",
        ),
        (
            "headers",
            json!({"accept": "text/html"}),
            "headers: it is an object; give a list of pairs of name and",
        ),
        ("headers", json!([["accept"]]), "headers: item 1 is a list of 1; give a list of pairs of name and"),
        ("roles", json!("orders-reader"), "roles: it is a text; give a list of roles"),
    ] {
        let bad = operator.send("POST", "/api/explain", &json!({"target": "/", field: value}));
        // In our words, with which parameter it is.
        assert_eq!((bad.status, bad.header("content-type")), (400, Some("application/problem+json")));
        let told = bad.json();
        let said = told["error"].as_str().expect("said");
        assert!(said.contains(why) && told["parameter"] == *field, "{field}: {told}");
    }
    let many =
        json!({"target": "/", "what_if_ip": vec!["192.0.2.1"; 9], "what_if_role": vec!["orders-admin"; 8]});
    let many = operator.send("POST", "/api/explain", &many);
    assert!(many.status == 422 && many.text().contains("17 are too many, 16 at most"), "{}", many.text());
}

#[test]
fn a_question_is_asked_beside_with_other_tokens_times_and_policies() {
    let secret = "a secret that nobody guesses: 7c1b5e4f0d3a";
    let source = "\n[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.test\"\naudience = [\"orders\"]\n\
                  algorithms = [\"HS256\"]\nsecret_file = \"secret\"\nroles = \"roles\"\n\
                  roles_allowed = [\"orders-admin\"]\n";
    let until = "\nuntil = 2100-01-01T00:00:00Z\n";
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n";
    let grant = "id = \"orders-write\"\n";
    let config = CONFIG.replace(grant, &format!("{grant}{until}"));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), secret).expect("written");
    let gateway = Gateway::start_in(folder, &format!("{config}{source}{server}"), &[]);
    let operator = Operator::of(&gateway);
    replace(&gateway, &operator, HOME, "roles = [\"orders-reader\"]\npath = \"/\"");
    let claims = json!({"iss": "https://id.test", "aud": "orders", "sub": "alice", "exp": 4_000_000_000_u64, "roles": ["orders-admin"]});
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("a token");
    let ask = |question: Value| {
        let answer = operator.send("POST", "/api/explain", &question);
        assert!(
            !answer.text().contains(&token) && !answer.text().contains("not.a.token"),
            "{}",
            answer.text()
        );
        answer
    };
    let answer = ask(json!({
        "method": "DELETE", "target": "/orders/42", "what_if_token": [token, "not.a.token"],
        "what_if_at": ["2100-01-02T00:00:00Z"],
    }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["decision"], "deny");
    let said: Vec<&str> = told["what_if"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["conclusion"].as_str().expect("words"))
        .collect();
    assert_eq!(said[0], "with the given token 1: allowed, so it is the missing credential");
    assert!(said[1].starts_with("with the given token 2: refused earlier, by authn/malformed"), "{said:?}");
    assert!(said[2].starts_with("at 2100-01-02T00:00:00Z: still refused"), "{said:?}");
    assert_eq!((&told["what_if"][0]["token"], &told["what_if"][1]["token"]), (&"1".into(), &"2".into()));
    // The time of the grant, and the policy of before.
    let told = ask(json!({
        "method": "DELETE", "target": "/orders/42", "roles": ["orders-admin"], "what_if_at": ["2100-01-02T00:00:00Z"],
    })).json();
    assert_eq!((&told["decision"], &told["what_if"][0]["decision"]), (&"allow".into(), &"deny".into()));
    let told = ask(json!({"target": "/", "what_if_policy": ["-1", "2"]})).json();
    let said = [&told["what_if"][0], &told["what_if"][1]];
    assert_eq!(
        (&told["decision"], &said[0]["decision"], &said[1]["decision"]),
        (&"deny".into(), &"allow".into(), &"deny".into())
    );
    assert!(said[0]["policy"].as_str().is_some_and(|policy| policy.starts_with("the policy 1-")), "{told}");
    let description = operator.read("/api/openapi.json");
    conforms(&description, &json!({"$ref": "#/components/schemas/Explanation"}), &told);
    // The form of the page asks the same of a policy that is kept.
    let policy = said[0]["policy"].as_str().expect("a name").trim_start_matches("the policy ");
    let page = get_local(operator.admin, "/what-if").text();
    assert!(page.contains(&format!("<option value=\"{policy}\">{policy} of ")), "{page}");
    let page = get_local(operator.admin, &format!("/what-if?target=/&policy={policy}")).text();
    assert!(page.contains("<b>Allowed</b> by <code>rbac&#x2f;home"), "{page}");
    assert!(page.contains(&format!("by the policy {policy}, which is not in force")), "{page}");
    // What is wrong is said, and never what was written.
    for (question, status, why) in [
        (json!({"target": "/", "what_if_policy": ["7"]}), 422, "there is no policy `7` in the history"),
        (json!({"target": "/", "what_if_policy": ["../portcullis.toml"]}), 422, "there is no policy"),
        (
            json!({"target": "/", "what_if_policy": ["1", "1", "1", "1", "1"]}),
            422,
            "5 are too many, 4 at most",
        ),
        (json!({"target": "/", "what_if_at": vec!["2100-01-02T00:00:00Z"; 17]}), 422, "17 are too many"),
        (json!({"target": "/", "what_if_token": token}), 400, "what_if_token: it is a text; give a list"),
        (
            json!({"target": "/", "what_if_token": [format!("{token}\n{token}")]}),
            422,
            "cannot stand in a header",
        ),
        (
            json!({"target": "/", "headers": [["authorization", format!("{token}\r\n")]]}),
            422,
            "`authorization` has characters",
        ),
        (json!({"target": "/", "headers": [token]}), 400, "headers: item 1 is a text; give a list"),
    ] {
        let answer = ask(question);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
    }
    for name in ["decisions.jsonl", "state/history.log"] {
        let kept = std::fs::read_to_string(gateway.folder().join(name)).unwrap_or_default();
        assert!(!kept.contains(&token), "{name}: {kept}");
    }
}

#[test]
fn the_history_is_as_the_description_says_whoever_it_is_about() {
    let (gateway, operator) = with_history(CONFIG);
    let subjects: Vec<String> = (10..35).map(|number| format!("\"subject-{number}\"")).collect();
    let ledger = format!("id = \"ledger\"\nsubjects = [{}]\npath = \"/ledger\"\n", subjects.join(", "));
    let first = "[[rbac.grant]]\nid = \"home\"\n";
    replace(&gateway, &operator, first, &format!("[[rbac.grant]]\n{ledger}{first}"));
    gateway.write_config("nonsense = 1\n");
    assert_eq!(operator.send("POST", "/api/reload", &Value::Null).status, 422);
    let told = operator.read("/api/history");
    let description = operator.read("/api/openapi.json");
    conforms(&description, &description["components"]["schemas"]["History"], &told);
    let entries = told["history"].as_array().expect("a list");
    let kinds: Vec<&Value> = entries.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["refused", "accepted", "accepted"]);
    let cells = entries[1]["difference"]["cells"].as_array().expect("a list");
    let of_subjects = |cell: &&Value| cell["subjects"].is_array();
    let cell = cells.iter().find(|cell| of_subjects(cell));
    if let Some(cell) = cell {
        assert_eq!(
            (cell["subjects"].as_array().map(Vec::len), &cell["more_subjects"]),
            (Some(20), &5.into())
        );
    }
    assert!(cell.is_some(), "{told}");
    // A line that the description does not know is found.
    let mut other = told.clone();
    other["history"][1]["difference"]["cells"][0]["subject"] = "x".into();
    let schema = json!({ "allOf": [description["components"]["schemas"]["History"]], "components": description["components"] });
    let validator = jsonschema::draft202012::options().build(&schema).expect("a schema");
    assert!(validator.is_valid(&told) && !validator.is_valid(&other));
}

#[test]
fn the_policy_tells_what_each_rule_does() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    get(gateway.address, "/");
    get(gateway.address, "/secret");
    operator.decisions("", 2);
    let policy = operator.read("/api/policy");
    let rule = |name: &str| {
        let rules = policy["rules"].as_array().expect("a list");
        rules
            .iter()
            .find(|rule| rule["rule"] == name)
            .unwrap_or_else(|| panic!("no {name} in {policy}"))
            .clone()
    };
    assert_eq!(rule("rbac/home")["hits"]["allowed"], 1);
    assert!(rule("rbac/home")["text"].as_str().expect("text").contains("id = \"home\""));
    assert!(rule("rbac/home")["hits"]["last"].is_string());
    assert_eq!(rule("rbac/orders-read")["hits"]["allowed"], 0);
    assert!(rule("rbac/orders-read")["hits"]["last"].is_null());
    assert_eq!(rule("rbac/default-deny")["hits"]["share_refused"], 0.5);
}

#[test]
fn a_rule_that_was_hit_before_it_went_out_of_the_policy_is_listed_as_such() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    get(gateway.address, "/");
    operator.decisions("", 1);
    gateway.write_config(&CONFIG.replace("id = \"home\"", "id = \"entry\""));
    assert_eq!(operator.send("POST", "/api/reload", &Value::Null).status, 200);
    let policy = operator.read("/api/policy");
    let rules = policy["rules"].as_array().expect("a list");
    let gone = rules.iter().find(|rule| rule["rule"] == "rbac/home").expect("it was hit");
    assert_eq!((&gone["mode"], &gone["builtin"]), (&"gone".into(), &false.into()), "{gone}");
    let page = get_local(operator.admin, "/rules");
    assert_eq!(page.status, 200);
    let page = page.text();
    for text in ["rbac&#x2f;home", "rbac&#x2f;entry", "no longer in the policy", "<nav"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

/// A gateway that keeps its history.
fn with_history(config: &str) -> (Gateway, Operator) {
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start_in(folder, &format!("{config}\n{server}"), &[]);
    let operator = Operator::of(&gateway);
    (gateway, operator)
}

fn replace(gateway: &Gateway, operator: &Operator, from: &str, to: &str) {
    let path = gateway.folder().join("portcullis.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    assert!(text.contains(from), "{from}");
    std::fs::write(&path, text.replace(from, to)).expect("written");
    assert_eq!(operator.send("POST", "/api/reload", &Value::Null).status, 200);
}

const HOME: &str = "roles = [\"anyone\"]\npath = \"/\"";

#[test]
fn a_refusal_after_a_change_of_the_policy_names_the_change() {
    let (gateway, operator) = with_history(CONFIG);
    assert_eq!(get(gateway.address, "/").status, 200);
    replace(&gateway, &operator, HOME, "roles = [\"orders-reader\"]\npath = \"/\"");
    let refused = get(gateway.address, "/");
    let id = refused.header("x-request-id").expect("set").to_owned();
    operator.decisions("decision=deny", 1);
    let told = operator.read(&format!("/api/decisions/{id}"));
    let about = &told["about"];
    assert_eq!((&about["judged_by"], &about["now"]), (&"in_force".into(), &Value::Null), "{told}");
    let change = &about["change"];
    assert_eq!(change["before"], "let this request pass, by rbac/home", "{told}");
    assert_eq!((&change["rules"][0]["rule"], &change["trigger"]), (&"rbac/home".into(), &"api".into()));
    assert_eq!(about["refused_since"], Value::Null);
    // What was taken from whom, and nothing is concluded from how many it concerns: as `why` has it.
    assert_eq!((&change["lost"][0]["role"], &change["lost"][0]["path"]), (&"anyone".into(), &"/".into()));
    assert_eq!((&about["others"]["refused"], &about["others"]["scope"]), (&1.into(), &Value::Null), "{told}");
    let description = operator.read("/api/openapi.json");
    conforms(&description, &json!({"$ref": "#/components/schemas/Decision"}), &told);
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    for (why, here) in [("change", change), ("refused_since", &about["refused_since"])] {
        assert_eq!(&told[why], here);
    }
    assert_eq!(told["conclusion"], about["others"]["scope"]);
    let page = get_local(operator.admin, &format!("/decisions/{id}")).text();
    for text in ["The policy changed <b>", "<b>anyone</b> lost ", "The change above accounts for it"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    // What was refused from the first policy on is of no change.
    let refused = get(gateway.address, "/nothing");
    let id = refused.header("x-request-id").expect("set").to_owned();
    operator.decisions("decision=deny", 2);
    let told = operator.read(&format!("/api/decisions/{id}"));
    assert_eq!(told["about"]["change"], Value::Null, "{told}");
    assert_eq!(told["about"]["refused_since"]["since_the_first"], true, "{told}");
    let page = get_local(operator.admin, &format!("/decisions/{id}")).text();
    assert!(
        page.contains("<b>Nothing else of this was refused by it, so look at this one request.</b>"),
        "{page}"
    );
    let told_by_why = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!(told_by_why["refused_since"], told["about"]["refused_since"]);
}

#[test]
fn a_decision_is_judged_again_by_the_policy_that_made_it_and_the_one_in_force_is_told_apart() {
    let (gateway, operator) =
        with_history(&CONFIG.replace(HOME, "roles = [\"orders-reader\"]\npath = \"/\""));
    let refused = get(gateway.address, "/");
    let id = refused.header("x-request-id").expect("set").to_owned();
    let policy = refused.header("x-portcullis-policy").expect("set").to_owned();
    operator.decisions("decision=deny", 1);
    replace(&gateway, &operator, "roles = [\"orders-reader\"]\npath = \"/\"", HOME);
    let told = operator.read(&format!("/api/decisions/{id}"));
    let about = &told["about"];
    assert_eq!((&about["judged_by"], &about["judged_policy"]), (&"kept".into(), &policy.into()), "{told}");
    assert_eq!((&about["again"]["decision"], &about["same_decision"]), (&"deny".into(), &true.into()));
    assert_eq!((&about["now"]["decision"], &about["now"]["rule"]), (&"allow".into(), &"rbac/home".into()));
    let page = get_local(operator.admin, &format!("/decisions/{id}")).text();
    assert!(page.contains("lets this request pass, by <code>rbac&#x2f;home"), "{page}");
    // Where the policy that decided is not kept, the page says by which it judges instead.
    std::fs::remove_dir_all(gateway.folder().join("state/texts")).expect("kept");
    let about = &operator.read(&format!("/api/decisions/{id}"))["about"];
    assert_eq!((&about["judged_by"], &about["again"]["decision"]), (&"other".into(), &"allow".into()));
    let page = get_local(operator.admin, &format!("/decisions/{id}")).text();
    assert!(page.contains("which decided then, is not to be had"), "{page}");
}

#[test]
fn what_if_takes_along_what_the_record_keeps_of_claims_and_fields() {
    let grant = "\n[network]\noffice = [\"127.0.0.0/8\", \"192.0.2.0/24\"]\n\n[[rbac.grant]]\nid = \"reports\"\nroles = [\"orders-reader\"]\npath = \"/reports\"\nwhen = \"header.x-dept == 'sales' and client.ip in office\"\n";
    let gateway = Gateway::start(&format!("{CONFIG}{grant}"));
    let operator = Operator::of(&gateway);
    let answer = request(gateway.address, "GET", "/reports", &[KEY, ("x-dept", "sales")], b"");
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id").expect("set").to_owned();
    operator.decisions("", 1);
    let page = get_local(operator.admin, &format!("/decisions/{id}")).text();
    assert!(page.contains(">x-dept: sales</textarea>"), "{page}");
    let asked = "method=GET&target=/reports&ip=192.0.2.5&subject=reader&roles=orders-reader";
    let with = get_local(operator.admin, &format!("/decisions/{id}?{asked}&headers=x-dept:+sales")).text();
    assert!(with.contains("<b>Allowed</b> by <code>rbac&#x2f;reports"), "{with}");
}

#[test]
fn a_banned_address_is_refused_until_the_ban_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxies =
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\nstate_dir = \"state\"\n";
    let config = format!("{CONFIG}\n{proxies}\n[ip]\nnever_ban = [\"192.0.2.0/24\"]\n");
    let gateway = Gateway::start_in(folder, &config, &[]);
    let operator = Operator::of(&gateway);
    let from = |address: &str| request(gateway.address, "GET", "/", &[("X-Forwarded-For", address)], b"");
    assert_eq!(from("203.0.113.9").status, 200);
    let wanted = json!({"address": "203.0.113.9", "for": "1h", "reason": "scans"});
    let made = operator.send("POST", "/api/bans", &wanted);
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["by"], "alice, from 127.0.0.1");
    let refused = from("203.0.113.9");
    assert_eq!((refused.status, refused.rule()), (403, "ip/banned"));
    assert_eq!(refused.json()["temporary"], true);
    let left: u64 = refused.header("retry-after").expect("set").parse().expect("a number");
    assert!((3_500..=3_600).contains(&left), "{left}");
    assert_eq!(from("203.0.113.8").status, 200);
    // The same by network, and an address that no ban concerns.
    let wanted = json!({"address": "192.0.0.0/16", "for": "10m"});
    let made = operator.send("POST", "/api/bans", &wanted);
    assert_eq!((made.status, &made.json()["spared"]), (201, &json!(["192.0.2.0/24"])), "{}", made.text());
    assert_eq!((from("192.0.3.1").rule(), from("192.0.2.1").status), ("ip/banned", 200));
    let never = operator.send("POST", "/api/bans", &json!({"address": "192.0.2.1", "for": "10m"}));
    assert_eq!(never.status, 409);
    assert!(never.text().contains("never_ban"), "{}", never.text());
    let never = operator.send("POST", "/api/bans", &json!({"address": "192.0.2.128/25", "for": "10m"}));
    assert!(never.status == 409 && never.text().contains("192.0.2.0/24"), "{}", never.text());
    for wrong in [
        json!({"address": "203.0.113.9"}),
        json!({"address": "203.0.113.9", "for": "for ever"}),
        json!({"address": "0.0.0.0/0", "for": "1h"}),
        json!({"address": "here", "for": "1h"}),
        json!({"address": "203.0.113.9", "for": "1h", "until": "never"}),
        json!({"address": "203.0.113.9", "for": "1h", "reason": "x".repeat(501)}),
        json!({"address": "203.0.113.9", "for": "1h", "reason": "a\u{202e}b"}),
        json!({"address": "203.0.113.9", "for": "1h", "reason": "a\u{1b}[2Jb"}),
        json!({"address": "203.0.113.9\u{202e}", "for": "1h"}),
        json!({"address": "203.0.113.9", "for": "8785h"}),
    ] {
        let answer = operator.send("POST", "/api/bans", &wrong);
        assert!(matches!(answer.status, 400 | 422), "{wrong}: {}", answer.text());
    }
    let listed = operator.read("/api/bans");
    assert_eq!(listed["bans"][0]["address"], "192.0.0.0/16", "the first that ends first: {listed}");
    assert_eq!(listed["bans"].as_array().expect("a list").len(), 2, "{listed}");
    // Whoever explains the address is told of the ban.
    let told = operator.send("POST", "/api/explain", &json!({"target": "/", "ip": "203.0.113.9"})).json();
    assert_eq!(told["rule"]["name"], "ip/banned");
    let ended = operator.send("DELETE", "/api/bans?address=203.0.113.9", &Value::Null);
    assert_eq!(ended.status, 200, "{}", ended.text());
    assert_eq!(from("203.0.113.9").status, 200);
    assert_eq!(operator.send("DELETE", "/api/bans?address=203.0.113.9", &Value::Null).status, 404);
    let covered = operator.send("DELETE", "/api/bans?address=192.0.3.1", &Value::Null);
    assert!(covered.text().contains("a ban of 192.0.0.0/16 covers it"), "{}", covered.text());
    let changes = operator.read("/api/history")["changes"].clone();
    assert!(changes[0]["what"].as_str().is_some_and(|what| what.starts_with("ended the ban of 203.0.113.9")));
    assert_eq!(changes[0]["who"], "alice, from 127.0.0.1");
}

#[test]
fn no_ban_is_as_wide_as_a_policy() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    for wide in ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/15", "::/1", "8000::/1", "2000::/18", "::/0"] {
        let refused = operator.send("POST", "/api/bans", &json!({"address": wide, "for": "1h"}));
        let said = refused.text();
        assert_eq!(refused.status, 422, "{wide}: {said}");
        assert!(said.contains("/16") && said.contains("/19") && said.contains("[[ip.rule]]"), "{said}");
    }
    assert_eq!(operator.read("/api/bans"), json!({"bans": []}));
    for narrow in ["10.0.0.0/16", "2000::/19"] {
        let made = operator.send("POST", "/api/bans", &json!({"address": narrow, "for": "1h"}));
        assert_eq!(made.status, 201, "{narrow}: {}", made.text());
    }
    assert_eq!(get(gateway.address, "/").status, 200);
}

#[test]
fn a_ban_that_lost_its_effect_says_so() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let wanted = json!({"address": "127.0.0.1", "for": "1h"});
    assert_eq!(operator.send("POST", "/api/bans", &wanted).status, 201);
    let refused = get(gateway.address, "/");
    assert_eq!(refused.rule(), "ip/banned");
    let id = refused.header("x-request-id").expect("set").to_owned();
    operator.decisions("rule=ip/banned", 1);
    let page = || get_local(operator.admin, &format!("/decisions/{id}")).text();
    assert!(page().contains("the end of the ban of"));
    gateway.write_config(&format!("{CONFIG}\n[ip]\nnever_ban = [\"127.0.0.0/8\"]\n"));
    assert_eq!(operator.send("POST", "/api/reload", &Value::Null).status, 200);
    assert_eq!(get(gateway.address, "/").status, 200);
    let listed = operator.read("/api/bans");
    assert_eq!(
        (&listed["bans"][0]["without_effect"], &listed["bans"][0]["spared"]),
        (&true.into(), &json!(["127.0.0.0/8"])),
        "{listed}"
    );
    assert!(!page().contains("the end of the ban of"));
    assert!(get_local(operator.admin, "/bans").text().contains("without effect"));
    // Whoever explains the address is told both.
    let told = operator.send("POST", "/api/explain", &json!({"target": "/", "ip": "127.0.0.1"})).json();
    assert!(told["decision"] == "allow" && told.to_string().contains("but `never_ban` lists it"), "{told}");
}

#[test]
fn nothing_that_was_sent_or_written_decides_how_the_page_reads() {
    const TURN: char = '\u{202e}';
    let folder = tempfile::tempdir().expect("a folder");
    // A book of an earlier release, which took any reason.
    std::fs::create_dir(folder.path().join("state")).expect("a folder");
    let ban = json!([{"net": "203.0.113.9/32", "until": "2099-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z",
        "reason": "a\u{202e}b\u{1b}", "by": "eve\u{2066}"}]);
    std::fs::write(folder.path().join("state/bans.json"), ban.to_string()).expect("written");
    let state = "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n\
                 [waf]\n[[waf.rule]]\nid = \"any\"\naction = \"deny\"\ntargets = [\"query\"]\n\
                 match = { contains = \"attack\" }\n\
                 [[rbac.deny]]\nid = \"strange\"\npath = \"/strange\"\nreason = \"a\\u202eb\"\n\
                 [log]\nsink = { file = \"decisions.jsonl\" }\nheaders = [\"user-agent\"]\nwaf_data = 64\n";
    let gateway = Gateway::start_in(folder, &format!("{CONFIG}\n{state}"), &[]);
    let operator = Operator::of(&gateway);
    let agent = [("User-Agent", "x\u{202e}y\u{200b}")];
    request(gateway.address, "GET", "/?%E2%80%AEname=attack%E2%80%AE", &agent, b"");
    request(gateway.address, "GET", "/strange\u{202e}raw", &agent, b"");
    request(gateway.address, "GET", "/strange", &agent, b"");
    let seen = operator.decisions("", 3);
    assert!(seen.iter().any(|record| record.to_string().contains(TURN)), "{seen:?}");
    let mut paths = ["/", "/rules", "/waf", "/bans", "/history"].map(str::to_owned).to_vec();
    paths.extend(
        seen.iter().map(|record| format!("/decisions/{}", record["decision_id"].as_str().expect("an id"))),
    );
    let mut escaped = 0;
    for path in paths {
        let page = get_local(operator.admin, &path);
        assert_eq!(page.status, 200, "{path}");
        let text = page.text();
        let bad = text.chars().find(|c| matches!(c, '\u{1b}' | '\u{200b}' | '\u{202e}' | '\u{2066}'));
        assert_eq!(bad, None, "{path}: {text}");
        escaped += text.matches("\\u{202e}").count() + text.matches("\\u202E").count();
    }
    assert!(escaped > 4, "{escaped}");
    let bans = get_local(operator.admin, "/bans").text();
    assert!(bans.contains("a\\u{202e}b\\u{1b}") && bans.contains("eve\\u{2066}"), "{bans}");
    // A link puts no words into a command that an operator copies.
    let missing = get_local(operator.admin, "/decisions/x;reboot").text();
    assert!(!missing.contains("portcullis why"), "{missing}");
}

#[test]
fn bans_outlive_the_process_and_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let config = format!("{CONFIG}\n[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = {:?}\n", state);
    let gateway = Gateway::start(&config);
    let operator = Operator::of(&gateway);
    let wanted = json!({"address": "127.0.0.1", "for": "1h"});
    assert_eq!(operator.send("POST", "/api/bans", &wanted).status, 201);
    assert_eq!(operator.send("POST", "/api/reload", &Value::Null).status, 200);
    assert_eq!(get(gateway.address, "/").rule(), "ip/banned");
    drop(gateway);
    let again = Gateway::start(&config);
    assert_eq!(get(again.address, "/").rule(), "ip/banned");
    drop(again);
    // Without the book somebody who is banned would pass.
    std::fs::write(state.join("bans.json"), "[{").expect("written");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "-c"])
        .arg(write_config(&config))
        .output()
        .expect("it runs");
    assert!(!run.status.success());
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("bans.json") && said.contains("mend or remove the file"), "{said}");
}

fn write_config(config: &str) -> std::path::PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let path = folder.join("portcullis.toml");
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&path, format!("version = 1\n{config}\n{admin}")).expect("written");
    path
}

#[test]
fn trails_are_kept_for_what_was_asked_and_no_longer() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let trail = |query: &str, count: usize| {
        let found = operator.decisions(query, count);
        let id = found[0]["decision_id"].as_str().expect("an id").to_owned();
        operator.read(&format!("/api/decisions/{id}"))["about"]["trail"].clone()
    };
    get(gateway.address, "/early");
    assert!(trail("path=/early", 1).is_null());
    let wanted = json!({"for": "10m", "routes": ["orders"], "subject": "reader", "ips": ["127.0.0.0/8"]});
    let begun = operator.send("PUT", "/api/log-level", &wanted);
    assert_eq!((begun.status, begun.json()["verbose"].clone()), (200, true.into()), "{}", begun.text());
    get(gateway.address, "/other");
    get(gateway.address, "/orders/nobody");
    request(gateway.address, "GET", "/orders/7", &[KEY], b"");
    assert!(trail("path=/other", 1).is_null());
    assert!(trail("path=/orders/nobody", 1).is_null());
    let kept = trail("path=/orders/7", 1);
    let steps = kept.as_array().unwrap_or_else(|| panic!("no trail: {kept}"));
    assert!(
        steps.iter().any(|step| step["rule"] == "rbac/orders-read" && step["outcome"] == "pass"),
        "{kept}"
    );
    assert!(!kept.to_string().contains("demo-reader-key"), "{kept}");
    assert_eq!(operator.send("DELETE", "/api/log-level", &Value::Null).json()["verbose"], false);
    request(gateway.address, "GET", "/orders/8", &[KEY], b"");
    assert!(trail("path=/orders/8", 1).is_null());
    let lacking = operator.send("PUT", "/api/log-level", &json!({}));
    assert_eq!((lacking.status, &lacking.json()["parameter"]), (400, &"for".into()));
    for (wrong, why) in [
        (json!({"for": "10m", "routes": ["oders"]}), "did you mean `orders`?"),
        (json!({"for": "10m", "ips": ["x"]}), "ips: `x` is not an address or network"),
        (json!({"for": "25h"}), "24h at most"),
        (json!({"for": "8784h"}), "24h at most"),
        (json!({"for": "10m", "routes": vec!["orders"; 33]}), "routes: 33 are too many, 32 at most"),
        (json!({"for": "10m", "routes": ["o".repeat(65)]}), "routes: 65 characters are too many"),
        (json!({"for": "10m", "ips": vec!["192.0.2.1"; 65]}), "ips: 65 are too many, 64 at most"),
        (json!({"for": "10m", "subject": "x".repeat(257)}), "longer than 256 bytes"),
        (json!({"for": "10m", "subject": "a\nb"}), "control characters"),
    ] {
        let refused = operator.send("PUT", "/api/log-level", &wrong);
        assert_eq!(refused.status, 422, "{wrong}");
        assert!(
            refused.json()["error"].as_str().is_some_and(|said| said.contains(why)),
            "{}",
            refused.text()
        );
    }
    assert_eq!(operator.send("PUT", "/api/log-level", &json!({"for": "24h"})).status, 200);
}

#[test]
fn nothing_is_changed_without_the_token_and_nothing_is_read_from_elsewhere() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    for (method, path) in [
        ("POST", "/api/bans"),
        ("DELETE", "/api/bans?address=192.0.2.1"),
        ("PUT", "/api/log-level"),
        ("DELETE", "/api/log-level"),
        ("POST", "/api/reload"),
    ] {
        let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
        let answer = request(admin, method, path, &fields, br#"{"address":"192.0.2.1","for":"1h"}"#);
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(answer.header("www-authenticate").is_some());
    }
    for path in
        ["/", "/rules", "/bans", "/decisions/x", "/api/decisions", "/api/policy", "/api/bans", "/api/history"]
    {
        for fields in [
            &[("Host", "gateway.example")][..],
            &[("Host", "localhost"), ("Origin", "https://evil.test")],
            &[("Host", "localhost"), ("Origin", "null")],
        ] {
            assert_eq!(request(admin, "GET", path, fields, b"").status, 401, "{path} {fields:?}");
        }
        let answer = get_local(admin, path);
        let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.iter().any(|name| name.starts_with("access-control-")), "{path}: {names:?}");
        assert!(
            answer
                .header("content-security-policy")
                .is_some_and(|policy| policy.contains("default-src 'none'"))
        );
    }
}

#[test]
fn whoever_may_open_the_socket_needs_no_token() {
    let config = format!("{CONFIG}\n[admin]\nlisten = \"127.0.0.1:0\"\nsocket = \"admin.sock\"\n");
    let gateway = Gateway::start(&config);
    let mut stream = UnixStream::connect(gateway.folder().join("admin.sock")).expect("a socket");
    let body = r#"{"address":"203.0.113.9","for":"1h"}"#;
    let head = format!(
        "POST /api/bans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("sent");
    let answer = read_response(&mut stream, false).expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.json()["by"].as_str().is_some_and(|by| by.starts_with("user ")), "{}", answer.text());
}

#[test]
fn a_decision_that_is_in_memory_no_more_is_found_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("kept.jsonl");
    let config = format!("{CONFIG}\n[log]\nsink = {{ file = {log:?} }}\n");
    let first = Gateway::start(&config);
    let id = get(first.address, "/secret").header("x-request-id").expect("set").to_owned();
    drop(first);
    let gateway = Gateway::start(&config);
    let operator = Operator::of(&gateway);
    assert_eq!(operator.read("/api/decisions")["kept"], 0);
    let told = operator.read(&format!("/api/decisions/{id}"));
    assert_eq!((&told["request_id"], &told["about"]["same_decision"]), (&id.clone().into(), &true.into()));
    assert!(get_local(operator.admin, &format!("/decisions/{id}")).text().contains("secret"));
}

#[test]
fn bans_and_trails_end_by_themselves() {
    let mut gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let wanted = json!({"address": "127.0.0.1", "for": "1s"});
    assert_eq!(operator.send("POST", "/api/bans", &wanted).status, 201);
    assert_eq!(operator.send("PUT", "/api/log-level", &json!({"for": "1s"})).status, 200);
    gateway.wait_for("a ban has ended");
    gateway.wait_for("the time of full trails has ended");
    assert_eq!(get(gateway.address, "/").status, 200);
    assert_eq!(operator.read("/api/bans"), json!({"bans": []}));
    assert_eq!(operator.read("/api/log-level")["verbose"], false);
}

#[test]
fn without_a_log_there_are_no_records_and_that_is_said() {
    let gateway = Gateway::start(&format!("{CONFIG}\n[log]\nsink = \"none\"\n"));
    let operator = Operator::of(&gateway);
    let refused = get(gateway.address, "/secret");
    let id = refused.header("x-request-id").expect("set");
    let found = operator.read("/api/decisions");
    assert_eq!((&found["log"], &found["kept"]), (&false.into(), &0.into()), "{found}");
    let gone = get_local(operator.admin, &format!("/api/decisions/{id}"));
    assert!(gone.status == 404 && gone.text().contains("the decision log is off"), "{}", gone.text());
    assert!(get_local(operator.admin, "/").text().contains("The decision log is off"));
    // Counts go on.
    assert_eq!(operator.read("/api/policy")["refused"], 1);
}

/// Server-sent events, one after the other.
struct Events {
    lines: BufReader<Chunks>,
}

impl Events {
    fn open(admin: SocketAddr, path: &str) -> Events {
        let mut stream = TcpStream::connect(admin).expect("it listens");
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).expect("a status");
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line.trim() != "" {
            line.clear();
            stream.read_line(&mut line).expect("a field");
        }
        Events { lines: BufReader::new(Chunks { stream, left: 0 }) }
    }

    fn next(&mut self) -> (String, Value) {
        let (mut kind, mut data) = (String::new(), Value::Null);
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("a line"), 0, "the events ended");
            match line.trim_end().split_once(':') {
                Some(("event", text)) => kind = text.trim().to_owned(),
                Some(("data", text)) => data = serde_json::from_str(text).expect("JSON"),
                _ if line.trim().is_empty() && !kind.is_empty() => return (kind, data),
                _ => {}
            }
        }
    }
}

/// The content of a chunked body.
struct Chunks {
    stream: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut size = String::new();
            if self.stream.read_line(&mut size)? == 0 {
                return Ok(0);
            }
            if !size.trim().is_empty() {
                self.left = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            }
        }
        let wanted = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}

#[test]
fn answers_are_as_the_description_says() {
    let gateway = Gateway::start(CONFIG);
    let operator = Operator::of(&gateway);
    let description = operator.read("/api/openapi.json");
    let refused = request(gateway.address, "DELETE", "/orders/42", &[KEY], b"");
    let id = refused.header("x-request-id").expect("set").to_owned();
    operator.decisions("decision=deny", 1);
    let question = json!({"method": "DELETE", "target": "/orders/42", "roles": ["orders-reader"]});
    let ban = json!({"address": "203.0.113.9", "for": "1h", "reason": "scans"});
    let trails = json!({"for": "10m", "routes": ["orders"], "ips": ["203.0.113.9"]});
    for (method, template, path, body, status) in [
        ("GET", "/api/status", "/api/status", Value::Null, 200),
        ("GET", "/api/decisions", "/api/decisions", Value::Null, 200),
        ("GET", "/api/decisions", "/api/decisions?limit=0", Value::Null, 400),
        ("GET", "/api/decisions", "/api/decisions?stage=limbo", Value::Null, 400),
        ("GET", "/api/history", "/api/history?limit=1", Value::Null, 400),
        ("GET", "/api/decisions/{id}", &format!("/api/decisions/{id}"), Value::Null, 200),
        ("GET", "/api/decisions/{id}", "/api/decisions/nobody", Value::Null, 404),
        ("POST", "/api/explain", "/api/explain", question, 200),
        ("POST", "/api/explain", "/api/explain", json!({"target": "x"}), 422),
        ("POST", "/api/explain", "/api/explain", json!({"targets": "x"}), 400),
        ("GET", "/api/policy", "/api/policy", Value::Null, 200),
        ("PUT", "/api/log-level", "/api/log-level", trails, 200),
        ("GET", "/api/log-level", "/api/log-level", Value::Null, 200),
        ("DELETE", "/api/log-level", "/api/log-level", Value::Null, 200),
        ("POST", "/api/bans", "/api/bans", ban, 201),
        ("POST", "/api/bans", "/api/bans", json!({"address": "x", "for": "1h"}), 422),
        ("GET", "/api/bans", "/api/bans", Value::Null, 200),
        ("DELETE", "/api/bans", "/api/bans?address=203.0.113.9", Value::Null, 200),
        ("DELETE", "/api/bans", "/api/bans?address=203.0.113.9", Value::Null, 404),
        ("DELETE", "/api/bans", "/api/bans", Value::Null, 400),
        ("POST", "/api/reload", "/api/reload", Value::Null, 200),
        ("GET", "/api/history", "/api/history", Value::Null, 200),
    ] {
        let operation = &description["paths"][template][method.to_lowercase()];
        if status < 300 && !body.is_null() {
            conforms(&description, &operation["requestBody"]["content"]["application/json"]["schema"], &body);
        }
        let answer = operator.send(method, path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let kind = answer.header("content-type").expect("a kind");
        let described = &operation["responses"][status.to_string()]["content"][kind]["schema"];
        conforms(&description, described, &answer.json());
    }
    // Nothing stands in a record that is not described. (Its schema is a part of others, so it cannot forbid
    // what it does not know.)
    let known = description["components"]["schemas"]["Record"]["properties"].as_object().expect("members");
    request(gateway.address, "POST", "/orders/42", &[KEY, ("content-type", "application/json")], b"{}");
    operator.decisions("decision=deny", 2);
    let told = operator.read("/api/decisions");
    for record in told["decisions"].as_array().expect("a list") {
        let unknown = record.as_object().expect("a record").keys().find(|name| !known.contains_key(*name));
        assert_eq!(unknown, None, "{record}");
    }
    gateway.write_config("nonsense = 1\n");
    let answer = operator.send("POST", "/api/reload", &Value::Null);
    let described = &description["paths"]["/api/reload"]["post"]["responses"]["422"]["content"];
    conforms(&description, &described["application/json"]["schema"], &answer.json());
}

/// Whether a document is as a schema of the description says.
fn conforms(description: &Value, schema: &Value, document: &Value) {
    assert!(schema.is_object(), "not described: {document}");
    let whole = json!({ "allOf": [schema], "components": description["components"] });
    let validator = jsonschema::draft202012::options().build(&whole).expect("a schema");
    let problems: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?} in {document}");
}

#[test]
fn a_browser_from_elsewhere_is_asked_for_the_token_and_told_nothing() {
    let gateway = Gateway::start(CONFIG);
    let admin = gateway.admin.expect("an admin listener");
    let elsewhere = ("Host", "gateway.example");
    let browser = ("Accept", "text/html,application/xhtml+xml");
    for path in ["/", "/rules", "/decisions/x", "/history"] {
        let answer = request(admin, "GET", path, &[elsewhere, browser], b"");
        assert_eq!((answer.status, answer.header("content-type")), (401, Some("text/html; charset=utf-8")));
        assert!(answer.text().contains("This page needs the admin token"), "{path}");
        // What it says is the same of every gateway.
        assert_eq!(answer.text(), request(admin, "GET", "/waf", &[elsewhere, browser], b"").text());
        assert!(answer.header("www-authenticate").is_some());
        assert!(!request(admin, "GET", path, &[elsewhere], b"").text().contains('<'), "{path}");
    }
    // What that page is made of is part of the program.
    for path in ["/assets/page.css", "/assets/page.js", "/assets/icon.svg"] {
        assert_eq!(request(admin, "GET", path, &[elsewhere], b"").status, 200, "{path}");
    }
    // With the token there is everything.
    let token = std::fs::read_to_string(gateway.folder().join("admin.token")).expect("made at the start");
    let bearer = format!("Bearer {}", token.trim());
    let answer = request(admin, "GET", "/rules", &[elsewhere, browser, ("Authorization", &bearer)], b"");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("<h1>Rules</h1>"));
}

#[test]
fn certificates_have_their_names_and_their_end() {
    let folder = tempfile::tempdir().expect("a folder");
    Authority::new("test").server(&["app.test", "www.app.test"]).write(folder.path(), "app");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n\
                    tls = { certificates = [{ cert = \"app.pem\", key = \"app.key\" }] }\n";
    let more = "[upstream.demo]\nservers = [\"builtin:echo\"]\n[[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"demo\"\n\
                [[rbac.grant]]\nid = \"all\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";
    let gateway = Gateway::start_in(folder, &format!("{listener}{more}"), &[]);
    let admin = gateway.admin.expect("an admin listener");
    let status = get_local(admin, "/api/status").json();
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["names"], json!(["app.test", "www.app.test"]), "{status}");
    assert!(certificate["days_left"].as_i64().is_some_and(|days| days > 0), "{status}");
    assert!(certificate["file"].as_str().is_some_and(|file| file.ends_with("app.pem")), "{status}");
    let page = get_local(admin, "/upstreams").text();
    assert!(page.contains("app.test, www.app.test") && page.contains("app.pem"), "{page}");
}
