//! Credentials that were withdrawn before their end.
//!
//! ```toml
//! token_ids = ["3b1f…"]                  # `jti` of tokens
//! api_keys = ["batch"]                   # ids of `[[authn.api_key]]`
//! certificates = ["sha256:3b1f…"]        # fingerprints of client certificates
//! key_ids = ["2026-01"]                  # `kid`: everything signed with that key
//! [subjects]
//! alice = 2026-11-24T09:00:00Z           # everything of hers that was issued before
//! ```

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use toml::de::DeTable;

use crate::facts::Holder;
use crate::policy::code::Code;
use crate::policy::decode::{Moment, Part, TableReader, place, table};
use crate::policy::diagnostic::{At, Diagnostics, FileId};

/// The list of withdrawn credentials. Asked at every use of a credential, cached or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    token_ids: HashSet<Box<str>>,
    api_keys: HashSet<Box<str>>,
    certificates: HashSet<Box<str>>,
    key_ids: HashSet<Box<str>>,
    subjects: HashMap<Box<str>, Timestamp>,
}

table! {
    /// The file of `[authn] revoked`.
    pub struct RawRevocations as "a list of revoked credentials" {
        /// Tokens, by their `jti`.
        list token_ids: String,
        /// API keys, by their id.
        list api_keys: String,
        /// Client certificates, by their fingerprint: `sha256:` and the digest of the whole certificate in
        /// lower-case hexadecimal.
        list certificates: String,
        /// Signing keys, by their `kid`: every token that was signed with one.
        list key_ids: String,
        /// Subjects: everything that was issued to them before a time. What has no time of issue, such as
        /// an API key or a password, is withdrawn whatever the time.
        map subjects: Moment,
    }
}

impl Revocations {
    /// Reads the file. `None`: it has problems, and the list before it must stay.
    pub fn parse(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Option<Revocations> {
        let raw: RawRevocations = read_document("a list of revoked credentials", file, text, diagnostics)?;
        let set = |list: Vec<String>| list.into_iter().map(Into::into).collect();
        let subjects =
            raw.subjects.into_iter().map(|(At { value: subject, .. }, until)| (subject.into(), until.0));
        Some(Revocations {
            token_ids: set(raw.token_ids),
            api_keys: set(raw.api_keys),
            certificates: set(raw.certificates),
            key_ids: set(raw.key_ids),
            subjects: subjects.collect(),
        })
    }

    /// Whether nothing is withdrawn.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.token_ids.is_empty()
            && self.api_keys.is_empty()
            && self.certificates.is_empty()
            && self.key_ids.is_empty()
            && self.subjects.is_empty()
    }

    /// Whether this holder's credential is withdrawn.
    pub fn covers(&self, holder: &Holder) -> bool {
        if self.is_empty() {
            return false;
        }
        let listed =
            |set: &HashSet<Box<str>>, id: &Option<Box<str>>| id.as_ref().is_some_and(|id| set.contains(id));
        let ids = if holder.bearer { &self.token_ids } else { &self.api_keys };
        let before = self.subjects.get(&holder.subject);
        listed(ids, &holder.token_id)
            // The `:` of a fingerprint is in no id of an API key.
            || (!holder.bearer && listed(&self.certificates, &holder.token_id))
            || listed(&self.key_ids, &holder.key_id)
            || before.is_some_and(|before| holder.issued_at.is_none_or(|issued| issued < *before))
    }
}

/// Reads a file that consists of one table.
pub(super) fn read_document<T: Part>(
    what: &'static str,
    file: FileId,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let document = match DeTable::parse(text) {
        // A file that is being written, or was cut off, is not a list without entries.
        Ok(document) if document.get_ref().is_empty() => {
            diagnostics
                .push(Code::BadValue, place(file, &document.span()), format!("{what} must not be empty"))
                .help("a list without entries has its keys all the same: `token_ids = []`");
            return None;
        }
        Ok(document) => document,
        Err(error) => {
            let at = error.span().map(|span| place(file, &span));
            diagnostics.push(Code::Syntax, at, error.message());
            return None;
        }
    };
    let before = diagnostics.len();
    let mut reader = TableReader::new(file, what, document.get_ref(), place(file, &document.span()));
    let table = T::read(&mut reader, diagnostics);
    reader.finish(diagnostics);
    // Half a list of revoked credentials would let the other half in.
    table.filter(|_| diagnostics.len() == before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "
        token_ids = [\"t1\"]
        api_keys = [\"batch\"]
        key_ids = [\"old\"]
        [subjects]
        alice = 2026-01-01T00:00:00Z
    ";

    fn token(issued: Option<&str>) -> Holder {
        let issued_at = issued.and_then(|time| time.parse().ok());
        Holder { subject: "bob".into(), bearer: true, issued_at, ..Holder::default() }
    }

    fn covers(holder: Holder) -> bool {
        let mut diagnostics = Diagnostics::default();
        let list = Revocations::parse(FileId(0), LIST, &mut diagnostics);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        list.is_some_and(|list| list.covers(&holder))
    }

    #[test]
    fn a_credential_is_withdrawn_by_any_of_its_ids() {
        assert!(!covers(token(None)));
        assert!(covers(Holder { token_id: Some("t1".into()), ..token(None) }));
        assert!(covers(Holder { key_id: Some("old".into()), ..token(None) }));
        assert!(covers(Holder { token_id: Some("batch".into()), bearer: false, ..token(None) }));
    }

    #[test]
    fn ids_of_tokens_and_of_api_keys_are_told_apart() {
        assert!(!covers(Holder { token_id: Some("batch".into()), ..token(None) }));
        assert!(!covers(Holder { token_id: Some("t1".into()), bearer: false, ..token(None) }));
    }

    #[test]
    fn a_subject_loses_what_was_issued_before_the_time_or_at_no_known_time() {
        let alice = |issued| covers(Holder { subject: "alice".into(), ..token(issued) });
        assert!(alice(Some("2025-12-31T23:59:59Z")));
        assert!(!alice(Some("2026-01-01T00:00:00Z")));
        assert!(alice(None));
    }

    #[test]
    fn a_list_without_entries_says_so() {
        let mut diagnostics = Diagnostics::default();
        let list = Revocations::parse(FileId(0), "token_ids = []", &mut diagnostics);
        assert_eq!((list, diagnostics.is_empty()), (Some(Revocations::default()), true));
    }

    #[test]
    fn a_list_with_problems_is_no_list() {
        let problems = |text: &str| {
            let mut diagnostics = Diagnostics::default();
            let list = Revocations::parse(FileId(0), text, &mut diagnostics);
            assert_eq!(list, None);
            diagnostics.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>()
        };
        assert_eq!(problems("token_ids = ["), [Code::Syntax]);
        assert_eq!(problems(""), [Code::BadValue]);
        assert_eq!(problems("# nobody yet\n"), [Code::BadValue]);
        assert_eq!(problems("token_id = []"), [Code::UnknownKey]);
        assert_eq!(
            problems("token_ids = 1\nsubjects = { a = 2026-01-01 }"),
            [Code::WrongType, Code::BadValue]
        );
    }
}
