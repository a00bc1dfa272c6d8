//! `documented!`: a table entry whose doc comment is also text that `explain` prints.

/// Declares a constant; the name between the bars holds its doc comment as text.
macro_rules! documented {
    ($(#[doc = $doc:literal])+ $vis:vis const $name:ident: $ty:ty = |$text:ident| $value:expr;) => {
        $(#[doc = $doc])+
        $vis const $name: $ty = {
            const $text: &str = concat!($($doc, "\n"),+);
            $value
        };
    };
}

pub(crate) use documented;
