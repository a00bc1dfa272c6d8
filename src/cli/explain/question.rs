//! The questions that the admin listener hands on: answered here, so that the page, the API and the
//! verb cannot disagree.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::account::Account;
use super::asked::{Asked, SOMEBODY, Url, put};
use super::beside::{Other, compare};
use super::what_if::TokenFrom;
use super::why::change;
use super::why::hour::{self, Count};
use super::{json, no_such_role, pages, recorded, written};
use crate::admin::{Again, Earlier, Oracle, Question};
use crate::audit::Line;
use crate::cli::policies::Named;
use crate::cli::request::{Person, Request};
use crate::config::Setup;
use crate::facts::Scheme;
use crate::policy::{Caller, World};
use crate::state::cause::{Cause, Change};

/// The verbs, for the admin listener.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Verbs;

impl Oracle for Verbs {
    fn explain(
        &self,
        setup: &Setup,
        world: &World,
        question: &Question,
        policies: Vec<(String, Setup)>,
    ) -> Result<Value, String> {
        let asked = asked(question)?;
        let now = question.at.unwrap_or_else(Timestamp::now);
        let roles = question.roles.iter().chain(&question.what_if_role);
        if let Some(why) = roles.clone().find_map(|role| no_such_role(setup, role)) {
            return Err(why);
        }
        let mut account = Account::judged(setup, world, &asked, now);
        let tokens = &question.what_if_token;
        let tokens = tokens.iter().zip(1..).map(|(token, number)| {
            Other::token(TokenFrom::Question(number, tokens.len()), token.bytes(), &asked)
        });
        let mut others: Vec<Other> = tokens.collect::<Result<_, _>>()?;
        others.extend(question.what_if_at.iter().map(|at| Other::At(*at)));
        let policies = policies.into_iter().map(|(name, setup)| Box::new(Named { name, setup }));
        others.extend(policies.map(Other::Policy));
        let (ips, roles) = (&question.what_if_ip, &question.what_if_role);
        account.what_if = compare(&account, world, (&asked, now), ips, roles, &others);
        serde_json::to_value(json::document(&account)).map_err(|error| error.to_string())
    }

    fn again(&self, setup: &Setup, world: &World, record: &[u8]) -> Result<Again, String> {
        let line = Line::parse(record).map_err(|error| format!("the record cannot be read: {error}"))?;
        let (asked, recalled) = recorded::asked(&line, &setup.policy).ok_or_else(|| {
            format!("the record cannot be judged again: {}", line.flaw().unwrap_or("it tells of no request"))
        })?;
        let mut account = Account::judged(setup, world, &asked, recalled.now);
        let same = line.policy().is_some_and(|version| version.hash == setup.policy.version.hash);
        let (agrees, settled) = account.held_to(&line, same);
        let document = serde_json::to_value(json::document(&account)).map_err(|error| error.to_string())?;
        let agrees = agrees || settled.is_some();
        Ok(Again { document, agrees, as_recorded: settled.map(|settled| settled.why) })
    }

    fn cause(&self, setup: &Setup, world: &World, record: &[u8], earlier: &Earlier<'_>) -> Cause {
        let Ok(line) = Line::parse(record) else { return Cause::default() };
        let Some((asked, recalled)) = recorded::asked(&line, &setup.policy) else { return Cause::default() };
        let mut account = Account::judged(setup, world, &asked, recalled.now);
        let same = line.policy().is_some_and(|version| version.hash == setup.policy.version.hash);
        let (_, settled) = account.held_to(&line, same);
        change::look(earlier, world, &line, (&asked, &recalled), &account, settled.as_ref())
    }

