//! `/what-if`: what would happen to a request that somebody describes in a form.

use serde_json::{Value, json};

use super::{Answer, member, whole};
use crate::admin::AdminState;
use crate::admin::input::pairs;
use crate::admin::oracle::Question;

/// Renders the form, and the answer once something was asked.
pub(super) fn page(state: &AdminState, query: &str) -> Answer {
    let form = Form::parse(query);
    let answer = (!form.target.is_empty()).then(|| form.ask(state));
    let (answer, error) = split(answer);
    whole(
        state,
        "what_if.html",
        "/what-if",
        &json!({ "form": form.shown(), "answer": answer, "error": error }),
    )
}

/// What an answer says, or why there is none.
pub(super) fn split(answer: Option<Result<Value, String>>) -> (Option<Value>, Option<String>) {
    match answer {
        Some(Ok(answer)) => (Some(answer), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
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
    pub(super) headers: String,
    pub(super) at: String,
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
                "headers" => form.headers = value,
                "at" => form.at = value,
                _ => {}
            }
        }
        form
    }

    /// What a record says about its request.
    pub(super) fn of(record: &Value) -> Form {
        let text = |pointer: &str| member(record, pointer).unwrap_or("").to_owned();
        let list = |pointer: &str| {
            let items = record.pointer(pointer).and_then(Value::as_array);
            let items: Vec<&str> = items.into_iter().flatten().filter_map(Value::as_str).collect();
            items.join(" ")
        };
        let valid = member(record, "/identity/state") == Some("valid");
        let who = |text: String| if valid { text } else { String::new() };
        Form {
            method: text("/method"),
            target: text("/path"),
            host: text("/host"),
            https: member(record, "/scheme") == Some("https"),
            ip: text("/client/ip"),
            subject: who(text("/identity/subject")),
            roles: who(list("/identity/roles")),
            scopes: who(list("/identity/scopes")),
            headers: String::new(),
            at: text("/ts"),
        }
    }

    /// Asks what would happen.
    pub(super) fn ask(&self, state: &AdminState) -> Result<Value, String> {
        let question = self.question()?;
        let snapshot = state.installer.current().load_full();
        state.oracle.explain(&state.installer.setup(), &snapshot.world, &question)
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
        Ok(Question {
            method: filled(&self.method),
            target: self.target.clone(),
            host: filled(&self.host),
            https: self.https,
            ip: ip.transpose()?,
            subject: filled(&self.subject),
            roles: words(&self.roles),
            scopes: words(&self.scopes),
            headers: lines.map(field).collect::<Result<_, String>>()?,
            at: at.transpose()?,
            ..Question::default()
        })
    }

    /// The fields for the template.
    pub(super) fn shown(&self) -> Value {
        let Form { method, target, host, https, ip, subject, roles, scopes, headers, at } = self;
        json!({
            "method": method, "target": target, "host": host, "https": https, "ip": ip, "subject": subject,
            "roles": roles, "scopes": scopes, "headers": headers, "at": at,
        })
    }
}
