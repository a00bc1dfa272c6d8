//! The canonical request target: method, scheme, host, path and query, parsed once.
//!
//! Policy, log and upstream read this value and nothing else. A request whose target cannot be
//! made canonical keeps the refusal in [`Target::error`]; the intake gate, which stands first,
//! answers it, and no later gate is asked.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::authority::AuthorityError;
use super::path::{Cut, Irregular, Path, Slashes};
use super::{Authority, PathError};
use crate::decision::Builtin;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The method, as sent. Methods are case-sensitive.
    pub method: Method,
    /// Whether the client's connection is encrypted (or a trusted proxy said so).
    pub scheme: Scheme,
    /// The host; absent only when [`Target::error`] is set.
    pub authority: Option<Authority>,
    /// Path and query as they are judged and logged, and forwarded unless the route rewrites them.
    text: PathAndQuery,
    rewritten: Option<PathAndQuery>,
    path: Path,
    /// The target as it came. For rules that look at how it was written, and nothing else.
    pub sent: Uri,
    /// The request line as it came, where that is not what `sent` and the method say.
    pub line: Option<Box<[u8]>>,
    /// Whether the host is another than the one that the connection was made for, where that matters.
    pub misdirected: bool,
    /// Why this target is not to be served, if so.
    pub error: Option<TargetError>,
}

/// The scheme of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

/// Why a target is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// The built-in `intake/` rule.
    pub rule: Builtin,
    /// The target as it came, escaped and cut, for the log.
    pub shown: Box<str>,
}

/// The irregularities a route accepts (`accept` in `[[route]]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// `encoded-slash`
    pub encoded_slash: bool,
    /// `backslash`
    pub backslash: bool,
    /// `path-parameters`
    pub path_parameters: bool,
    /// `double-slash`
    pub double_slash: bool,
    /// `underscore-headers`
    pub underscore_headers: bool,
    /// `trailers`
    pub trailers: bool,
}

