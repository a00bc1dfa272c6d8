//! `remove_comments_char`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Deletes the marks of comments and keeps what stands between them.
    ///
    /// *Changes*: `/*`, `*/`, `<!--`, `-->`, `--` and `#` disappear.
    /// *Example*: `un/**/ion --x` becomes `union x`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "remove_comments_char",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"/*<-#")),
        yields: Some(ByteSet::EMPTY),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    const MARKS: [&[u8]; 6] = [b"/*", b"*/", b"<!--", b"-->", b"--", b"#"];
    let start = output.len();
    let mut rest = input;
    while let Some((first, tail)) = rest.split_first() {
        match MARKS.iter().find(|mark| rest.starts_with(mark)) {
            Some(mark) => rest = &rest[mark.len()..],
            None => {
                output.push(*first);
                rest = tail;
            }
        }
    }
    output.len() - start != input.len()
}
