//! Personal data in records: subjects, addresses and path segments as the operator wants them kept.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::IpAddr;

use aws_lc_rs::hmac;
use ipnet::IpNet;

use super::raw::{ClientPrivacy, SubjectWord};
use super::settings::Settings;
use crate::facts::Target;
use crate::policy::scope::{PathPattern, Segment};

/// How personal data is recorded.
#[derive(Clone, Debug)]
pub struct Privacy {
    subject: SubjectWord,
    client: ClientPrivacy,
    redact: Vec<PathPattern>,
    key: hmac::Key,
}

impl Privacy {
    /// The privacy that the settings ask for. Hashes are made with the key: whoever has it can tell
    /// whether a hash is that of some subject, and nobody else.
    pub fn new(settings: &Settings, key: &[u8]) -> Privacy {
        Privacy {
            subject: settings.subject,
            client: settings.client,
            redact: settings.redact.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// A subject for the record, if it is to be there.
    pub fn subject<'a>(&self, subject: &'a str) -> Option<Cow<'a, str>> {
        match self.subject {
            SubjectWord::Plain => Some(Cow::Borrowed(subject)),
            SubjectWord::Hash => Some(self.hash(subject.as_bytes()).into()),
            SubjectWord::None => None,
        }
    }

    /// An address for the record; hands the text over rather than allocating it in the usual case.
    pub(super) fn address(&self, address: IpAddr, out: &mut impl Write) {
        // Writing into a buffer does not fail.
        let _ = match self.client {
            ClientPrivacy::Plain => write_plain(address, out),
            ClientPrivacy::Prefix { v4, v6 } => {
                let length = if address.is_ipv4() { v4 } else { v6 };
                match IpNet::new(address, length) {
                    Ok(net) => write!(out, "{}", net.trunc()),
                    // Lengths are checked when the settings are; better nothing than too much.
                    Err(_) => out.write_str("?"),
                }
            }
            // Hashed as text, so that an address known from elsewhere can be compared.
            ClientPrivacy::Hash => out.write_str(&self.hash(address.to_string().as_bytes())),
        };
    }

    /// The path for the record: named segments of `[[log.redact]]` are replaced by their names.
    pub fn path<'a>(&self, target: &'a Target) -> Cow<'a, str> {
        if let Some(error) = &target.error {
            // Where the segments of an unreadable path begin and end is anybody's guess, so none can
            // be left out alone.
            return Cow::Borrowed(if self.redact.is_empty() { &error.shown } else { "[redacted]" });
        }
        let path = target.path();
        let matching: Vec<&PathPattern> =
            self.redact.iter().filter(|pattern| pattern.matches(target.segments())).collect();
        if matching.is_empty() {
            return Cow::Borrowed(path);
        }
        let mut shown = String::with_capacity(path.len());
        for (index, text) in path.split('/').skip(1).enumerate() {
            shown.push('/');
            match matching.iter().find_map(|pattern| name_at(pattern, index)) {
                Some(Name::One(name)) if !text.is_empty() => {
                    let _ = write!(shown, "{{{name}}}");
                }
                Some(Name::Rest(name)) if !text.is_empty() => {
                    let _ = write!(shown, "{{*{name}}}");
                    break;
                }
                _ => shown.push_str(text),
            }
        }
        Cow::Owned(shown)
    }

    fn hash(&self, data: &[u8]) -> String {
        let tag = hmac::sign(&self.key, data);
        let mut text = String::from("hash:");
        for byte in tag.as_ref().iter().take(HASH_BYTES) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// What `Display` writes, without its detour for addresses of version 4: each record has two.
fn write_plain(address: IpAddr, out: &mut impl Write) -> fmt::Result {
    let IpAddr::V4(address) = address else { return write!(out, "{address}") };
    let (mut text, mut length) = ([0; "255.255.255.255".len()], 0);
    let mut push = |byte: u8| {
        if let Some(place) = text.get_mut(length) {
            *place = byte;
            length += 1;
        }
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            push(b'.');
        }
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= least {
                push(b'0' + octet / unit % 10);
            }
        }
    }
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
    out.write_str(text.unwrap_or_default())
}

