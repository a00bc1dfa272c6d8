//! `application/x-www-form-urlencoded`, and queries, which are written the same way.
//!
//! Byte by byte: nothing is replaced because it is no UTF-8, since the origin will see it as it came.

use super::{Bounds, Unreadable};
use crate::policy::waf::targets::Collection;
use crate::policy::waf::transforms::decode_form;
use crate::policy::waf::values::Values;

/// Adds the fields of a form.
pub(in crate::policy::waf) fn read(
    body: &[u8],
    bounds: &Bounds,
    values: &mut Values,
) -> Result<(), Unreadable> {
    let most = bounds.fields as usize;
    match split(body, Collection::Form, most, values) {
        true => Ok(()),
        false => Err(Unreadable::too_large("it has more fields than `waf.body.fields`")),
    }
}

/// Adds the parameters of a text, at most `most` of them; false where there are more. Names and
/// values are decoded once; a `%` that encodes nothing stays. `;` is no separator.
pub(in crate::policy::waf) fn split(
    text: &[u8],
    collection: Collection,
    most: usize,
    values: &mut Values,
) -> bool {
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        if index == most {
            return false;
        }
        let split = memchr::memchr(b'=', pair);
        let (name, value) = split.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        let name = values.put_with(|buffer| _ = decode_form(name, buffer));
        let value = values.put_with(|buffer| _ = decode_form(value, buffer));
        values.member(collection, name, value);
    }
    true
}