impl Accept {
    /// Whether all that another takes is taken.
    pub fn covers(self, other: Accept) -> bool {
        let Accept { encoded_slash, backslash, path_parameters, double_slash, underscore_headers, trailers } =
            other;
        (self.encoded_slash || !encoded_slash)
            && (self.backslash || !backslash)
            && (self.path_parameters || !path_parameters)
            // Where empty segments are kept, the path is another one.
            && self.double_slash == double_slash
            && (self.underscore_headers || !underscore_headers)
            && (self.trailers || !trailers)
    }
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of an authority that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Target {
    /// Makes the canonical target of a request head.
    pub fn parse(method: &Method, scheme: Scheme, uri: &Uri, headers: &HeaderMap) -> Target {
        let mut target = Target {
            method: method.clone(),
            scheme,
            authority: None,
            text: PathAndQuery::from_static("/"),
            rewritten: None,
            path: Path::default(),
            sent: uri.clone(),
            line: None,
            misdirected: false,
            error: None,
        };
        if let Err(rule) = target.fill(uri, headers) {
            target.error = Some(TargetError { rule, shown: shown(uri.path()) });
        }
        target
    }

    /// The target of a request that could not be read at all.
    pub fn unintelligible(method: &Method, scheme: Scheme, raw: &str, rule: Builtin) -> Target {
        Target {
            method: method.clone(),
            scheme,
            authority: None,
            text: PathAndQuery::from_static("/"),
            rewritten: None,
            path: Path::default(),
            sent: Uri::default(),
            line: None,
            misdirected: false,
            error: Some(TargetError { rule, shown: shown(raw) }),
        }
    }

    /// Marks the target as refused, unless it already is. `uri` is the target as it came.
    pub fn refuse(&mut self, rule: Builtin, uri: &Uri) {
        self.error.get_or_insert_with(|| TargetError { rule, shown: shown(uri.path()) });
    }

    fn fill(&mut self, uri: &Uri, headers: &HeaderMap) -> Result<(), Builtin> {
        if self.method == Method::CONNECT && uri.path_and_query().is_none() {
            // It asks for a tunnel, and its target is a host and nothing that a route could serve.
            return Err(Builtin::MethodRefused);
        }
        // RFC 9112 section 3.2.3: a host alone is no target of any other method, whatever the Host field says.
        if uri.scheme().is_none() && uri.authority().is_some() && uri.path_and_query().is_none() {
            return Err(Builtin::BadTarget);
        }
        self.authority = Some(self.read_authority(uri, headers)?);
        let raw = uri.path_and_query().ok_or(Builtin::BadTarget)?;
        self.set_path(raw, Slashes::Merge)
    }

    fn set_path(&mut self, raw: &PathAndQuery, slashes: Slashes) -> Result<(), Builtin> {
        // `http://host?a=b` has no path, and `http` reads one into it that it does not write out again.
        if raw.as_str().starts_with('?') {
            return Err(Builtin::BadTarget);
        }
        let (path, rewritten) = Path::parse(raw.path(), slashes).map_err(|PathError(rule)| rule)?;
        self.text = match rewritten {
            // Of no path at all `http` says that it is `/`, but not that the two are equal.
            None if raw.as_str() == "/" => PathAndQuery::from_static("/"),
            None => raw.clone(),
            Some(mut text) => {
                if let Some(query) = raw.query() {
                    text.push('?');
                    text.push_str(query);
                }
                PathAndQuery::try_from(text).map_err(|_| Builtin::BadTarget)?
            }
        };
        self.path = path;
        Ok(())
    }

    /// RFC 9112 section 3.2: exactly one host. Where the target names one too, both must agree.
    fn read_authority(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Builtin> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (field, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(Builtin::AuthorityConflict);
        }
        let parse = |raw: &HeaderValue| {
            Authority::parse(raw).map_err(|error| match error {
                AuthorityError::Missing => Builtin::AuthorityMissing,
                AuthorityError::Invalid => Builtin::AuthorityConflict,
            })
        };
        let field = field.map(parse).transpose()?;
        let Some(authority) = uri.authority() else { return field.ok_or(Builtin::AuthorityMissing) };
        let raw = HeaderValue::from_str(authority.as_str()).map_err(|_| Builtin::AuthorityConflict)?;
        let named = parse(&raw)?;
        match field {
            Some(field) if !field.same_as(&named, self.scheme.default_port()) => {
                Err(Builtin::AuthorityConflict)
            }
            _ => Ok(named),
        }
    }

    /// Reads the path again with its empty segments kept, for a route that accepts them.
    /// `raw` is the target as it came.
    pub fn keep_double_slashes(&mut self, raw: &Uri) {
        let Some(text) = raw.path_and_query() else { return };
        if let Err(rule) = self.set_path(text, Slashes::Keep) {
            self.error = Some(TargetError { rule, shown: shown(text.as_str()) });
        }
    }

    /// The canonical path, percent-encoded: what is forwarded and logged.
    pub fn path(&self) -> &str {
        self.text.path()
    }

    /// The path after one decoding.
    pub fn decoded_path(&self) -> &str {
        self.path.decoded(self.text.path())
    }

    /// The decoded segments.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.path.segments(self.text.path())
    }

    /// Where the segments end in the decoded path: one cut before the first, and one behind each.
    #[inline]
    pub fn cuts(&self) -> &[Cut] {
        self.path.cuts()
    }

    /// Whether the path ends in a slash.
    pub fn trailing_slash(&self) -> bool {
        self.path.trailing_slash()
    }

    /// The query as it came, without `?`.
    pub fn query(&self) -> Option<&str> {
        self.text.query()
    }

    /// Path and query as they are judged.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.text
    }

    /// Path and query as they are forwarded: as they were judged, or as the route makes them of that.
    pub fn forwarded(&self) -> &PathAndQuery {
        self.rewritten.as_ref().unwrap_or(&self.text)
    }

    /// Notes what the route makes of path and query.
    pub fn forward_as(&mut self, text: PathAndQuery) {
        self.rewritten = Some(text);
    }

    /// The host that was asked for; empty only when the target is in error.
    pub fn host(&self) -> &str {
        self.authority.as_ref().map_or("", Authority::host)
    }

    /// The same as bytes.
    #[inline]
    pub fn host_bytes(&self) -> &[u8] {
        self.authority.as_ref().map_or(&[], Authority::host_bytes)
    }

    /// The host's hash; see [`hash_host`](super::hash_host).
    #[inline]
    pub fn host_hash(&self) -> u64 {
        self.authority.as_ref().map_or(0, Authority::host_hash)
    }

    /// What two readers might understand differently.
    pub fn irregular(&self) -> Irregular {
        self.path.irregular()
    }
}

