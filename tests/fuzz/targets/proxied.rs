//! The PROXY protocol: bytes that arrive one by one name a client only once they are all there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facts::proxied::{MAX_LINE, Wanted, said, wanted};

fuzz_target!(|data: &[u8]| {
    let _ = said(data);
    let mut head = 0;
    loop {
        match wanted(&data[..head]) {
            Err(_) => return,
            Ok(Wanted::Nothing) => break,
            Ok(Wanted::Bytes(count)) => {
                assert!(count > 0, "nothing is asked for");
                head += count;
            }
            Ok(Wanted::Line) => {
                assert!(head < MAX_LINE, "a line without end is read");
                head += 1;
            }
        }
        if head > data.len() {
            return;
        }
    }
    if said(&data[..head]).is_ok() {
        assert!(said(&data[..head - 1]).is_err(), "a cut header was taken");
        assert!(head <= 16 + 16 * 1024, "a header is too long");
    }
});
