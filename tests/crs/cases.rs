//! The tests as written: the bytes of each request, and what is expected of its answer and record.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use crate::exchange::exchange;
use crate::gateway::Gateway;
use crate::yaml::Node;

/// A test.
#[derive(Debug)]
pub(crate) struct Case {
    /// `942100-3`.
    pub(crate) name: String,
    stages: Vec<Node>,
}

/// Reads all tests below a folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<Case>, String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "yaml" || extension == "yml" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let document = Node::read(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let rule = document.get("rule_id").text().unwrap_or(stem);
        for (at, test) in document.get("tests").items().iter().enumerate() {
            let number = test.get("test_id").text().map_or_else(|| (at + 1).to_string(), str::to_owned);
            let stages = test.get("stages").items().iter().map(|stage| match stage.get("stage") {
                Node::Null => stage.clone(),
                inner => inner.clone(),
            });
            cases.push(Case { name: format!("{rule}-{number}"), stages: stages.collect() });
        }
    }
    Ok(cases)
}

impl Case {
    /// The first digits of its rule.
    pub(crate) fn category(&self) -> &str {
        self.name.get(..3).unwrap_or(&self.name)
    }

    /// Runs it; why it fails, if it does.
    pub(crate) fn run(&self, gateway: &Gateway) -> Result<(), String> {
        for (at, stage) in self.stages.iter().enumerate() {
            let once = self.stage(at, stage, gateway);
            match once {
                Err(_) if stage.get("output").get("retry_once").is_yes() => self.stage(at, stage, gateway)?,
                once => once?,
            }
        }
        Ok(())
    }

    fn stage(&self, at: usize, stage: &Node, gateway: &Gateway) -> Result<(), String> {
        let (input, output) = (stage.get("input"), stage.get("output"));
        let log = output.get("log");
        let id = gateway.next_id(&self.name, at);
        let request = request(input, &id);
        let answer = exchange(gateway.address(), &request);
        if output.get("expect_error").is_yes() {
            return match answer {
                Err(_) => Ok(()),
                Ok(answer) => Err(format!("expected a broken connection, and not {}", answer.status)),
            };
        }
        let answer = answer?;
        let record = gateway.record(&id, answer.status);
        let fired = record.as_ref().map(|record| record.ids.clone()).unwrap_or_default();
        let lines = record.as_ref().map(|record| record.lines.as_slice()).unwrap_or_default();
        let told = || format!("{fired:?}{}", if record.is_none() { ", no record" } else { "" });
        if let Some(status) = output.get("status").text()
            && *status != answer.status.to_string()
        {
            return Err(format!("status {} instead of {status}; {}", answer.status, told()));
        }
        if let Some(pattern) = output.get("response_contains").text()
            && !expression(pattern)?.is_match(&String::from_utf8_lossy(&answer.text))
        {
            return Err(format!("the answer lacks {pattern:?}"));
        }
        let among = |pattern: &str| {
            Ok::<_, String>(lines.iter().any(|line| expression(pattern).is_ok_and(|e| e.is_match(line))))
        };
        if let Some(pattern) = log.get("match_regex").text()
            && !among(pattern)?
        {
            return Err(format!("the record lacks {pattern:?}; {}", told()));
        }
        let (wanted, unwanted) = (ids(log, "expect_id"), ids(log, "no_expect_id"));
        if let Some(missing) = wanted.iter().find(|id| !fired.contains(*id)) {
            return Err(format!("{missing} is missing, status {}; {}", answer.status, told()));
        }
        if let Some(pattern) = log.get("no_match_regex").text()
            && among(pattern)?
        {
            return Err(format!("the record has {pattern:?}"));
        }
        if let Some(surplus) = unwanted.iter().find(|id| fired.contains(*id)) {
            return Err(format!("{surplus} was not to match; {}", told()));
        }
        let asks = !(wanted.is_empty() && unwanted.is_empty() && log.members().is_empty());
        match asks && record.is_none() && answer.status < 400 {
            true => Err("the request has no record".to_owned()),
            false => Ok(()),
        }
    }
}

