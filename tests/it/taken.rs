//! What a refusal by a built-in rule says of its last change: the policy that took away what is asked for.

use serde_json::Value;

use crate::support::command::about_folder;
use crate::support::{Gateway, get, request, wait_until};

fn config(grants: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"
[upstream.demo]
servers = ["builtin:echo"]
[[disclosure]]
level = "full"
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader"]
[rbac.role.reader]
[rbac.role.writer]
[[rbac.grant]]
id = "open"
roles = ["anyone"]
path = "/open"
{grants}
"#
    )
}

const ROUTE: &str = "[[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"demo\"\n";

fn grant(id: &str, rest: &str) -> String {
    format!("[[rbac.grant]]\nid = \"{id}\"\n{rest}\n")
}

fn become_generation(gateway: &Gateway, config: &str, wanted: u64) {
    gateway.write_config(config);
    wait_until(|| {
        let answer = get(gateway.address, "/open");
        answer.header("x-portcullis-policy")?.starts_with(&format!("{wanted}-")).then_some(())
    });
}

/// The body of a refusal, and the id.
fn refused(gateway: &Gateway, method: &str, path: &str) -> (Value, String) {
    let answer = request(gateway.address, method, path, &[("X-Api-Key", "abc")], b"");
    assert!(answer.status >= 400, "{path}");
    (answer.json(), answer.header("x-request-id").expect("an id").to_owned())
}

#[test]
fn a_default_deny_names_the_policy_that_took_the_grant() {
    let orders = grant("orders", "roles = [\"reader\"]\npath = \"/orders/{id}\"");
    let files = grant("files", "roles = [\"writer\"]\npath = \"/files/{id}\"");
    let gateway = Gateway::start(&config(&format!("{ROUTE}{orders}{files}")));
    // Refused since the first: nothing is known of a change.
    let (body, id) = refused(&gateway, "GET", "/files/7");
    assert_eq!(body["rule_changed"], Value::Null);
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!((&told["change"], &told["refused_since"]["since_the_first"]), (&Value::Null, &true.into()));
    // The second takes what the reader may do but read; the third is about something else.
    let reading = grant("orders", "roles = [\"reader\"]\nmethods = [\"GET\"]\npath = \"/orders/{id}\"");
    become_generation(&gateway, &config(&format!("{ROUTE}{reading}{files}")), 2);
    let other = grant("more", "roles = [\"writer\"]\npath = \"/more\"");
    become_generation(&gateway, &config(&format!("{ROUTE}{reading}{files}{other}")), 3);
    let (body, id) = refused(&gateway, "DELETE", "/orders/7");
    assert_eq!(body["rule"], "rbac/default-deny");
    let changed = body["changed_in"].as_str().expect("a change");
    assert!(changed.starts_with("1-") && changed.contains("→2-"), "{changed}");
    let record = gateway.records(1).into_iter().find(|record| record["request_id"] == *id).expect("recorded");
    let at = record["rule_changed"].as_str().expect("a time").trim_end_matches('Z');
    assert!(body["rule_changed"].as_str().is_some_and(|full| full.starts_with(at)), "{body} {record}");
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    let change = &told["change"];
    assert!(change["policy"].as_str().is_some_and(|policy| policy.starts_with("2-")), "{change}");
    assert_eq!(
        (&change["allowed_by"], &change["lost"][0]["role"]),
        (&"rbac/orders".into(), &"reader".into())
    );
    let ran = about_folder(gateway.folder(), &["why", &id]);
    for text in ["the policy before it let this request pass, by rbac/orders", "was last taken from a role"] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    // What the others were refused before is as it was.
    let (body, _) = refused(&gateway, "GET", "/files/7");
    assert_eq!(body["rule_changed"], Value::Null);
    // A process that is started anew knows it from the history.
    let (body, _) = refused(&gateway, "DELETE", "/orders/8");
    drop(gateway);
    assert!(body["changed_in"].as_str().is_some_and(|text| text.contains("→2-")));
}

#[test]
fn why_asks_the_policies_where_the_record_cannot_say() {
    let gateway = Gateway::start(&config(ROUTE));
    let only = "[[route]]\nid = \"all\"\npath = \"/open\"\nupstream = \"demo\"\n";
    let all = grant("all", "roles = [\"reader\"]\npath = \"/{*rest}\"");
    become_generation(&gateway, &config(&format!("{ROUTE}{all}")), 2);
    become_generation(&gateway, &config(&format!("{only}{all}")), 3);
    let (body, id) = refused(&gateway, "GET", "/orders/7");
    assert_eq!((&body["rule"], &body["rule_changed"]), (&"route/none".into(), &Value::Null));
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert!(told["change"]["policy"].as_str().is_some_and(|policy| policy.starts_with("3-")), "{told}");
    // Nobody was identified where nothing is served.
    let before = told["change"]["before"].as_str().unwrap_or_default();
    assert!(
        before.starts_with("let this request come past this gate; what it would have said then"),
        "{told}"
    );
    assert_eq!(told["change"]["definitions"][0]["name"], "route all");
    // Somebody else's grant, which went, is no cause of this refusal: the history has a lost cell, and no
    // policy let this request pass.
    let subject = grant("somebody", "subjects = [\"alice\"]\npath = \"/hers\"");
    become_generation(&gateway, &config(&format!("{ROUTE}{subject}")), 4);
    become_generation(&gateway, &config(ROUTE), 5);
    let (_, id) = refused(&gateway, "PUT", "/hers");
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    // The third and the second had a grant of everything, by which it passed where a route was.
    assert_eq!(told["change"]["allowed_by"], "rbac/all", "{told}");
    assert!(told["change"]["policy"].as_str().is_some_and(|policy| policy.starts_with("3-")), "{told}");
}