/// The longest piece of an unreadable target that the log keeps.
const SHOWN: usize = 256;

/// A target for the log: cut, control and non-ASCII bytes escaped, the query left out (it may hold
/// a secret, and nothing has been redacted yet).
fn shown(raw: &str) -> Box<str> {
    let path = raw.split('?').next().unwrap_or("");
    let mut shown = String::new();
    for c in path.chars().take(SHOWN) {
        match c {
            ' '..='~' => shown.push(c),
            _ => shown.extend(c.escape_default()),
        }
    }
    shown.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str, hosts: &[&'static str]) -> Result<String, Builtin> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        let uri: Uri = uri.parse().map_err(|_| Builtin::Malformed)?;
        let target = Target::parse(&Method::GET, Scheme::Http, &uri, &headers);
        match target.error {
            Some(error) => Err(error.rule),
            None => Ok(format!("{} {}", target.host(), target.path_and_query())),
        }
    }

    #[test]
    fn path_is_canonical_and_query_is_as_it_came() {
        assert_eq!(parse("/a/%2e%2e/b?x=/../%zz", &["App.Test:80"]).as_deref(), Ok("app.test /b?x=/../%zz"));
    }

    #[test]
    fn exactly_one_host_is_named() {
        assert_eq!(parse("/", &[]), Err(Builtin::AuthorityMissing));
        assert_eq!(parse("/", &["a.test", "a.test"]), Err(Builtin::AuthorityConflict));
        assert_eq!(parse("/", &["a.test, b.test"]), Err(Builtin::AuthorityConflict));
        assert_eq!(parse("http://a.test/x", &["A.test."]).as_deref(), Ok("a.test /x"));
        assert_eq!(parse("http://a.test:80/x", &["a.test"]).as_deref(), Ok("a.test /x"));
        assert_eq!(parse("http://a.test/x", &["b.test"]), Err(Builtin::AuthorityConflict));
        assert_eq!(parse("http://a@b.test/x", &["b.test"]), Err(Builtin::AuthorityConflict));
        assert_eq!(parse("http://a.test/x", &[]).as_deref(), Ok("a.test /x"));
    }

    #[test]
    fn authority_form_and_asterisk_are_not_paths() {
        assert_eq!(parse("a.test:80", &["a.test:80"]), Err(Builtin::BadTarget));
        assert_eq!(parse("pub", &["a.test"]), Err(Builtin::BadTarget));
        assert_eq!(parse("*", &["a.test"]), Err(Builtin::BadTarget));
    }

    #[test]
    fn without_a_path_the_root_is_meant_and_a_query_alone_is_no_target() {
        // Found by fuzzing: the text was empty, which only looks like `/`.
        let uri = Uri::from_static("http://a.test");
        let target = Target::parse(&Method::GET, Scheme::Http, &uri, &HeaderMap::new());
        assert_eq!(*target.path_and_query(), PathAndQuery::from_static("/"));
        assert_eq!(parse("http://a.test?x=/admin", &["a.test"]), Err(Builtin::BadTarget));
    }

    #[test]
    fn a_kept_double_slash_is_forwarded() {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("a.test"))]);
        let uri = Uri::from_static("/a//b");
        let mut target = Target::parse(&Method::GET, Scheme::Http, &uri, &headers);
        assert_eq!(target.path(), "/a/b");
        target.keep_double_slashes(&uri);
        assert_eq!((target.path(), target.segments().count()), ("/a//b", 3));
    }

    #[test]
    fn the_log_text_of_a_refused_target_is_escaped_and_has_no_query() {
        assert_eq!(&*shown("/a\u{202e}\nb?token=x"), "/a\\u{202e}\\nb");
    }
}
