//! The dialect of expressions: from PCRE over bytes to that of `regex-syntax`.
//!
//! What both know means the same in both, `$` before a final line feed aside. What only PCRE knows
//! and can be said otherwise is rewritten here; look-around, back-references, atomic groups and possessive
//! repetition stay, and the operator runs them; the rest is left for it to refuse.

/// An expression as `regex-syntax` understands it.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut class = Class::Outside;
    while let Some(c) = rest.chars().next() {
        let (piece, tail) = rest.split_at(c.len_utf8());
        rest = tail;
        class = match (class, c) {
            (_, '\\') => {
                rest = escape(rest, class != Class::Outside, &mut out);
                if class == Class::Opening { Class::Inside } else { class }
            }
            (_, c) if !c.is_ascii() => {
                // A byte at a time, as an engine without UTF-8 reads it.
                piece.bytes().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
                if class == Class::Opening { Class::Inside } else { class }
            }
            (Class::Outside, '[') => {
                out.push('[');
                if let Some(tail) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = tail;
                }
                Class::Opening
            }
            // Not a repetition: a brace that stands for itself.
            (Class::Outside, '{') if !is_repetition(rest) => {
                out.push_str("\\{");
                Class::Outside
            }
            (Class::Outside, '}') => {
                out.push_str(if closes_repetition(&out) { "}" } else { "\\}" });
                Class::Outside
            }
            (Class::Outside, c) => {
                out.push(c);
                Class::Outside
            }
            (Class::Opening, ']') => {
                out.push_str("\\]");
                Class::Inside
            }
            (_, ']') => {
                out.push(']');
                Class::Outside
            }
            (_, '[') if rest.starts_with(':') && rest.contains(":]") => {
                let end = rest.find(":]").map_or(rest.len(), |end| end + 2);
                out.push('[');
                out.push_str(&rest[..end]);
                rest = &rest[end..];
                Class::Inside
            }
            // These have a meaning of their own inside of a class only for Rust.
            (_, '[') => {
                out.push_str("\\[");
                Class::Inside
            }
            (_, c @ ('&' | '~')) => {
                out.push('\\');
                out.push(c);
                Class::Inside
            }
            (_, '-') if rest.starts_with('-') => {
                out.push_str("\\-");
                Class::Inside
            }
            (_, c) => {
                out.push(c);
                Class::Inside
            }
        };
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Outside,
    /// Right behind `[` or `[^`, where `]` stands for itself.
    Opening,
    Inside,
}

/// What stands behind a backslash; gives what follows.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = rest.chars().next() else {
        out.push_str("\\\\");
        return rest;
    };
    let tail = &rest[c.len_utf8()..];
    match c {
        'x' => {
            // Braces would mean a character, and not a byte.
            if let Some(braced) = tail.strip_prefix('{')
                && let Some(end) = braced.find('}')
                && let Ok(code) = u8::from_str_radix(&braced[..end], 16)
            {
                out.push_str(&format!("\\x{code:02x}"));
                return &braced[end + 1..];
            }
            let digits = tail.bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
            let code = u8::from_str_radix(&tail[..digits], 16).unwrap_or(0);
            out.push_str(&format!("\\x{code:02x}"));
            &tail[digits..]
        }
        // Vertical blanks, of which Rust knows only the vertical tab by this name.
        'v' if in_class => {
            out.push_str("\\n\\x0b\\x0c\\r\\x85");
            tail
        }
        'v' => {
            out.push_str("[\\n\\x0b\\x0c\\r\\x85]");
            tail
        }
        'h' if in_class => {
            out.push_str("\\t \\xa0");
            tail
        }
        'h' => {
            out.push_str("[\\t \\xa0]");
            tail
        }
        // `\s` of PCRE has the vertical tab, and so has that of Rust. `\e` is known to PCRE alone.
        'e' => {
            out.push_str("\\x1b");
            tail
        }
        'Z' | 'z' if !in_class => {
            out.push_str("\\z");
            tail
        }
        '0' => {
            let digits = tail.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let code = u8::from_str_radix(&tail[..digits], 8).unwrap_or(0);
            out.push_str(&format!("\\x{code:02x}"));
            &tail[digits..]
        }
        'b' if in_class => {
            out.push_str("\\x08");
            tail
        }
        c if !c.is_ascii() => {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
            tail
        }
        // Rust refuses to escape what needs none, or means something else by it (`\<`).
        c if !c.is_ascii_alphanumeric() && !regex_syntax::is_meta_character(c) => {
            out.push(c);
            tail
        }
        c => {
            out.push('\\');
            out.push(c);
            tail
        }
    }
}

/// Whether what stands behind `{` makes it a repetition.
fn is_repetition(rest: &str) -> bool {
    let Some(end) = rest.find('}') else { return false };
    let (least, most) = rest[..end].split_once(',').unwrap_or((&rest[..end], ""));
    !least.is_empty() && least.bytes().chain(most.bytes()).all(|byte| byte.is_ascii_digit())
}

/// Whether the `}` that comes next closes a repetition that was let through.
fn closes_repetition(out: &str) -> bool {
    let Some(open) = out.rfind('{') else { return false };
    !out[..open].ends_with('\\')
        && out[open + 1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        && open + 1 < out.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::waf::operators::parse;

    #[track_caller]
    fn check(pattern: &str, want: &str) {
        let got = translate(pattern);
        assert_eq!(got, want, "{pattern}");
        assert!(parse(&got).is_ok(), "{got}");
    }

    #[test]
    fn what_both_know_stays() {
        for pattern in
            [r"(?i)\bselect\s+[^a-z]{2,5}\d+$", r"[\]\[a]", r"a{2}b{3,}", r"[[:alpha:]x]", r"\x5c\.\/"]
        {
            let want = pattern.replace("\\/", "/");
            check(pattern, &want);
        }
    }

    #[test]
    fn bytes_are_bytes() {
        check(r"\x{27}[\x{ac}-\x{ff}]", r"\x27[\xac-\xff]");
        check("´[´]", r"\xc2\xb4[\xc2\xb4]");
        check(r"\0\x0", r"\x00\x00");
    }

    #[test]
    fn what_stands_for_itself_in_pcre_does_so_here() {
        check(r"${IFS}\{{[}]", r"$\{IFS\}\{\{[}]");
        check(r"[[a][]b][^]c]", r"[\[a][\]b][^\]c]");
        check(r"\<a\v[\v]", "<a[\\n\\x0b\\x0c\\r\\x85][\\n\\x0b\\x0c\\r\\x85]");
        check(r"[a&&b--c~~]", r"[a\&\&b\--c\~\~]");
    }
}
