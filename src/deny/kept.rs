//! Values of fields that are the same for many answers, kept by each thread.
//!
//! Not shared by threads: all of them would write to one counter, with every answer.

use std::cell::RefCell;

use http::HeaderValue;

use super::view::VersionText;
use crate::decision::Version;

/// So many names of rules; others take their places.
const NAMES: usize = 16;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known { names: [const { None }; NAMES], version: None }) };
}

struct Known {
    names: [Option<HeaderValue>; NAMES],
    version: Option<(Version, HeaderValue)>,
}

/// The name of a rule as a value.
pub(super) fn name(text: &str) -> Option<HeaderValue> {
    KNOWN.with_borrow_mut(|known| {
        let last = text.as_bytes().last().copied().unwrap_or(0);
        let place = known.names.get_mut((text.len() + usize::from(last)) % NAMES)?;
        match place {
            Some(value) if value == text => Some(value.clone()),
            _ => HeaderValue::from_str(text).ok().inspect(|value| *place = Some(value.clone())),
        }
    })
}

/// The version of a policy as a value.
pub(super) fn version(version: Version) -> Option<HeaderValue> {
    KNOWN.with_borrow_mut(|known| match &known.version {
        Some((of, value)) if *of == version => Some(value.clone()),
        _ => {
            let value = HeaderValue::from_str(VersionText::new(version).as_str()).ok()?;
            known.version = Some((version, value.clone()));
            Some(value)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_its_text_whatever_was_asked_for_before() {
        for round in 0..3 {
            for text in ["rbac/a", "rbac/b", "rbac/q", "ip/b", "", "rbac/a"] {
                assert_eq!(name(text).as_ref().map(HeaderValue::as_bytes), Some(text.as_bytes()), "{round}");
            }
            assert_eq!(name("a\nb"), None);
            for generation in [1, 2, 1] {
                let asked = Version { generation, hash: 7 };
                assert_eq!(version(asked).unwrap(), asked.to_string());
            }
        }
    }
}
