//! A path as a pattern that covers just it.
//!
//! A request may ask for `/a/{*rest}` by these very letters, and written into a rule that would be
//! everything below `/a`. What a pattern cannot say by its letters stands as a name there, which a
//! condition holds to its text.

use crate::facts::Target;
use crate::policy::scope::{PathPattern, Segment};

/// A pattern with what it leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exactly {
    pub(super) pattern: String,
    /// Names of segments, with their texts.
    open: Vec<(String, String)>,
}

impl Exactly {
    /// The path of a target.
    pub(super) fn of(target: &Target) -> Exactly {
        Exactly::from(target.segments())
    }

    fn from<'s>(segments: impl Iterator<Item = &'s str>) -> Exactly {
        let (mut pattern, mut open) = (String::new(), Vec::new());
        for (at, segment) in segments.enumerate() {
            let own = PathPattern::parse(&format!("/{segment}"));
            let literal = |pattern: &PathPattern| {
                matches!(pattern.segments(), [Segment::Literal(text)] if **text == *segment)
                    && pattern.rest().is_none()
            };
            pattern.push('/');
            if own.as_ref().is_ok_and(literal) {
                pattern.push_str(segment);
            } else {
                let name = format!("segment{}", at + 1);
                pattern.push_str(&format!("{{{name}}}"));
                open.push((name, segment.to_owned()));
            }
        }
        if pattern.is_empty() {
            pattern.push('/');
        }
        Exactly { pattern, open }
    }

    /// The condition that it needs, where it covers more than the path.
    pub(super) fn when(&self) -> Option<String> {
        let text = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let parts: Vec<String> =
            self.open.iter().map(|(name, own)| format!("path.{name} == \"{}\"", text(own))).collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_pattern_by_its_letters() {
        let check = |segments: &[&str], pattern: &str, when: Option<&str>| {
            let exactly = Exactly::from(segments.iter().copied());
            assert_eq!((exactly.pattern.as_str(), exactly.when().as_deref()), (pattern, when));
            assert!(PathPattern::parse(pattern).is_ok_and(|read| read.matches(segments.iter().copied())));
        };
        check(&[], "/", None);
        check(&["orders", "7"], "/orders/7", None);
        check(&["a", "{*rest}"], "/a/{segment2}", Some("path.segment2 == \"{*rest}\""));
        check(&["{id}", "b"], "/{segment1}/b", Some("path.segment1 == \"{id}\""));
        check(
            &["a*", "b/c"],
            "/{segment1}/{segment2}",
            Some("path.segment1 == \"a*\" and path.segment2 == \"b/c\""),
        );
        check(&["a?\"\\"], "/{segment1}", Some("path.segment1 == \"a?\\\"\\\\\""));
    }
}
