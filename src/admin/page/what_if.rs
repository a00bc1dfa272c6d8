//! `/what-if`: what would happen to a request that somebody describes in a form.

use std::sync::Arc;

use http::header;
use serde_json::{Value, json};

use super::{Answer, member, whole};
use crate::admin::AdminState;
use crate::admin::explain::{self, document};
use crate::admin::oracle::Question;
use crate::admin::query::pairs;
use crate::audit::Line;

/// Renders the form, and the answer once something was asked.
pub(super) async fn page(state: &Arc<AdminState>, query: &str) -> Answer {
    let form = Form::parse(query);
    let (answer, error) = match form.target.is_empty() {
        true => (None, None),
        false => split(form.ask(state).await),
    };
    whole(
        state,
        "what_if.html",
        "/what-if",
        &json!({ "form": form.shown(state), "answer": answer, "error": error }),
    )
}

/// What an answer says, or why there is none.
pub(super) fn split(answer: Result<Value, String>) -> (Option<Value>, Option<String>) {
    match answer {
        Ok(answer) => (Some(answer), None),
        Err(why) => (None, Some(why)),
    }
}

/// The fields of the form, as they were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) https: bool,
    pub(super) ip: String,
    pub(super) subject: String,
    pub(super) roles: String,
    pub(super) scopes: String,
    /// `name=value`, one a line.
    pub(super) claims: String,
    pub(super) headers: String,
    pub(super) at: String,
    /// The policy that judges: a generation of the history; the one in force, if it is empty.
    pub(super) policy: String,
}

impl Form {
    /// Reads the query of a form.
    pub(super) fn parse(query: &str) -> Form {
        let mut form = Form::default();
        for (name, value) in pairs(query) {
            let value = value.trim().to_owned();
            match name.as_str() {
                "method" => form.method = value,
                "target" => form.target = value,
                "host" => form.host = value,
                "https" => form.https = !value.is_empty(),
                "ip" => form.ip = value,
                "subject" => form.subject = value,
                "roles" => form.roles = value,
                "scopes" => form.scopes = value,
                "claims" => form.claims = value,
                "headers" => form.headers = value,
                "at" => form.at = value,
                "policy" => form.policy = value,
                _ => {}
            }
        }
        form
    }

