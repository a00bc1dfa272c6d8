//! `remove_whitespace`

use super::{TransformInfo, WIDE_BLANKS, is_blank};
use crate::policy::waf::bytes::ByteSet;
use crate::policy::waf::documented::documented;

documented! {
    /// Deletes all blanks.
    ///
    /// *Changes*: the same blanks as `compress_whitespace`.
    /// *Example*: `java script :` becomes `javascript:`.
    pub(super) const INFO: TransformInfo = |DOC| TransformInfo {
        name: "remove_whitespace",
        doc: DOC,
        apply,
        triggers: Some(WIDE_BLANKS),
        yields: Some(ByteSet::EMPTY),
    };
}

fn apply(input: &[u8], output: &mut Vec<u8>) -> bool {
    let start = output.len();
    output.resize(start + input.len(), 0);
    let kept = output.get_mut(start..).unwrap_or_default();
    // Every byte is written, and the next one over it where it was a blank: texts have so many that a
    // branch would often be guessed wrong.
    let (mut count, mut before) = (0, 0);
    for byte in input {
        // The no-break space: its second byte takes the first one back.
        let wide = before == 0xc2 && *byte == 0xa0;
        count -= usize::from(wide);
        if let Some(place) = kept.get_mut(count) {
            *place = *byte;
        }
        count += usize::from(!(wide || is_blank(*byte)));
        before = *byte;
    }
    output.truncate(start + count);
    count != input.len()
}