fn expression(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

fn ids(log: &Node, key: &str) -> BTreeSet<u64> {
    let several = log.get(&format!("{key}s")).items().iter();
    several.chain([log.get(key)]).filter_map(|node| node.text()?.trim().parse().ok()).collect()
}

/// The bytes of a request, as go-ftw sends them, with one field more.
fn request(input: &Node, id: &str) -> Vec<u8> {
    if let Some(encoded) = input.get("encoded_request").text() {
        let text: String = encoded.split_whitespace().collect();
        let data = STANDARD.decode(text).unwrap_or_default();
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return data };
        let (line, rest) = data.split_at(end + 1);
        if rest.trim_ascii().is_empty() {
            return data;
        }
        let ending = if line.ends_with(b"\r\n") { "\r\n" } else { "\n" };
        let field = format!("X-Request-Id: {id}{ending}");
        return [line, field.as_bytes(), rest].concat();
    }
    let own = |(name, value): &(String, Node)| (name.clone(), value.text().unwrap_or_default().to_owned());
    let mut headers: Vec<(String, String)> = match input.get("ordered_headers").items() {
        [] => {
            let mut headers: Vec<_> = input.get("headers").members().iter().map(own).collect();
            headers.sort_by(|(a, _), (b, _)| a.cmp(b));
            headers
        }
        ordered => {
            let text = |node: &Node, key: &str| node.get(key).text().unwrap_or_default().to_owned();
            ordered.iter().map(|field| (text(field, "name"), text(field, "value"))).collect()
        }
    };
    let has = |headers: &[(String, String)], name: &str, holds: &dyn Fn(&str) -> bool| {
        headers.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && holds(value))
    };
    let complete = match input.get("autocomplete_headers") {
        Node::Null => !input.get("stop_magic").is_yes(),
        said => said.is_yes(),
    };
    let word = |key: &str, default: &str| input.get(key).text().unwrap_or(default).to_owned();
    let (method, uri, version) = (word("method", "GET"), word("uri", "/"), word("version", "HTTP/1.1"));
    let mut data = match (input.get("data").text(), input.get("encoded_data").text()) {
        (Some(data), _) => template(data).into_bytes(),
        (None, Some(encoded)) => {
            STANDARD.decode(encoded.split_whitespace().collect::<String>()).unwrap_or_default()
        }
        (None, None) => Vec::new(),
    };
    if !data.is_empty() && complete {
        const FORM: &str = "application/x-www-form-urlencoded";
        if !has(&headers, "content-type", &|_| true) {
            headers.push(("Content-Type".to_owned(), FORM.to_owned()));
        }
        if has(&headers, "content-type", &|value| value.eq_ignore_ascii_case(FORM)) {
            data = form(data);
        }
    }
    if has(&headers, "content-type", &|value| value.to_lowercase().contains("multipart/form-data;")) {
        data = String::from_utf8_lossy(&data).replace('\n', "\r\n").into_bytes();
    }
    if complete {
        if !has(&headers, "connection", &|_| true) {
            headers.push(("Connection".to_owned(), "close".to_owned()));
        }
        static BODIES: LazyLock<Regex> =
            LazyLock::new(|| Regex::new("^POST|PUT|PATCH|DELETE$").expect("an expression"));
        if !has(&headers, "content-length", &|_| true) && (!data.is_empty() || BODIES.is_match(&method)) {
            headers.push(("Content-Length".to_owned(), data.len().to_string()));
        }
    }
    headers.push(("X-Request-Id".to_owned(), id.to_owned()));
    let mut text = format!("{method} {uri} {version}\r\n");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text.push_str("\r\n");
    [text.as_bytes(), &data].concat()
}

/// The templates that the tests use: `{{ "x" | repeat 3 }}` and `{{ repeat 3 "x" }}`.
fn template(data: &str) -> String {
    static PIPED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\{\{-?\s*"([^"]*)"\s*\|\s*repeat\s+(\d+)\s*-?\}\}"#).expect("an expression")
    });
    static PLAIN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\{\{-?\s*repeat\s+(\d+)\s+"([^"]*)"\s*-?\}\}"#).expect("an expression")
    });
    let times = |text: &str, count: &str| text.repeat(count.parse().unwrap_or(0));
    let data = PIPED.replace_all(data, |found: &regex::Captures<'_>| times(&found[1], &found[2]));
    let data = PLAIN.replace_all(&data, |found: &regex::Captures<'_>| times(&found[2], &found[1]));
    // go-ftw sends no body where a template cannot be read.
    if data.contains("{{") { String::new() } else { data.into_owned() }
}

/// go-ftw escapes forms that unescaping would leave as they are.
fn form(data: Vec<u8>) -> Vec<u8> {
    if data.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return data;
    }
    let text = data.strip_suffix(b"&").unwrap_or(&data);
    let pair = |pair: &[u8]| match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => format!("{}={}", escaped(&pair[..at]), escaped(&pair[at + 1..])),
        None => escaped(pair),
    };
    text.split(|byte| *byte == b'&').map(pair).collect::<Vec<_>>().join("&").into_bytes()
}

fn escaped(text: &[u8]) -> String {
    text.iter()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            b'_' | b'.' | b'-' | b'~' => char::from(*byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
