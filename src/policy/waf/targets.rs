//! The language of `targets`: which texts of a request a rule looks at.
//!
//! `query`, `query.names`, `header:referer`, `cookie:/^sess/`, `!json:items.0.note`. Both front ends
//! lower to [`Target`]; the names that a record shows (`query:q`) are of the same language.

use std::fmt;

/// Where texts of a request come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// The request method.
    Method,
    /// Method, path and query as one text, still encoded.
    Line,
    /// The path, decoded once.
    Path,
    /// The address of the client.
    Client,
    /// The parameters of the query, decoded once.
    Query,
    /// Cookies, not decoded.
    Cookie,
    /// Header fields.
    Header,
    /// The fields of a form, urlencoded (decoded once) or multipart.
    Form,
    /// The values of a JSON body, named by their paths.
    Json,
    /// The texts and attributes of an XML body, named by their paths.
    Xml,
    /// The names of uploaded files, by the form field they came in.
    File,
    /// A body that is none of the above, as it came.
    Body,
    // What only SecLang has a word for.
    /// The request line as it came, with its protocol.
    RequestLine,
    /// The target, decoded once.
    Uri,
    /// The target as it came.
    UriRaw,
    /// What follows the last slash of the path.
    Basename,
    /// `HTTP/1.1`.
    Protocol,
    /// The query as it came.
    QueryString,
    /// The header lines of the parts of a multipart body, by the name of their field.
    PartHeader,
    /// Header fields of the response.
    ResponseHeader,
    /// The body of the response.
    ResponseBody,
}

/// Names, values or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Names and values.
    #[default]
    Both,
    /// Names only.
    Names,
    /// Values only.
    Values,
}

/// Which members of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// All.
    #[default]
    All,
    /// Those with this name.
    Name(Box<str>),
    /// Those whose names this regular expression matches.
    Pattern(Box<str>),
}

/// Texts to look at, or not to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where they come from.
    pub collection: Collection,
    /// Names, values or both.
    pub part: Part,
    /// Which members.
    pub selector: Selector,
    /// Whether the target is taken away instead of added.
    pub excluded: bool,
}

impl Collection {
    /// Every collection, those included that TOML has no word for.
    pub const EVERY: [Collection; 21] = [
        Collection::Method,
        Collection::Line,
        Collection::Path,
        Collection::Client,
        Collection::Query,
        Collection::Cookie,
        Collection::Header,
        Collection::Form,
        Collection::Json,
        Collection::Xml,
        Collection::File,
        Collection::Body,
        Collection::RequestLine,
        Collection::Uri,
        Collection::UriRaw,
        Collection::Basename,
        Collection::Protocol,
        Collection::QueryString,
        Collection::PartHeader,
        Collection::ResponseHeader,
        Collection::ResponseBody,
    ];

    /// Every collection that TOML has a word for: the first of them.
    pub const ALL: &[Collection] = Collection::EVERY.split_at(12).0;

    /// Whether TOML has a word for it.
    pub const fn is_worded(self) -> bool {
        (self as usize) < Collection::ALL.len()
    }

    /// The word in `targets`.
    pub const fn name(self) -> &'static str {
        match self {
            Collection::Method => "method",
            Collection::Line => "line",
            Collection::Path => "path",
            Collection::Client => "client",
            Collection::Query => "query",
            Collection::Cookie => "cookie",
            Collection::Header => "header",
            Collection::Form => "form",
            Collection::Json => "json",
            Collection::Xml => "xml",
            Collection::File => "file",
            Collection::Body => "body",
            Collection::RequestLine => "REQUEST_LINE",
            Collection::Uri => "REQUEST_URI",
            Collection::UriRaw => "REQUEST_URI_RAW",
            Collection::Basename => "REQUEST_BASENAME",
            Collection::Protocol => "REQUEST_PROTOCOL",
            Collection::QueryString => "QUERY_STRING",
            Collection::PartHeader => "MULTIPART_PART_HEADERS",
            Collection::ResponseHeader => "RESPONSE_HEADERS",
            Collection::ResponseBody => "RESPONSE_BODY",
        }
    }

    /// Whether its members have names.
    pub const fn named(self) -> bool {
        match self {
            Collection::Method
            | Collection::Line
            | Collection::Path
            | Collection::Client
            | Collection::Body
            | Collection::RequestLine
            | Collection::Uri
            | Collection::UriRaw
            | Collection::Basename
            | Collection::Protocol
            | Collection::QueryString
            | Collection::ResponseBody => false,
            Collection::PartHeader
            | Collection::ResponseHeader
            | Collection::Query
            | Collection::Cookie
            | Collection::Header
            | Collection::Form
            | Collection::Json
            | Collection::Xml
            | Collection::File => true,
        }
    }

    /// Whether it is known only once the body is read.
    pub const fn in_body(self) -> bool {
        match self {
            Collection::Form
            | Collection::Json
            | Collection::Xml
            | Collection::File
            | Collection::Body
            | Collection::PartHeader => true,
            Collection::RequestLine
            | Collection::Uri
            | Collection::UriRaw
            | Collection::Basename
            | Collection::Protocol
            | Collection::QueryString
            | Collection::ResponseHeader
            | Collection::ResponseBody
            | Collection::Method
            | Collection::Line
            | Collection::Path
            | Collection::Client
            | Collection::Query
            | Collection::Cookie
            | Collection::Header => false,
        }
    }
}

