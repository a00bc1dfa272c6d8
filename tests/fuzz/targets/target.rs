//! A request target: what is accepted is canonical, and nothing climbs out of it.
#![no_main]

use http::{HeaderMap, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;
use portcullis::facts::{Scheme, Target};

fuzz_target!(|data: (&[u8], &[u8])| {
    let (line, host) = data;
    let (Ok(uri), Ok(host)) = (Uri::try_from(line), HeaderValue::from_bytes(host)) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("host", host);
    let target = Target::parse(&Method::GET, Scheme::Http, &uri, &headers);
    if target.error.is_some() {
        return;
    }
    assert!(target.segments().all(|segment| segment != "." && segment != ".."), "{uri}");
    assert!(target.path().starts_with('/'), "{uri}");
    // What was judged is forwarded; whoever reads it again must read the same.
    let again: Uri = target.path_and_query().as_str().parse().expect("a canonical target is a target");
    let again = Target::parse(&Method::GET, Scheme::Http, &again, &headers);
    assert!(again.error.is_none(), "{uri}");
    assert_eq!(again.path_and_query(), target.path_and_query());
    assert!(again.segments().eq(target.segments()), "{uri}");
});