    fn others(
        &self,
        setup: &Setup,
        record: &[u8],
        change: Option<&Change>,
        log: Option<&Path>,
        lines: &[u8],
        since: Timestamp,
    ) -> Result<Value, String> {
        let line = Line::parse(record).map_err(|error| format!("the record cannot be read: {error}"))?;
        let at = line.at().ok_or("the record has no time")?;
        let mut count = Count::new(&line, &setup.policy, change, hour::around(at, Timestamp::now()));
        match log {
            Some(log) => count.read(log)?,
            None => {
                let why = "There is no file of the decision log, so no more is known than what the gateway remembers";
                count.since(since, why);
                lines.split(|byte| *byte == b'\n').for_each(|text| count.take(text));
            }
        }
        let hour = count.done();
        let mut told = serde_json::to_value(&hour).map_err(|error| error.to_string())?;
        let explained = change.is_some_and(|change| change.explains(hour.from));
        let scope = (!explained).then(|| hour.conclusion().trim_end_matches('.').to_owned());
        told["scope"] = scope.into();
        told["explained"] = explained.then(|| hour.explained()).into();
        Ok(told)
    }

    fn rules(&self, setup: &Setup) -> Vec<Value> {
        let rules = setup.policy.rules.iter().map(|(_, rule)| {
            let mut shown = pages::written_rule(rule);
            let lines = written::lines(&setup.sources, rule.place);
            shown["text"] = lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n").into();
            shown
        });
        rules.collect()
    }
}

fn asked(question: &Question) -> Result<Asked, String> {
    let mut assumed = Vec::new();
    let url = Url::parse(&question.target)?;
    // What it is is not said: it may be a credential.
    let value = |name: &str, text: &String| {
        HeaderValue::from_str(text).map_err(|_| format!("`{name}` has characters that cannot be sent"))
    };
    let host = question.host.as_ref().map(|host| value("host", host)).transpose()?.or(url.host);
    let mut headers = HeaderMap::new();
    for (name, text) in &question.headers {
        let value = value(name, text)?;
        let name: HeaderName =
            name.parse().map_err(|_| format!("`{name}` is not the name of a header field"))?;
        headers.try_append(name, value).map_err(|_| "there are too many header fields".to_owned())?;
    }
    if question.ip.is_none() {
        assumed.push("the client is 127.0.0.1".to_owned());
    }
    let usual = if question.body.is_some() { "POST" } else { "GET" };
    let method = question.method.as_deref().unwrap_or(usual);
    let method = method.parse::<Method>().map_err(|_| format!("`{method}` is not a method"))?;
    let request = Request {
        method,
        target: url.target,
        fragment: false,
        version: Version::HTTP_11,
        scheme: if question.https || url.https { Scheme::Https } else { Scheme::Http },
        host,
        headers,
        body: question.body.clone().map(Bytes::from).unwrap_or_default(),
        peer: question.peer,
        ip: question.ip.unwrap_or_else(|| [127, 0, 0, 1].into()),
        certificate: None,
    };
    let roles = question.roles.clone();
    let caller = person(question).map_or(Caller::FromHeaders, Person::caller);
    Ok(Asked {
        request,
        caller,
        body: None,
        key_header: None,
        assumed,
        roles,
        hidden: None,
        warnings: Vec::new(),
    })
}

fn person(question: &Question) -> Option<Person> {
    let Question { subject, roles, scopes, claims, .. } = question;
    if subject.is_none() && roles.is_empty() && scopes.is_empty() && claims.is_empty() {
        return None;
    }
    let mut tree = Map::new();
    for (name, value) in claims {
        put(&mut tree, name, value.clone());
    }
    let named = tree.get("sub").and_then(Value::as_str).map(str::to_owned);
    let subject = subject.clone().or(named).unwrap_or_else(|| SOMEBODY.to_owned());
    Some(Person { subject, roles: roles.clone(), scopes: scopes.clone(), claims: tree })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_fields_than_a_map_holds_are_an_answer_and_no_panic() {
        let headers = (0..40_000).map(|number| (format!("x-{number}"), String::new())).collect();
        let question = Question { target: "/".to_owned(), headers, ..Question::default() };
        assert!(asked(&question).is_err_and(|why| why.contains("too many")));
    }
}
