//! Records that keep only a part of who asked (`[log] client`, `subject`): what `why` and the API tell of
//! them, and what they leave open.

use crate::support::command::{Bench, about_folder};
use crate::support::{Gateway, get, get_local, request, wait_until};

/// `rules`: those of `[ip]`; `log`: what is kept.
fn config(log: &str, rules: &str, subjects: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
state_dir = "state"

[log]
sink = {{ file = "decisions.jsonl" }}
{log}

[upstream.demo]
servers = ["builtin:echo"]

[[route]]
id = "all"
path = "/{{*rest}}"
upstream = "demo"

[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

[[rbac.grant]]
id = "open"
roles = ["anyone"]
path = "/open"

[[rbac.grant]]
id = "named"
subjects = [{subjects}]
path = "/named"

{rules}
"#
    )
}

fn rule(lists: &str) -> String {
    format!("[[ip.rule]]\nid = \"near\"\npath = \"/open\"\n{lists}\n")
}

fn ask(gateway: &Gateway) -> (u16, String) {
    let answer = get(gateway.address, "/open");
    (answer.status, answer.header("x-request-id").expect("an id").to_owned())
}

#[test]
fn a_network_of_which_all_addresses_are_judged_alike_is_as_good_as_an_address() {
    let gateway =
        Gateway::start(&config("client = \"/24,/48\"", &rule("allow = [\"127.0.0.0/24\"]"), "\"x\""));
    let (status, id) = ask(&gateway);
    assert_eq!(status, 200);
    let ran = wait_until(|| {
        let ran = about_folder(gateway.folder(), &["why", &id]);
        (ran.code == 0).then_some(ran)
    });
    for text in [
        "from 127.0.0.0/24 got 200 by rbac/open",
        "127.0.0.0 stands for it here, and every other address of it is judged alike",
        "it must come from the client's address in 127.0.0.0/24",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    // Nothing had to be taken from the record.
    assert!(!ran.words().contains("does not tell everything"), "{}", ran.show());
    let admin = gateway.admin.expect("an admin listener");
    let again = &get_local(admin, &format!("/api/decisions/{id}")).json()["about"]["again"];
    assert_eq!((&again["client"]["ip"], &again["decision"]), (&"127.0.0.0/24".into(), &"allow".into()));
    let page = get_local(admin, &format!("/decisions/{id}")).text();
    assert!(page.contains("The client is 127.0.0.0&#x2f;24, for the record keeps no more"), "{page}");
}

#[test]
fn an_address_stands_for_the_client_that_is_judged_as_it_was() {
    let deny = |address: &str| rule(&format!("deny = [\"{address}\"]"));
    let text = |rules: &str| config("client = \"/24,/48\"", rules, "\"x\"");
    let gateway = Gateway::start(&text(&deny("127.0.0.9")));
    gateway.write_config(&text(&deny("127.0.0.1")));
    gateway.wait_for_generation(2);
    let (status, id) = ask(&gateway);
    assert_eq!(status, 403);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    for text in [
        "127.0.0.1 stands for it here, and other addresses of it may be judged otherwise",
        // The policy before refused another address of the network.
        "The policy changed",
        "cannot be told",
    ] {
        assert!(ran.words().contains(text), "{text}: {}", ran.show());
    }
    assert!(!ran.words().contains("let this request pass"), "{}", ran.show());
    // Where the policy before had no such rule, it did not matter which address it was.
    gateway.write_config(&text(""));
    gateway.wait_for_generation(3);
    gateway.write_config(&text(&deny("127.0.0.1")));
    gateway.wait_for_generation(4);
    let (_, id) = ask(&gateway);
    let ran = about_folder(gateway.folder(), &["why", &id]);
    assert!(ran.words().contains("let this request pass, by rbac/open"), "{}", ran.show());
}

#[test]
fn of_a_hash_it_is_said_that_the_address_is_not_known() {
    let rules = rule("allow = [\"127.0.0.0/8\"]");
    let gateway = Gateway::start(&config("client = \"hash\"", &rules, "\"x\""));
    let (status, id) = ask(&gateway);
    assert_eq!(status, 200);
    let found = wait_until(|| {
        let ran = about_folder(gateway.folder(), &["why", &id, "--format", "json"]);
        (ran.code == 0).then(|| ran.json())
    });
    let client = &found["explained"]["client"];
    assert!(client["ip"].as_str().is_some_and(|ip| ip.starts_with("hash:")), "{client}");
    assert_eq!((&client["stands_for_it"], &client["peer"]), (&"127.0.0.0".into(), &serde_json::Value::Null));
    assert_eq!(found["agrees"], true);
    let page = get_local(gateway.admin.expect("an admin listener"), &format!("/decisions/{id}")).text();
    // Nobody can be banned, or listened to, by a hash.
    assert!(!page.contains("Ban hash:") && !page.contains("Keep trails of"), "{page}");
}

#[test]
fn what_a_policy_said_of_a_subject_is_not_told_where_only_its_hash_is_kept() {
    let text = |subjects: &str| config("subject = \"hash\"", "", subjects);
    let gateway = Gateway::start(&text("\"batch\""));
    let ask = || request(gateway.address, "GET", "/named", &[("X-Api-Key", "abc")], b"");
    assert_eq!(ask().status, 200);
    gateway.write_config(&text("\"other\""));
    gateway.wait_for_generation(2);
    let refused = ask();
    assert_eq!(refused.status, 403);
    let id = refused.header("x-request-id").expect("an id");
    let ran = about_folder(gateway.folder(), &["why", id]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(!ran.words().contains("every policy that is kept refused this"), "{}", ran.show());
}

/// A condition may look at the subject, of which only a hash is kept: nobody knows what it would have said.
#[test]
fn a_hash_is_not_compared_as_if_it_were_the_value() {
    let secret = "not-a-secret-not-a-secret-not-a-secret-0";
    let text = |more: &str| {
        let jwt = "[[authn.jwt]]\nid = \"corp\"\nissuer = \"https://id.test\"\naudience = [\"a\"]\n\
                   algorithms = [\"HS256\"]\nsecret_file = \"secret\"\n";
        let own = "[[rbac.grant]]\nid = \"own\"\nroles = [\"authenticated\"]\npath = \"/own/{id}\"\n";
        format!(
            "{}{jwt}{own}when = \"claims.sub == path.id{more}\"\n",
            config("subject = \"hash\"", "", "\"x\"")
        )
    };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), secret).expect("written");
    let gateway = Gateway::start_in(folder, &text(""), &[]);
    let claims = serde_json::json!({
        "iss": "https://id.test", "aud": "a", "sub": "alice", "exp": 4_102_444_800_u64,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let bearer = format!("Bearer {}", jsonwebtoken::encode(&header, &claims, &key).expect("a token"));
    let ask = || request(gateway.address, "GET", "/own/alice", &[("Authorization", &bearer)], b"");
    assert_eq!(ask().status, 200);
    let ran = wait_until(|| {
        let replayed = ["replay", "--with", "current", "--format", "json"];
        let ran = about_folder(gateway.folder(), &replayed);
        let told = (ran.code != 78).then(|| ran.json())?;
        (told["records"] == 1).then_some(told)
    });
    assert_eq!((&ran["flips"], &ran["cannot_tell"]), (&0.into(), &1.into()), "{ran}");
    gateway.write_config(&text(" and has header.x-mfa"));
    gateway.wait_for_generation(2);
    let refused = ask();
    assert_eq!(refused.status, 403);
    let ran = about_folder(gateway.folder(), &["why", refused.header("x-request-id").expect("an id")]);
    assert!(!ran.words().contains("every policy that is kept refused this"), "{}", ran.show());
    let told = "`claims.sub == path.id` may or may not hold: claims.sub is kept only as a hash";
    assert!(ran.words().contains(told), "{}", ran.show());
    assert!(ran.words().contains("`has header.x-mfa` does not hold"), "{}", ran.show());
}

#[test]
fn what_wants_a_configuration_says_what_does_without() {
    let gateway = Gateway::start(&config("", "", "\"x\""));
    let (_, id) = ask(&gateway);
    let admin = gateway.admin.expect("an admin listener").to_string();
    let bench = Bench::new();
    for verb in ["why", "suggest"] {
        let ran = bench.run(&[verb, &id, "--admin", &admin]);
        assert_eq!(ran.code, 78, "{}", ran.show());
        assert!(ran.err.contains(&format!("see http://{admin}/decisions/{id}")), "{}", ran.show());
    }
    // The history is the gateway's.
    let ran = bench.run(&["history", "--admin", &admin]);
    assert!(ran.code == 0 && ran.words().contains("the first policy that is known"), "{}", ran.show());
}
