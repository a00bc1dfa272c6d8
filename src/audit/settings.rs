//! `[log]`, checked: what is recorded, how, and where it goes.

use std::time::Duration;

use http::HeaderName;
use uuid::Uuid;

use super::raw::{ClientPrivacy, OnErrorWord, RawFileSink, RawFlush, RawLog, RawSink, RotateAt, SubjectWord};
use crate::policy::code::Code;
use crate::policy::decode::FilePath;
use crate::policy::diagnostic::{At, Diagnostics};
use crate::policy::scope::PathPattern;
use crate::policy::source::{Attached, Sources};

/// The settings of the decision log.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where records go.
    pub sink: SinkSettings,
    /// The share of allows that is recorded, 0 to 1.
    pub sample: f64,
    /// What happens when the sink takes no records.
    pub on_error: OnErrorWord,
    /// When records are handed over.
    pub flush: Flush,
    /// Request headers that are recorded.
    pub headers: Vec<HeaderName>,
    /// How subjects are recorded.
    pub subject: SubjectWord,
    /// How addresses are recorded.
    pub client: ClientPrivacy,
    /// The key of the hashes; one of the process's own if none.
    pub hash_key: Option<HashKey>,
    /// Bytes of matched data that the WAF keeps.
    pub waf_data: usize,
    /// Paths whose named segments are not recorded.
    pub redact: Vec<PathPattern>,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSettings {
    /// Standard output.
    Stdout,
    /// Nowhere.
    None,
    /// A file, pipe or device.
    File {
        /// Its path, relative ones from the working directory.
        path: String,
        /// The size at which a file is put aside.
        rotate: Option<u64>,
        /// How many that were put aside are kept.
        keep: u32,
    },
}

/// When records are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before the answer is sent, together with all others that are ready in the same turn.
    Group,
    /// At the latest after this time; a crash may lose that much.
    After(Duration),
}

/// The key of the hashes. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey(Box<[u8]>);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(…)")
    }
}

impl HashKey {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key in a file; its last line break does not count.
    fn read(file: &At<FilePath>, sources: &Sources, diagnostics: &mut Diagnostics) -> Option<HashKey> {
        let why = match sources.attached(file.place.file, &file.value.0) {
            Some(Attached::Text(id)) => {
                let text = sources.get(*id).map_or("", |source| source.text.trim_end_matches(['\r', '\n']));
                if text.len() >= SHORTEST_KEY {
                    return Some(HashKey(text.as_bytes().into()));
                }
                "it has fewer than 16 bytes, so hashes could be guessed"
            }
            Some(Attached::Unreadable(why)) => why,
            Some(Attached::Absent) | None => "there is no such file",
        };
        diagnostics
            .push(Code::File, file.place, format!("`{}` cannot be used: {why}", file.value.0))
            .help("make one: `openssl rand -hex 32 > hash.key`");
        None
    }
}

/// A shorter one could be guessed.
const SHORTEST_KEY: usize = 16;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sink: SinkSettings::Stdout,
            sample: 1.0,
            on_error: OnErrorWord::Block,
            flush: Flush::Group,
            headers: vec![http::header::USER_AGENT],
            subject: SubjectWord::Plain,
            client: ClientPrivacy::Plain,
            hash_key: None,
            waf_data: 0,
            redact: Vec::new(),
        }
    }
}

impl Settings {
    /// Checks `[log]`. `credentials`: headers in which sources of identity read credentials, besides
    /// the usual ones. Problems are among the diagnostics; what has one keeps its default.
    pub fn compile(
        raw: &RawLog,
        sources: &Sources,
        credentials: &[HeaderName],
        diagnostics: &mut Diagnostics,
    ) -> Settings {
        let mut settings = Settings {
            on_error: raw.on_error.unwrap_or(OnErrorWord::Block),
            subject: raw.subject.unwrap_or(SubjectWord::Plain),
            client: raw.client.as_ref().map_or(ClientPrivacy::Plain, |client| client.value),
            redact: raw.redact.iter().map(|redact| redact.path.value.clone()).collect(),
            ..Settings::default()
        };
        settings.hash_key =
            raw.hash_key_file.as_ref().and_then(|file| HashKey::read(file, sources, diagnostics));
        if let Some(sink) = &raw.sink {
            settings.sink = sink_settings(&sink.value, sources, diagnostics);
        }
        if let Some(At { value, place }) = raw.sample {
            if (0.0..=1.0).contains(&value) {
                settings.sample = value;
            } else {
                diagnostics
                    .push(Code::BadValue, place, format!("`{value}` is not a share"))
                    .help("write a number from 0 (no allow is recorded) to 1 (every one)");
            }
        }
        if let Some(At { value: RawFlush::After(span), place }) = raw.flush {
            if (SHORTEST_BATCH..=LONGEST_BATCH).contains(&span.0) {
                settings.flush = Flush::After(span.0);
            } else {
                diagnostics
                    .push(Code::BadValue, place, "records wait from 1ms to 10s")
                    .help("write \"100ms\", or \"group\" to hand each over before its answer");
            }
        }
        if let Some(At { value, place }) = raw.waf_data {
            match usize::try_from(value).ok().filter(|value| *value <= MOST_WAF_DATA) {
                Some(value) => settings.waf_data = value,
                None => {
                    let message = format!("at most {MOST_WAF_DATA} bytes of matched data are kept");
                    diagnostics.push(Code::BadValue, place, message);
                }
            }
        }
        if let Some(headers) = &raw.headers {
            settings.headers =
                headers.iter().filter_map(|name| header(name, credentials, diagnostics)).collect();
        }
        for redact in &raw.redact {
            let pattern = &redact.path.value;
            let names = |segment| matches!(segment, &crate::policy::scope::Segment::Any(_));
            if pattern.rest().is_none() && !pattern.segments().iter().any(names) {
                diagnostics
                    .push(Code::BadValue, redact.path.place, "this pattern names no segment to leave out")
                    .help("put a name in its place: \"/reset/{token}\"");
            }
        }
        settings
    }

