//! A program in SecLang: it is run, or there is an error with a place in it, and never both.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use portcullis::config;
use portcullis::policy::code::Severity;
use portcullis::policy::source::Sources;

const CONFIG: &str = "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\n[waf]\nseclang = [\"a.conf\"]\n";

fuzz_target!(|text: &str| {
    let mut sources = Sources::single("fuzz.toml", CONFIG);
    let file = sources.attach_program("a.conf", text);
    sources.expand("a.conf", vec![file]);
    let outcome = config::compile(sources, Timestamp::UNIX_EPOCH);
    assert_eq!(outcome.setup.is_none(), outcome.worst() == Some(Severity::Error), "{text}");
});