/// What `args` stands for.
const ARGS: [Collection; 4] = [Collection::Query, Collection::Form, Collection::Json, Collection::Xml];

/// Reads one entry of `targets`. `args` gives several targets. The error says what is wrong and, if
/// a word is near, which one was probably meant.
pub fn parse(text: &str) -> Result<Vec<Target>, (String, Option<&'static str>)> {
    let (excluded, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (head, selector) = match rest.split_once(':') {
        Some((head, selector)) => (head, Some(selector)),
        None => (rest, None),
    };
    let (word, part) = match head.split_once('.') {
        None => (head, Part::Both),
        Some((word, "names")) => (word, Part::Names),
        Some((word, "values")) => (word, Part::Values),
        Some((_, other)) => return Err((format!("`.{other}` is neither `.names` nor `.values`"), None)),
    };
    let collections: Vec<Collection> = match word {
        "args" => ARGS.to_vec(),
        _ => Collection::ALL.iter().copied().filter(|collection| collection.name() == word).collect(),
    };
    let Some(first) = collections.first() else {
        let words = Collection::ALL.iter().copied().map(Collection::name).chain(["args"]);
        return Err((format!("`{word}` is no target"), crate::policy::diagnostic::suggest(word, words)));
    };
    if !first.named() && (part != Part::Both || selector.is_some()) {
        return Err((format!("`{word}` is a single text and has no names"), None));
    }
    let selector = match selector {
        None => Selector::All,
        Some("") => return Err(("the name behind `:` is missing".to_owned(), None)),
        Some(pattern) => match pattern.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some("") => return Err(("the expression between the slashes is missing".to_owned(), None)),
            Some(inside) => Selector::Pattern(inside.into()),
            None if pattern.starts_with('/') => {
                return Err(("an expression ends with `/`, as in `cookie:/^sess/`".to_owned(), None));
            }
            None => Selector::Name(pattern.into()),
        },
    };
    // Field names have no case; the values are compared with names in small letters.
    let folded = |collection| match (&selector, collection) {
        (Selector::Name(name), Collection::Header) => Selector::Name(name.to_ascii_lowercase().into()),
        _ => selector.clone(),
    };
    Ok(collections
        .iter()
        .map(|collection| Target { collection: *collection, part, selector: folded(*collection), excluded })
        .collect())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Both => "",
            Part::Names => ".names",
            Part::Values => ".values",
        };
        write!(f, "{}{}{part}", if self.excluded { "!" } else { "" }, self.collection.name())?;
        match &self.selector {
            Selector::All => Ok(()),
            Selector::Name(name) => write!(f, ":{name}"),
            Selector::Pattern(pattern) => write!(f, ":/{pattern}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let got = parse(text)
            .map(|targets| targets.iter().map(Target::to_string).collect::<Vec<_>>().join(" "))
            .unwrap_or_else(|(why, near)| format!("{why}; {near:?}"));
        assert_eq!(got, shown, "{text}");
    }

    #[test]
    fn every_form_is_read_and_shown_as_it_is_written() {
        for text in [
            "method",
            "query",
            "query.names",
            "json.values:items.0.sku",
            "cookie:/^sess/",
            "!body",
            "!header:referer",
        ] {
            check(text, text);
        }
        check("header:User-Agent", "header:user-agent");
        check("query:A:b", "query:A:b");
    }

    #[test]
    fn args_is_every_collection_of_parameters() {
        check("args", "query form json xml");
        check("!args.names:q", "!query.names:q !form.names:q !json.names:q !xml.names:q");
    }

    #[test]
    fn what_is_no_target_says_why() {
        check("qeury", "`qeury` is no target; Some(\"query\")");
        check("path:x", "`path` is a single text and has no names; None");
        check("query.keys", "`.keys` is neither `.names` nor `.values`; None");
        check("query:", "the name behind `:` is missing; None");
        check("cookie:/x", "an expression ends with `/`, as in `cookie:/^sess/`; None");
    }
}