    /// Whether a decision is recorded. Refusals and errors always are; of allows a share, chosen by
    /// the decision's id, so that every reader of the id knows which.
    pub fn keeps(&self, decision_id: Uuid, allowed: bool) -> bool {
        if !allowed || self.sample >= 1.0 {
            return true;
        }
        // The last 62 bits of a UUIDv7 are random (RFC 9562 section 5.7); 32 of them are plenty.
        let random = (decision_id.as_u128() & u128::from(u32::MAX)) as u32;
        f64::from(random) < self.sample * (f64::from(u32::MAX) + 1.0)
    }
}

fn sink_settings(raw: &RawSink, sources: &Sources, diagnostics: &mut Diagnostics) -> SinkSettings {
    let RawFileSink { file, rotate, keep, .. } = match raw {
        RawSink::Stdout => return SinkSettings::Stdout,
        RawSink::None => return SinkSettings::None,
        RawSink::File(file) => &**file,
    };
    if let Some(At { value: RotateAt(Some(size)), place }) = rotate
        && *size < SMALLEST_FILE
    {
        diagnostics
            .push(Code::BadValue, *place, "a file is put aside at 64KiB or more")
            .help("write \"100MiB\", or \"none\" to leave it to another program");
    }
    if let Some(At { value, place }) = keep
        && !(1..=MOST_FILES).contains(value)
    {
        diagnostics.push(Code::BadValue, *place, format!("1 to {MOST_FILES} files can be kept"));
    }
    SinkSettings::File {
        path: sources.resolve(file.place.file, &file.value.0),
        rotate: rotate.as_ref().map_or(Some(ROTATE), |rotate| rotate.value.0),
        keep: keep.as_ref().map_or(KEEP, |keep| keep.value).clamp(1, MOST_FILES),
    }
}

fn header(raw: &At<String>, credentials: &[HeaderName], diagnostics: &mut Diagnostics) -> Option<HeaderName> {
    let Ok(name) = HeaderName::try_from(raw.as_str()) else {
        diagnostics.push(Code::BadValue, raw.place, format!("`{}` is not a header name", raw.escape_debug()));
        return None;
    };
    if is_credential(name.as_str()) || credentials.contains(&name) {
        diagnostics
            .push(
                Code::BadValue,
                raw.place,
                format!("`{name}` carries credentials, which are never recorded"),
            )
            .help("remove it; `identity` in the record says who was shown, and by which source");
        return None;
    }
    Some(name)
}

/// Whether a header or query parameter of this name usually carries a credential.
pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

const CREDENTIALS: [&str; 24] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-amz-security-token",
    "x-forwarded-client-cert",
    "sec-websocket-key",
    "access_token",
    "refresh_token",
    "id_token",
    "token",
    "api_key",
    "password",
    "passwd",
    "secret",
    "client_secret",
    "code",
];