    /// What a record says about its request, with what conditions looked at: claims, header fields,
    /// parameters of the query.
    pub(super) fn of(record: &Value, line: &str) -> Form {
        let text = |pointer: &str| member(record, pointer).unwrap_or("").to_owned();
        let list = |pointer: &str| {
            let items = record.pointer(pointer).and_then(Value::as_array);
            let items: Vec<&str> = items.into_iter().flatten().filter_map(Value::as_str).collect();
            items.join(" ")
        };
        let valid = member(record, "/identity/state") == Some("valid");
        let who = |text: String| if valid { text } else { String::new() };
        let line = Line::parse(line.as_bytes()).ok();
        let values = line.as_ref().map(Line::values).unwrap_or_default();
        let recalled = line.as_ref().and_then(|line| line.recall(line.identity().as_ref(), &values));
        // The subject has a field of its own, which may be changed.
        let claims = values.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("claims.").filter(|name| *name != "sub")?;
            Some(format!("{name}={}", written(value)))
        });
        let fields = recalled.iter().flat_map(|recalled| &recalled.headers);
        let fields = fields.filter(|(name, _)| **name != header::HOST);
        let fields = fields.filter_map(|(name, value)| Some(format!("{name}: {}", value.to_str().ok()?)));
        let target = recalled.as_ref().filter(|recalled| recalled.has_path);
        Form {
            method: text("/method"),
            target: target.map_or_else(|| text("/path"), |recalled| recalled.uri.to_string()),
            host: text("/host"),
            https: member(record, "/scheme") == Some("https"),
            ip: text("/client/ip"),
            subject: who(text("/identity/subject")),
            roles: who(list("/identity/roles")),
            scopes: who(list("/identity/scopes")),
            claims: who(claims.collect::<Vec<_>>().join("\n")),
            headers: fields.collect::<Vec<_>>().join("\n"),
            at: text("/ts"),
            policy: String::new(),
        }
    }

    /// Asks what would happen.
    pub(super) async fn ask(&self, state: &Arc<AdminState>) -> Result<Value, String> {
        let judge = Some(&*self.policy).filter(|policy| !policy.is_empty());
        let mut answer = document(state, self.question()?, judge).await?;
        answer["judged_by"] = judge.into();
        Ok(answer)
    }

    /// The question that the fields ask.
    pub(super) fn question(&self) -> Result<Question, String> {
        let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let words = |text: &str| -> Vec<String> {
            text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let ip = filled(&self.ip).map(|ip| ip.parse().map_err(|_| format!("`{ip}` is not an address")));
        let at = filled(&self.at)
            .map(|at| at.parse().map_err(|_| format!("`{at}` is no time such as 2026-12-24T08:00:00Z")));
        let field = |line: &str| {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("write `Name: value`, not `{line}`"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        let lines = self.headers.lines().filter(|line| !line.trim().is_empty());
        let claim = |line: &str| {
            let (name, value) = line
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| format!("write a claim as `name=value`, not `{line}`"))?;
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
        };
        let claims = self.claims.lines().filter(|line| !line.trim().is_empty());
        Ok(Question {
            method: filled(&self.method),
            target: self.target.clone(),
            host: filled(&self.host),
            https: self.https,
            ip: ip.transpose()?,
            subject: filled(&self.subject),
            roles: words(&self.roles),
            scopes: words(&self.scopes),
            claims: claims.map(claim).collect::<Result<_, String>>()?,
            headers: lines.map(field).collect::<Result<_, String>>()?,
            at: at.transpose()?,
            ..Question::default()
        })
    }

    /// The fields for the template.
    pub(super) fn shown(&self, state: &AdminState) -> Value {
        let Form { method, target, host, https, ip, subject, roles, scopes, claims, headers, at, policy } =
            self;
        // Without a folder no text is kept that could be asked.
        let kept = state.installer.current().load().settings.state_dir.is_some();
        let current = state.installer.status().version;
        let older = if kept { explain::kept(state) } else { Vec::new() };
        let older = older.into_iter().rev();
        let older = older.filter(|kept| kept.version() != current).take(MOST_POLICIES);
        let older: Vec<Value> =
            older.map(|kept| json!({ "policy": kept.version().to_string(), "at": kept.at })).collect();
        json!({
            "method": method, "target": target, "host": host, "https": https, "ip": ip, "subject": subject,
            "roles": roles, "scopes": scopes, "claims": claims, "headers": headers, "at": at,
            "policy": policy, "policies": older, "in_force": current.to_string(),
        })
    }
}

/// How many policies of the history can be chosen; the others are for the command.
const MOST_POLICIES: usize = 50;

/// A value as the field of claims takes it: as JSON, or where that means nothing else, as it is.
fn written(value: &Value) -> String {
    match value.as_str() {
        Some(text)
            if serde_json::from_str::<Value>(text).is_err()
                && text == text.trim()
                && !text.contains(['\n', '\r']) =>
        {
            text.to_owned()
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_keeps_of_its_request_is_taken_along() {
        let line = r#"{"ts":"2026-11-30T08:14:18.146469Z","request_id":"r-1234567","decision_id":"d-1234567","decision":"allow","stage":"rbac","rule":"rbac/reports","status":200,"decided_by":"upstream","policy":{"generation":1,"hash":"5471fe69"},"client":{"ip":"203.0.113.9","peer":"127.0.0.1","via":"x-forwarded-for"},"scheme":"http","version":"HTTP/1.1","method":"GET","host":"app.test","path":"/reports/x","route":"all","identity":{"state":"valid","source":"corp","subject":"alice","roles":["user"]},"facts":{"claims.dept":"sales","claims.sub":"alice","claims.org.level":3,"header.x-team":"blue","query.year":"2026"},"waf":{"score":0,"threshold":5,"body":"none","matched":[]},"timing":{"policy_ns":1,"upstream_us":1},"bytes":{"in":0,"out":0}}"#;
        let form = Form::of(&serde_json::from_str(line).unwrap(), line);
        let mut claims: Vec<&str> = form.claims.lines().collect();
        claims.sort_unstable();
        assert_eq!(claims, ["dept=sales", "org.level=3"]);
        assert_eq!((&*form.headers, &*form.host), ("x-team: blue", "app.test"));
        assert_eq!(form.target, "/reports/x?year=2026");
        let question = form.question().unwrap();
        assert_eq!((&question.claims["dept"], &question.claims["org.level"]), (&json!("sales"), &json!(3)));
    }

    #[test]
    fn claims_are_read_as_they_are_written() {
        for value in [json!("sales"), json!("7"), json!(7), json!(["a", "b"]), json!("a\nb"), json!(null)] {
            let form = Form { claims: format!("dept={}", written(&value)), ..Form::default() };
            assert_eq!(form.question().unwrap().claims["dept"], value);
        }
        let form = Form { claims: "dept".to_owned(), ..Form::default() };
        assert!(form.question().is_err_and(|why| why.contains("name=value")));
    }
}
