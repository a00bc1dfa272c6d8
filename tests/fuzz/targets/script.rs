//! A whole request with a body under a program in SecLang: bodies of every kind are read as far as they
//! go, and no rule breaks on what they hold.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use portcullis::config;
use portcullis::decision::Trace;
use portcullis::policy::source::Sources;
use portcullis::policy::{Policy, World};

mod support;

const CONFIG: &str = r#"version = 1
[server]
listen = ["127.0.0.1:0"]
[upstream.origin]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "origin"
[[rbac.grant]]
id = "all"
roles = ["anyone"]
[waf]
seclang = ["a.conf"]
"#;

const PROGRAM: &str = r#"
SecRule REQUEST_HEADERS:Content-Type "@contains odd" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule ARGS_NAMES|ARGS "@rx ^(.)(.*)$" "id:2,phase:2,pass,capture,setvar:'tx.seen_%{tx.1}=+1',logdata:'%{tx.2} in %{MATCHED_VAR_NAME}'"
SecRule TX:/seen_.*/ "@gt 1" "id:3,phase:2,pass,chain"
  SecRule MATCHED_VARS_NAMES|MATCHED_VAR "!@streq %{tx.seen_a}" "t:sha1,t:hexEncode"
SecRule XML:/*|XML://@*|FILES|FILES_NAMES|MULTIPART_PART_HEADERS|REQUEST_BODY|REQUEST_URI "@rx <[a-z]" "id:4,phase:2,deny,multiMatch,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:cmdLine"
SecRule REQBODY_ERROR|MULTIPART_STRICT_ERROR "@eq 1" "id:5,phase:2,pass,msg:'%{reqbody_error_msg}'"
"#;

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let mut sources = Sources::single("fuzz.toml", CONFIG);
    let file = sources.attach_program("a.conf", PROGRAM);
    sources.expand("a.conf", vec![file]);
    let outcome = config::compile(sources, Timestamp::UNIX_EPOCH);
    Arc::new(outcome.setup.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics)).policy)
});

const TYPES: [&str; 6] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "text/odd",
    "text/plain",
];

fuzz_target!(|data: (u8, Option<&[u8]>, &[u8])| {
    let (choice, written, body) = data;
    let mut sample = support::sample("192.0.2.1");
    sample.method = Method::POST;
    let kind = match written {
        Some(written) => HeaderValue::from_bytes(written).ok(),
        None => Some(HeaderValue::from_static(TYPES[usize::from(choice) % TYPES.len()])),
    };
    if let Some(kind) = kind {
        sample.headers.insert("content-type", kind);
    }
    sample.headers.insert("content-length", HeaderValue::from(body.len()));
    sample.body = Bytes::copy_from_slice(body);
    let world = World::default();
    let plain = POLICY.decide(&sample, &world, None);
    let traced = POLICY.decide(&sample, &world, Some(&mut Trace::default()));
    // To look on changes nothing.
    assert_eq!(plain.outcome, traced.outcome);
});
