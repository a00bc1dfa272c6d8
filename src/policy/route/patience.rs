//! How long a route waits, where that is not what `[timeouts]` says.

use std::time::Duration;

use crate::policy::code::Code;
use crate::policy::decode::{Span, table};
use crate::policy::diagnostic::{At, Diagnostics};

table! {
    /// How long things may take on a route, instead of what `[timeouts]` says.
    pub struct RawPatience as "timeouts" {
        /// From the request sent to the head of the upstream's answer.
        opt upstream_first_byte: At<Span>,
        /// Between two pieces of a request or response body.
        opt body_idle: At<Span>,
        /// From a request's being forwarded to the end of its answer; upgrades are not cut. No limit by default.
        opt total: At<Span>,
    }
}

/// How long a route waits. Absent: as everywhere, and for `total`, without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// From the request sent to the head of the upstream's answer.
    pub upstream_first_byte: Option<Duration>,
    /// Between two pieces of a body.
    pub body_idle: Option<Duration>,
    /// From a request's being forwarded to the end of its answer.
    pub total: Option<Duration>,
}

impl Patience {
    /// Checks and takes over what is written.
    pub(super) fn new(raw: Option<&RawPatience>, diagnostics: &mut Diagnostics) -> Patience {
        let Some(raw) = raw else { return Patience::default() };
        let mut read = |span: &Option<At<Span>>| {
            let span = span.as_ref()?;
            let duration = span.value.0;
            if duration.is_zero() {
                diagnostics
                    .push(Code::BadValue, span.place, "a timeout of zero would cut everything at once")
                    .help("leave the key out for the default");
            }
            if duration > LONGEST {
                diagnostics.push(Code::BadValue, span.place, "a timeout of more than a day is not a timeout");
            }
            Some(duration)
        };
        Patience {
            upstream_first_byte: read(&raw.upstream_first_byte),
            body_idle: read(&raw.body_idle),
            total: read(&raw.total),
        }
    }
}

/// As for `[timeouts]`.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use crate::policy::fixture::problems;

    #[test]
    fn times_are_between_nothing_and_a_day() {
        let found = |keys: &str| -> Vec<String> {
            let text =
                format!("[[route]]\nid = \"a\"\npath = \"/a\"\nupstream = \"up\"\ntimeouts = {{ {keys} }}\n");
            problems(&text).into_iter().map(|(_, _, why)| why).collect()
        };
        assert_eq!(found("total = \"0s\""), ["a timeout of zero would cut everything at once"]);
        assert_eq!(found("body_idle = \"25h\""), ["a timeout of more than a day is not a timeout"]);
        assert_eq!(
            found("upstream_first_byte = \"1s\", body_idle = \"1s\", total = \"24h\""),
            [] as [&str; 0]
        );
    }
}
