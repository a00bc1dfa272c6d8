//! The command that makes a request, with every secret replaced by a variable.

use http::header;

use super::asked::{Asked, is_secret};
use crate::cli::files::is_stdin;
use crate::config::{Listener, Setup};
use crate::facts::{RouteId, Scheme};
use crate::policy::authn::Challenge;
use crate::policy::{Caller, Sample};

/// A `curl` command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its words, quoted for a shell.
    words: Vec<String>,
    /// What must be arranged besides.
    pub(super) notes: Vec<String>,
}

impl Command {
    /// The command that makes this request to the configured listener.
    pub(super) fn new(setup: &Setup, asked: &Asked, sample: &Sample, route: Option<RouteId>) -> Command {
        let mut words: Vec<String> = ["curl", "-i"].map(str::to_owned).to_vec();
        let mut notes = Vec::new();
        match sample.method {
            http::Method::GET => {}
            // With `-X HEAD`, curl would wait for a body.
            http::Method::HEAD => words.push("-I".to_owned()),
            ref method => words.push(format!("-X {}", quote(method.as_str()))),
        }
        let target = sample.uri.path_and_query().map_or("/", |target| target.as_str());
        if target.contains("/.") || target.contains("//") {
            words.push("--path-as-is".to_owned());
        }
        if target.contains(['[', ']', '{', '}']) {
            words.push("--globoff".to_owned());
        }
        let host = sample.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if host.is_some_and(str::is_empty) {
            words.push("-H host:".to_owned());
        }
        let host = host.filter(|host| !host.is_empty()).unwrap_or("localhost");
        let tls = |listener: &Listener| listener.tls.is_none() == (sample.scheme == Scheme::Http);
        let listeners = &setup.settings.listeners;
        let listener = listeners.iter().find(|listener| tls(listener)).or(listeners.first());
        if let Some(listener) = listener {
            let mut address = listener.address;
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { LOOPBACK.into() });
            }
            words.push(format!("--connect-to {}", quote(&format!("::{address}"))));
            if !tls(listener) {
                notes.push(format!("no listener speaks {}: a proxy in front must", sample.scheme.as_str()));
            }
        }
        // What curl would add by itself and the judged request does not have.
        for name in [header::ACCEPT, header::USER_AGENT] {
            if !sample.headers.contains_key(&name) {
                words.push(format!("-H {}", quote(&format!("{name}:"))));
            }
        }
        for (name, value) in &sample.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let words_of = match name {
                name if *name == header::HOST || *name == header::CONTENT_LENGTH => continue,
                name if is_secret(name) || asked.key_header.as_ref() == Some(name) => {
                    let scheme = value.split_once(' ').filter(|_| *name == header::AUTHORIZATION);
                    let scheme = scheme.map(|(scheme, _)| format!("{} ", plain(scheme))).unwrap_or_default();
                    secret_field(name.as_str(), &scheme, &variable(name.as_str()))
                }
                name => format!("-H {}", quote(&format!("{name}: {value}"))),
            };
            words.push(words_of);
        }
        if let Caller::Assumed(holder) = &sample.caller {
            let authn = &setup.policy.authn;
            let offered = match authn.has_sources() {
                true => authn.challenges(setup.policy.route_authn(route)),
                false => &[],
            };
            // Who was verified shows it the same way again; of whom that is not known, a key or a password
            // that is for somebody else is no way.
            let way = authn.way_of(holder);
            let possible: Vec<Challenge> =
                offered.iter().filter(|way| authn.may_show(way, &holder.subject)).cloned().collect();
            let offered = if possible.is_empty() { offered } else { &possible };
            let offered = way.as_ref().map_or(offered, std::slice::from_ref);
            if let Some((word, variable)) = credential(offered, &holder.subject) {
                words.push(word);
                notes.push(format!("{variable} holds a credential of {}", holder.subject));
            }
        }
        match &asked.body {
            Some(file) if is_stdin(file) => words.push("--data-binary @-".to_owned()),
            Some(file) => {
                words.push(format!("--data-binary {}", quote(&format!("@{}", file.to_string_lossy()))));
            }
            None => {}
        }
        if asked.body.is_some() && !sample.headers.contains_key(header::CONTENT_TYPE) {
            words.push(format!("-H {}", quote("content-type:")));
        }
        words.push(quote(&format!("{}://{host}{target}", sample.scheme.as_str())));
        if let Some(hidden) = &asked.hidden {
            notes.push(format!("it must come from {}", hidden.origin()));
        } else if !sample.peer.is_loopback() {
            notes.push(format!("it must come from {}", sample.peer));
        }
        Command { words, notes }
    }

    /// The command in one line.
    pub(super) fn line(&self) -> String {
        self.words.join(" ")
    }

    /// The command in lines that continue.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in &self.words {
            match lines.last_mut() {
                // Room for the blank and the backslash behind the word.
                Some(line) if line.chars().count() + word.chars().count() + 3 <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.clone()),
            }
        }
        lines
    }
}

/// A field whose value a variable of the shell holds. A name may have characters that shells act on, such
/// as a back-tick or `$`, so it does not stand in double quotes then.
fn secret_field(name: &str, scheme: &str, variable: &str) -> String {
    let tame = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    match tame {
        true => format!("-H \"{name}: {scheme}${variable}\""),
        false => format!("-H {}\"${variable}\"", quote(&format!("{name}: {scheme}"))),
    }
}

const LOOPBACK: [u16; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// How the subject shows who it is, in the first way that a source of the route reads, and the
/// variable that holds the secret.
fn credential(offered: &[Challenge], subject: &str) -> Option<(String, &'static str)> {
    let key = offered.iter().find_map(|way| match way {
        Challenge::ApiKey { header } => Some((secret_field(header.as_str(), "", "KEY"), "KEY")),
        Challenge::Bearer | Challenge::Basic { .. } => None,
    });
    let password = offered.iter().find_map(|way| match way {
        Challenge::Basic { .. } if !subject.contains(':') => {
            Some((format!("-u {}\"$PASSWORD\"", quote(&format!("{subject}:"))), "PASSWORD"))
        }
        _ => None,
    });
    let token = offered.contains(&Challenge::Bearer);
    let token = token.then(|| ("-H \"authorization: Bearer $TOKEN\"".to_owned(), "TOKEN"));
    key.or(password).or(token)
}

/// A word for a POSIX shell.
fn quote(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The scheme of an Authorization field, safe between double quotes.
fn plain(scheme: &str) -> String {
    scheme.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

/// The shell variable that stands for the value of a field.
fn variable(name: &str) -> String {
    match name {
        "authorization" => "TOKEN".to_owned(),
        name => name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_shells_act_on_is_quoted() {
        assert_eq!(secret_field("x-key", "", "KEY"), "-H \"x-key: $KEY\"");
        assert_eq!(secret_field("x-`id`-$a", "", "K"), "-H 'x-`id`-$a: '\"$K\"");
    }
}