#[test]
fn what_another_subject_lost_is_not_told_of_this_caller() {
    let hers = grant("hers", "subjects = [\"alice\"]\npath = \"/hers\"");
    let gateway = Gateway::start(&config(&format!("{ROUTE}{hers}")));
    become_generation(&gateway, &config(ROUTE), 2);
    let (body, id) = refused(&gateway, "GET", "/hers");
    assert_eq!((&body["rule_changed"], &body["changed_in"]), (&Value::Null, &Value::Null), "{body}");
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    assert_eq!((&told["change"], &told["refused_since"]["since_the_first"]), (&Value::Null, &true.into()));
    // The role loses it, and this caller does not, who has a grant of its own; then that goes as well.
    let team = grant("team", "roles = [\"reader\"]\npath = \"/team\"");
    let own = grant("own", "subjects = [\"batch\"]\npath = \"/team\"");
    become_generation(&gateway, &config(&format!("{ROUTE}{team}{own}")), 3);
    become_generation(&gateway, &config(&format!("{ROUTE}{own}")), 4);
    become_generation(&gateway, &config(ROUTE), 5);
    let (body, id) = refused(&gateway, "GET", "/team");
    let changed = body["changed_in"].as_str().expect("a change");
    assert!(changed.starts_with("4-") && changed.contains("→5-"), "{changed}");
    let told = about_folder(gateway.folder(), &["why", &id, "--format", "json"]).json();
    let lost = told["change"]["lost"].as_array().expect("a list");
    assert_eq!((lost.len(), &lost[0]["subjects"][0]), (1, &"batch".into()), "{told}");
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(ran.words().contains("the subject batch lost GET"), "{}", ran.show());
    let ran = about_folder(gateway.folder(), &["history", "4"]);
    assert!(ran.words().contains("for reader but for the subject batch, by rbac/team"), "{}", ran.show());
}

/// Of what no record holds, no policy can be asked; a change of just that is named all the same.
#[test]
fn a_change_of_who_is_looked_for_is_named_though_nobody_can_tell() {
    let all = grant("all", "roles = [\"reader\"]\npath = \"/{*rest}\"");
    let base = config(&format!("{ROUTE}{all}"));
    let key = "roles = [\"reader\"]\n[rbac.role.reader]";
    let office = "[[ip.rule]]\nid = \"office\"\npath = \"/orders/{id}\"\nallow = [\"192.0.2.0/24\"]\n";
    let proxied =
        "state_dir = \"state\"\ntrusted_proxies = [\"127.0.0.1\"]\nclient_address = \"x-forwarded-for\"";
    let behind = format!("{}{office}", base.replace("state_dir = \"state\"", proxied));
    let cases = [
        (&base, config(&format!("{ROUTE}authn = \"off\"\n{all}")), "route all"),
        (&base, base.replace("header = \"x-api-key\"", "header = \"x-other\""), "authn.api_key batch"),
        (&base, base.replace(key, &key.replacen("reader", "writer", 1)), "authn.api_key batch"),
        (&behind, format!("{base}{office}"), "[server]"),
    ];
    for (before, after, name) in cases {
        let gateway = Gateway::start(before);
        let fields = [("X-Api-Key", "abc"), ("X-Forwarded-For", "192.0.2.7")];
        let ask = || request(gateway.address, "GET", "/orders/7", &fields, b"");
        assert_eq!(ask().status, 200, "{before}");
        become_generation(&gateway, &after, 2);
        let refused = ask();
        assert!(refused.status >= 400, "{after}");
        let id = refused.header("x-request-id").expect("an id");
        let told = about_folder(gateway.folder(), &["why", id, "--format", "json"]).json();
        let change = &told["change"];
        assert!(change["policy"].as_str().is_some_and(|policy| policy.starts_with("2-")), "{name}: {told}");
        assert_eq!((&change["before"], &change["definitions"][0]["name"]), (&Value::Null, &name.into()));
    }
}

/// A role that is declared no more was what the request passed by.
#[test]
fn a_role_that_is_declared_no_more_is_named() {
    let all = |role: &str| grant("all", &format!("roles = [\"{role}\"]\npath = \"/{{*rest}}\""));
    let token = |roles: &str| {
        let claims = serde_json::json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 4_102_444_800_u64, "roles": [roles] });
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        format!("Bearer {}", jsonwebtoken::encode(&header, &claims, &key).expect("a token"))
    };
    let jwt = "[[authn.jwt]]\nid = \"corp\"\nissuer = \"i\"\naudience = [\"a\"]\nalgorithms = [\"HS256\"]\nsecret_file = \"secret\"\nroles = \"roles\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), SECRET).expect("written");
    let lead = format!("{}[rbac.role.lead]\n", config(&format!("{ROUTE}{jwt}{}", all("lead"))));
    let gateway = Gateway::start_in(folder, &lead, &[]);
    let bearer = token("lead");
    let ask = || request(gateway.address, "GET", "/orders/7", &[("Authorization", &bearer)], b"");
    assert_eq!(ask().status, 200);
    become_generation(&gateway, &config(&format!("{ROUTE}{jwt}{}", all("writer"))), 2);
    let refused = ask();
    assert_eq!(refused.status, 403);
    let id = refused.header("x-request-id").expect("an id");
    let told = about_folder(gateway.folder(), &["why", id, "--format", "json"]).json();
    let change = &told["change"];
    assert_eq!(
        (&change["allowed_by"], &change["definitions"][0]["name"]),
        (&"rbac/all".into(), &"role lead".into())
    );
}

const SECRET: &[u8] = b"not-a-secret-not-a-secret-not-a-secret-0";