const ROTATE: u64 = 100 * 1024 * 1024;
const KEEP: u32 = 10;
const MOST_FILES: u32 = 1000;
const SMALLEST_FILE: u64 = 64 * 1024;
const SHORTEST_BATCH: Duration = Duration::from_millis(1);
const LONGEST_BATCH: Duration = Duration::from_secs(10);
const MOST_WAF_DATA: usize = 1024;

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::policy::decode::{Part, TableReader};
    use crate::policy::diagnostic::{FileId, Place};

    fn compile(text: &str) -> (Settings, Vec<String>) {
        let sources = Sources::single("conf/main.toml", text);
        let mut diagnostics = Diagnostics::default();
        let table = DeTable::parse(text).unwrap();
        let mut reader = TableReader::new(FileId(0), "[log]", table.get_ref(), Place::default());
        let raw = RawLog::read(&mut reader, &mut diagnostics);
        reader.finish(&mut diagnostics);
        let own = [HeaderName::from_static("x-batch-key")];
        let settings =
            raw.map(|raw| Settings::compile(&raw, &sources, &own, &mut diagnostics)).unwrap_or_default();
        (settings, diagnostics.iter().map(|problem| problem.message.clone()).collect())
    }

    fn check(text: &str, change: impl FnOnce(&mut Settings)) {
        let (got, problems) = compile(text);
        let mut want = Settings::default();
        change(&mut want);
        assert_eq!((got, problems), (want, Vec::new()), "{text}");
    }

    fn problem(text: &str) {
        assert_eq!(compile(text).1.len(), 1, "{text}: {:?}", compile(text).1);
    }

    #[test]
    fn an_empty_table_is_the_default() {
        check("", |_| {});
    }

    #[test]
    fn every_key_is_read() {
        check("sink = \"none\"", |settings| settings.sink = SinkSettings::None);
        check("sink = \"stdout\"", |_| {});
        check("sink = { file = \"d.jsonl\" }", |settings| {
            settings.sink =
                SinkSettings::File { path: "conf/d.jsonl".into(), rotate: Some(100 << 20), keep: 10 };
        });
        check("sink = { file = \"/d\", rotate = \"none\", keep = 3 }", |settings| {
            settings.sink = SinkSettings::File { path: "/d".into(), rotate: None, keep: 3 };
        });
        check("sample = 0.25", |settings| settings.sample = 0.25);
        check("sample = 0", |settings| settings.sample = 0.0);
        check("on_error = \"drop\"", |settings| settings.on_error = OnErrorWord::Drop);
        check("flush = \"group\"", |_| {});
        check("flush = \"100ms\"", |settings| settings.flush = Flush::After(Duration::from_millis(100)));
        check("headers = [\"Referer\"]", |settings| settings.headers = vec![http::header::REFERER]);
        check("headers = []", |settings| settings.headers.clear());
        check("subject = \"hash\"", |settings| settings.subject = SubjectWord::Hash);
        check("client = \"/24, /48\"", |settings| settings.client = ClientPrivacy::Prefix { v4: 24, v6: 48 });
        check("client = \"hash\"", |settings| settings.client = ClientPrivacy::Hash);
        check("waf_data = 64", |settings| settings.waf_data = 64);
        check("[[redact]]\npath = \"/reset/{token}\"", |settings| {
            settings.redact = vec![PathPattern::parse("/reset/{token}").unwrap()];
        });
    }

    #[test]
    fn what_cannot_be_used_is_reported() {
        for text in [
            "sink = \"stderr\"",
            "sink = 1",
            "sink = { rotate = \"1MiB\" }",
            "sink = { file = \"d\", rotate = \"1KiB\" }",
            "sink = { file = \"d\", keep = 0 }",
            "sink = { file = \"d\", kep = 1 }",
            "sample = 1.5",
            "sample = -0.1",
            "on_error = \"panic\"",
            "flush = \"0s\"",
            "flush = \"1h\"",
            "flush = \"often\"",
            "subject = \"clear\"",
            "client = \"/33,/48\"",
            "client = \"/24\"",
            "client = \"/+4,/48\"",
            "waf_data = 4096",
            "[[redact]]\npath = \"/reset/token\"",
            "[[redact]]\npath = \"reset\"",
            "rotate = 1",
        ] {
            problem(text);
        }
    }

    #[test]
    fn credentials_are_not_recorded_on_demand() {
        for name in ["Authorization", "cookie", "X-Api-Key", "x-batch-key", "proxy-authorization", "a b"] {
            problem(&format!("headers = [\"{name}\"]"));
        }
    }

    #[test]
    fn a_sample_is_chosen_by_the_id_and_of_its_share() {
        let settings = Settings { sample: 0.25, ..Settings::default() };
        let ids =
            (0..1000u128).map(|n| Uuid::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)));
        let kept = ids.clone().filter(|id| settings.keeps(*id, true)).count();
        assert!((200..300).contains(&kept), "{kept}");
        assert!(ids.clone().all(|id| settings.keeps(id, false)));
        assert!(ids.clone().all(|id| Settings::default().keeps(id, true)));
        let none = Settings { sample: 0.0, ..Settings::default() };
        assert!(ids.into_iter().all(|id| !none.keeps(id, true)));
    }
}
