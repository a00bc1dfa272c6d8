//! The WAF's transformations: each ends, none panics, and none makes much of little.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::policy::waf::transforms::Transform;

fuzz_target!(|data: (Vec<u8>, &[u8])| {
    let (choices, input) = data;
    let mut value = input.to_vec();
    for choice in choices.iter().take(8) {
        let transform = Transform::ALL[usize::from(*choice) % Transform::ALL.len()];
        let before = value.len();
        if let Some(changed) = transform.apply(&value) {
            value = changed;
        }
        assert!(value.len() <= 4 * before + 64, "{transform:?} made {} of {before}", value.len());
        if value.len() > 1 << 16 {
            return;
        }
    }
});
