//! `normalise_path`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Resolves a path: what a file system would make of it.
    ///
    /// *Changes*: double slashes, `/./` and `/../` in values that have a slash. `..` at the beginning
    /// stays, since what it stands for is not known; behind the root it is dropped.
    /// *Example*: `/var//www/./x/../../../etc` becomes `/etc`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "normalise_path",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"/")),
        yields: Some(ByteSet::EMPTY),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    resolve(input, b"/", output)
}

/// Resolves a path whose segments end at any of `slashes`.
pub(super) fn resolve(input: &[u8], slashes: &[u8], output: &mut Vec<u8>) -> bool {
    let slash = |byte: &u8| slashes.contains(byte);
    if !input.iter().any(slash) {
        return false;
    }
    let start = output.len();
    let rooted = input.first().is_some_and(slash);
    // Where the segments that a `..` may still take away begin in the output.
    let mut kept: Vec<usize> = Vec::new();
    if rooted {
        output.push(b'/');
    }
    let mut segments = input.split(slash).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => continue,
            b".." => match kept.pop() {
                Some(at) => {
                    output.truncate(at);
                    continue;
                }
                None if rooted => continue,
                None => {}
            },
            _ => kept.push(output.len()),
        }
        output.extend_from_slice(segment);
        if !last {
            output.push(b'/');
        }
    }
    output[start..] != *input
}
