//! A configuration file: it is good, or there is an error with a place in it, and never both.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use portcullis::config;
use portcullis::policy::code::Severity;
use portcullis::policy::source::Sources;

fuzz_target!(|text: &str| {
    let now = Timestamp::UNIX_EPOCH;
    let outcome = config::compile(Sources::single("fuzz.toml", text), now);
    assert_eq!(outcome.setup.is_none(), outcome.worst() == Some(Severity::Error), "{text}");
});