/// 96 bits: no two of a billion subjects collide.
const HASH_BYTES: usize = 12;

enum Name<'a> {
    One(&'a str),
    Rest(&'a str),
}

fn name_at(pattern: &PathPattern, index: usize) -> Option<Name<'_>> {
    match pattern.segments().get(index) {
        Some(Segment::Any(name)) => Some(Name::One(name)),
        Some(Segment::Literal(_)) => None,
        None => pattern.rest().map(Name::Rest),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::decision::Builtin;
    use crate::facts::Scheme;

    fn privacy(change: impl FnOnce(&mut Settings)) -> Privacy {
        let mut settings = Settings::default();
        change(&mut settings);
        Privacy::new(&settings, b"key")
    }

    fn target(path: &str) -> Target {
        let uri: Uri = format!("http://a.test{path}").parse().unwrap();
        Target::parse(&Method::GET, Scheme::Http, &uri, &HeaderMap::new())
    }

    fn redacted(patterns: &[&str], path: &str) -> String {
        let redact = patterns.iter().map(|pattern| PathPattern::parse(pattern).unwrap()).collect();
        privacy(|settings| settings.redact = redact).path(&target(path)).into_owned()
    }

    #[test]
    fn named_segments_are_replaced_by_their_names() {
        assert_eq!(redacted(&["/reset/{token}"], "/reset/s3cret"), "/reset/{token}");
        assert_eq!(redacted(&["/reset/{token}"], "/reset/s3cret/"), "/reset/{token}/");
        assert_eq!(redacted(&["/reset/{token}"], "/x/../%72eset//s3cret?a=b"), "/reset/{token}");
        assert_eq!(redacted(&["/reset/{token}"], "/reset/a/b"), "/reset/a/b");
        assert_eq!(redacted(&["/files/{*rest}"], "/files/a/b/c"), "/files/{*rest}");
        assert_eq!(redacted(&["/files/{*rest}"], "/files"), "/files");
        assert_eq!(redacted(&["/{a}/x", "/u/{b}"], "/u/x"), "/{a}/{b}");
        assert_eq!(redacted(&[], "/reset/s3cret"), "/reset/s3cret");
    }

    #[test]
    fn an_unreadable_path_is_left_out_whole_where_anything_is() {
        let target =
            Target::unintelligible(&Method::GET, Scheme::Http, "/reset/s3cret%zz", Builtin::BadPercent);
        assert_eq!(privacy(|_| {}).path(&target), "/reset/s3cret%zz");
        let redact = vec![PathPattern::parse("/reset/{token}").unwrap()];
        assert_eq!(privacy(|settings| settings.redact = redact).path(&target), "[redacted]");
    }

    fn address(client: ClientPrivacy, address: &str) -> String {
        let mut text = String::new();
        privacy(|settings| settings.client = client).address(address.parse().unwrap(), &mut text);
        text
    }

    #[test]
    fn addresses_are_kept_cut_or_hashed() {
        let cut = ClientPrivacy::Prefix { v4: 24, v6: 48 };
        for text in ["192.0.2.7", "0.0.0.0", "255.100.10.99", "1.20.103.200", "2001:db8::1"] {
            assert_eq!(address(ClientPrivacy::Plain, text), text);
        }
        assert_eq!(address(cut, "192.0.2.7"), "192.0.2.0/24");
        assert_eq!(address(cut, "2001:db8:1:2::3"), "2001:db8:1::/48");
        let hash = address(ClientPrivacy::Hash, "192.0.2.7");
        assert!(hash.starts_with("hash:") && hash.len() == 29 && !hash.contains("192"), "{hash}");
        assert_ne!(hash, address(ClientPrivacy::Hash, "192.0.2.8"));
    }

    #[test]
    fn a_hash_depends_on_the_key() {
        let settings = Settings { subject: SubjectWord::Hash, ..Settings::default() };
        let hash = |key: &[u8]| Privacy::new(&settings, key).subject("alice").map(Cow::into_owned);
        assert_eq!(hash(b"a"), hash(b"a"));
        assert_ne!(hash(b"a"), hash(b"b"));
        assert_eq!(privacy(|settings| settings.subject = SubjectWord::None).subject("alice"), None);
    }
}
