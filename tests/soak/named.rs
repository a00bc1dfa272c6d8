//! C-23: every 401 and 403 names its rule, the policy and the request, in fields, body and record alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::client::{Answer, Client, run};
use crate::gateway::{Start, open};
use crate::origin::Origin;
use crate::process::until;
use crate::report::Limit::{AtLeast, Exactly};
use crate::report::{Report, Scale};
use crate::token;

const POLICY: &str = r#"
[[route]]
id = "private"
path = "/private/{*rest}"
upstream = "origin"
authn = "required"

[network]
nobody = ["192.0.2.0/24"]

[[ip.rule]]
id = "office-only"
path = "/office/{*rest}"
allow = ["nobody"]

[rbac.role.admin]

[[rbac.deny]]
id = "frozen"
path = "/frozen/{*rest}"

[waf]
packs = ["core"]

[log]
sink = "stdout"
"#;

/// What is asked for, and with which token.
fn cases() -> Vec<(String, Option<String>)> {
    let later = token::now() + 3_600;
    let other = EncodingKey::from_secret(b"another secret, which nobody told the gateway");
    let hs256 = Header::new(Algorithm::HS256);
    let tokens = [
        None,
        Some(token::token(later, &json!({}))),
        Some(token::token(token::now() - 3_600, &json!({}))),
        Some(token::token(later, &json!({ "iss": "https://elsewhere.test" }))),
        Some(token::token(later, &json!({ "aud": "another" }))),
        Some(token::token(later, &json!({ "nbf": later }))),
        Some(token::token(later, &json!({ "sub": "a\nb" }))),
        Some(token::token(later, &json!({ "sub": 7 }))),
        Some(token::signed(&hs256, &other, later, &json!({}))),
        Some(token::forged("https://id.test", "x")),
        Some("nothing.like.this".to_owned()),
        Some("e30.e30.".to_owned()),
    ];
    let paths = [
        "/private/x",
        "/office/x",
        "/frozen/x",
        "/closed/x",
        "/tag/x?q='+or+1%3D1--+-",
        "/tag/x?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/tag/x?file=../../../../etc/passwd",
        "/tag/x?c=;cat+/etc/passwd",
        "/tag/.git/config",
        "/tag/x?u=union+select+password+from+users",
    ];
    let all = paths.iter().flat_map(|path| tokens.iter().map(|token| ((*path).to_owned(), token.clone())));
    all.collect()
}

pub fn refusals(scale: Scale, report: &mut Report) {
    let origin = Origin::start();
    let open = open(&origin.servers(), &format!("{POLICY}{}", token::SOURCE));
    let policy = open.replace(
        "roles = [\"anyone\"]",
        "roles = [\"anyone\"]\npaths = [\"/tag/{*rest}\", \"/frozen/{*rest}\"]",
    );
    let records: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
    let kept = Arc::clone(&records);
    let start = Start::new(&policy).on_record(move |line| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let id = record["request_id"].as_str().expect("an id").to_owned();
        kept.lock().expect("not poisoned").insert(id, record);
    });
    std::fs::write(start.folder.path().join("secret.txt"), token::SECRET).expect("written");
    let gateway = start.start();
    let (mut seen, mut rules, mut unnamed) = (0, HashMap::<String, usize>::new(), Vec::new());
    let kinds = ["*/*", "application/json", "text/html", "text/plain"];
    for round in 0..scale.pick(1, 20) {
        for (path, token) in cases() {
            for kind in kinds {
                let bearer = token
                    .as_ref()
                    .map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nAccept: {kind}\r\n{bearer}\r\n");
                let asked = async { Client::connect(gateway.address()).await?.ask(request.as_bytes()).await };
                let answer = run(asked).expect("an answer");
                if !matches!(answer.status, 401 | 403) {
                    continue;
                }
                seen += 1;
                *rules.entry(answer.rule().to_owned()).or_default() += 1;
                if let Err(what) = named(&answer, kind, &records) {
                    unnamed.push(format!("round {round}: {path}, {kind}: {what}"));
                }
            }
        }
    }
    report.none("C-23", "refusals with 401 or 403 that do not say why", &unnamed, seen);
    report.line("C-23", "rules that refused", rules.len() as f64, "", AtLeast(10.0));
    report.line("C-23", "refusals", seen as f64, "", AtLeast(100.0));
    let lost = gateway.metric("portcullis_log_lost_total").unwrap_or(f64::NAN);
    report.line("C-23", "records lost", lost, "", Exactly(0.0));
}

/// Whether the answer, its body and its record say the same.
fn named(answer: &Answer, kind: &str, records: &Mutex<HashMap<String, Value>>) -> Result<(), String> {
    let field = |name: &str| answer.field(name).ok_or_else(|| format!("no {name}"));
    let (rule, policy, id) =
        (field("x-portcullis-rule")?, field("x-portcullis-policy")?, field("x-request-id")?);
    if !rule.contains('/') || !policy.contains('-') || field("x-portcullis-reason")?.is_empty() {
        return Err(format!("{rule} {policy}"));
    }
    if !field("proxy-status")?.contains("http_request_denied") {
        return Err("no proxy status of a refusal".to_owned());
    }
    // Pages write what they show as entities.
    let body = String::from_utf8_lossy(&answer.body).replace("&#x2f;", "/");
    if !body.contains(id) || !body.contains(rule) {
        return Err(format!("a body of {kind} without rule or id: {body:.80}"));
    }
    let record = until(Duration::from_secs(5), || records.lock().expect("not poisoned").get(id).cloned());
    let record = record.ok_or("no record")?;
    let version =
        format!("{}-{}", record["policy"]["generation"], record["policy"]["hash"].as_str().unwrap_or(""));
    if record["rule"] != rule || record["status"] != answer.status || version != policy {
        return Err(format!("the record says {} {} {version}", record["rule"], record["status"]));
    }
    Ok(())
}
