//! `normalise_path_win`

use super::TransformInfo;
use super::normalise_path::resolve;
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Resolves a path in which a backslash is a slash.
    ///
    /// *Changes*: as `normalise_path`; backslashes become slashes.
    /// *Example*: `..\..\windows\.\win.ini` becomes `../../windows/win.ini`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "normalise_path_win",
        doc: DOC,
        apply,
        triggers: Some(ByteSet::of(b"/\\")),
        yields: Some(ByteSet::of(b"/")),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    resolve(input, b"/\\", output)
}
