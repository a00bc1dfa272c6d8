//! `sql_comments`

use super::TransformInfo;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Undoes the comments of SQL, and keeps what MySQL runs inside of them.
    ///
    /// *Changes*: `/* … */` becomes a space; of `/*! … */` and `/*!50000 … */`, which MySQL executes, the
    /// inside stays; `--` and `#` up to a line feed become a space where a line follows them.
    /// *Example*: `1/*!50000union*/ -- x`, line feed, `select` becomes `1 union   select`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "sql_comments",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"/\n")),
        yields: Some(ByteSet::of(b" ")),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    // Most of the texts with a slash or a line feed have no comment.
    if memchr::memmem::find(input, b"/*").is_none() && memchr::memchr(b'\n', input).is_none() {
        return false;
    }
    let mut rest = input;
    let mut changed = false;
    let mut executed = false;
    // Line comments are looked for only before the last line feed, so that no byte is searched twice.
    let last_line = memchr::memrchr(b'\n', input).map_or(0, |at| input.len() - at);
    while let Some((first, tail)) = rest.split_first() {
        if let Some(inside) = rest.strip_prefix(b"/*") {
            changed = true;
            output.push(b' ');
            match inside.strip_prefix(b"!") {
                Some(code) => {
                    executed = true;
                    rest = &code[code.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count()..];
                }
                None => rest = memchr::memmem::find(inside, b"*/").map_or(&[][..], |end| &inside[end + 2..]),
            }
        } else if executed && rest.starts_with(b"*/") {
            executed = false;
            output.push(b' ');
            rest = &rest[2..];
        } else if (*first == b'#' || rest.starts_with(b"--"))
            && rest.len() > last_line
            && let Some(end) = memchr::memchr(b'\n', rest)
        {
            changed = true;
            output.push(b' ');
            rest = &rest[end + 1..];
        } else {
            output.push(*first);
            rest = tail;
        }
    }
    changed
}
