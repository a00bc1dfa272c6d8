//! One parameter of a query, decoded as forms are: `+` is a space, `%` begins two digits.

use std::borrow::Cow;

use super::fact::Unknown;

/// The value of the parameter. Its name is decoded before it is compared, or a second one could be
/// hidden by its spelling.
pub(super) fn parameter<'q>(query: Option<&'q str>, name: &str) -> Result<Cow<'q, str>, Unknown> {
    let mut found = None;
    for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if is_named(key, name) && found.replace(value).is_some() {
            return Err(Unknown::Twice);
        }
    }
    decode(found.ok_or(Unknown::Absent)?)
}

fn is_named(key: &str, name: &str) -> bool {
    let plain = memchr::memchr2(b'%', b'+', key.as_bytes()).is_none();
    if plain { key == name } else { bytes(key).map(|byte| byte.unwrap_or(b'%')).eq(name.bytes()) }
}

fn decode(value: &str) -> Result<Cow<'_, str>, Unknown> {
    if memchr::memchr2(b'%', b'+', value.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(value));
    }
    let decoded: Option<Vec<u8>> = bytes(value).collect();
    let text = decoded.and_then(|decoded| String::from_utf8(decoded).ok());
    text.map(Cow::Owned).ok_or(Unknown::Unreadable)
}

/// The decoded bytes; none for a `%` without two digits behind it.
fn bytes(text: &str) -> impl Iterator<Item = Option<u8>> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        Some(match first {
            b'+' => Some(b' '),
            b'%' => {
                let digits = behind.first_chunk::<2>().and_then(|[high, low]| {
                    let digit = |byte: &u8| char::from(*byte).to_digit(16);
                    Some((digit(high)? << 4 | digit(low)?) as u8)
                });
                if digits.is_some() {
                    rest = behind.get(2..).unwrap_or_default();
                }
                digits
            }
            byte => Some(*byte),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, want: Result<&str, Unknown>) {
        assert_eq!(parameter(Some(query), "id").as_deref(), want.as_ref().copied(), "{query}");
    }

    #[test]
    fn a_parameter_is_found_by_its_decoded_name_and_decoded_itself() {
        check("id=7", Ok("7"));
        check("a=1&id=a+b%2Bc%c3%a9", Ok("a b+cé"));
        check("%69d=7", Ok("7"));
        check("id", Ok(""));
        check("id=a=b", Ok("a=b"));
        check("ID=7&xid=1&id%20=2", Err(Unknown::Absent));
        check("", Err(Unknown::Absent));
        assert_eq!(parameter(None, "id"), Err(Unknown::Absent));
    }

    #[test]
    fn what_can_be_read_in_two_ways_has_no_value() {
        check("id=1&id=1", Err(Unknown::Twice));
        check("id=1&%69%64=2", Err(Unknown::Twice));
        check("id=%", Err(Unknown::Unreadable));
        check("id=%4", Err(Unknown::Unreadable));
        check("id=%zz", Err(Unknown::Unreadable));
        check("id=%ff", Err(Unknown::Unreadable));
    }
}
