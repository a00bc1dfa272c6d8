//! `[otlp]`: where traces and metrics are sent.

use std::time::Duration;

use http::Uri;

use crate::policy::code::Code;
use crate::policy::decode::{Span, table};
use crate::policy::diagnostic::{At, Diagnostics};

table! {
    /// `[otlp]`: traces and metrics for OpenTelemetry, sent to a collector over HTTP. Needs a build with
    /// `--features otlp`.
    pub struct RawOtlp as "[otlp]" {
        /// Where the collector is: `http://127.0.0.1:4318`. Traces go to `/v1/traces` under it, metrics to
        /// `/v1/metrics`.
        req endpoint: At<String>,
        /// What this gateway is called there (`service.name`); `portcullis` unless given.
        opt service: At<String>,
        /// Whether traces are sent; they are unless `false`.
        opt traces: bool,
        /// The share of new traces that are sent, from 0 to 1; all unless given. What is refused or fails is
        /// sent always, and of a trace that a caller has begun the caller decides.
        opt sample: At<f64>,
        /// Whether metrics are sent; they are unless `false`.
        opt metrics: bool,
        /// How often metrics are sent; `"60s"` unless given.
        opt interval: At<Span>,
    }
}

/// Where traces and metrics are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// The collector.
    pub endpoint: Uri,
    /// `service.name`.
    pub service: String,
    /// The share of new traces that are sent; none: no traces are.
    pub sample: Option<f64>,
    /// How often metrics are sent; none: they are not.
    pub interval: Option<Duration>,
}

impl Otlp {
    /// Checks the table. `None`: it cannot be used, which is reported.
    pub(super) fn new(raw: &RawOtlp, diagnostics: &mut Diagnostics) -> Option<Otlp> {
        if cfg!(not(feature = "otlp")) {
            diagnostics
                .push(Code::Conflict, raw.place, "this portcullis was built without OpenTelemetry")
                .help("build it with `cargo build --release --features otlp`, or remove `[otlp]`");
        }
        let sample = raw.sample.map_or(1.0, |sample| sample.value);
        if let Some(at) = raw.sample.filter(|_| !(0.0..=1.0).contains(&sample)) {
            diagnostics.push(Code::BadValue, at.place, "`sample` is a share, from 0 to 1");
        }
        let interval = raw.interval.map_or(INTERVAL, |interval| interval.value.0);
        if let Some(at) = raw.interval.filter(|_| !(SHORTEST..=LONGEST).contains(&interval)) {
            diagnostics.push(Code::BadValue, at.place, "`interval` is from 1s to 1h");
        }
        let endpoint = raw.endpoint.parse::<Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        if endpoint.is_none() && !diagnostics.lacks(raw.place, &["endpoint"]) {
            diagnostics
                .push(Code::BadValue, raw.endpoint.place, "this is not the address of a collector")
                .help("write `endpoint = \"http://127.0.0.1:4318\"`, without `/v1/traces`");
        }
        Some(Otlp {
            endpoint: endpoint?,
            service: raw.service.as_ref().map_or_else(|| "portcullis".to_owned(), |name| name.value.clone()),
            sample: (raw.traces != Some(false)).then_some(sample),
            interval: (raw.metrics != Some(false)).then_some(interval),
        })
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use crate::config::compile;
    use crate::policy::code::Code;
    use crate::policy::source::Sources;

    #[track_caller]
    fn check(table: &str, want: &[Code]) {
        let text = format!(
            "version = 1\n[server]\nlisten = [\"127.0.0.1:80\"]\n[upstream.app]\nservers = [\"builtin:echo\"]\n\
             [[route]]\nid = \"r\"\npath = \"/{{*rest}}\"\nupstream = \"app\"\n\
             [[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n[otlp]\n{table}\n"
        );
        let outcome = compile(Sources::single("p.toml", text), jiff::Timestamp::UNIX_EPOCH);
        let codes: Vec<Code> = outcome.diagnostics.iter().map(|found| found.code).collect();
        let without = cfg!(not(feature = "otlp")).then_some(Code::Conflict);
        let mut want: Vec<Code> = without.into_iter().chain(want.iter().copied()).collect();
        want.sort_by_key(|code| *code != Code::MissingKey);
        assert_eq!(codes, want, "{table}");
    }

    #[test]
    fn a_collector_is_named_by_its_address() {
        check("endpoint = \"http://127.0.0.1:4318\"", &[]);
        check(
            "endpoint = \"https://otel.example.com/tenant\"\nsample = 0.1\ninterval = \"10s\"\nmetrics = false",
            &[],
        );
        for endpoint in ["127.0.0.1:4318", "grpc://a", "http://user:pw@a", "http://a/?x"] {
            check(&format!("endpoint = \"{endpoint}\""), &[Code::BadValue]);
        }
        check("endpoint = \"http://a\"\nsample = 1.5", &[Code::BadValue]);
        check("endpoint = \"http://a\"\ninterval = \"1ms\"", &[Code::BadValue]);
        check("", &[Code::MissingKey]);
    }
}
