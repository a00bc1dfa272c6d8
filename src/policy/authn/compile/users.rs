//! `[[authn.api_key]]` and `[[authn.basic]]`: holders that the policy itself knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{DEMO_KEYS, Work};
use crate::facts::Holder;
use crate::policy::authn::api_key::{self, KeyHeader};
use crate::policy::authn::basic::{HASH_HELP, PasswordHash, Passwords, User};
use crate::policy::authn::claims;
use crate::policy::authn::raw::{RawApiKey, RawBasic};
use crate::policy::code::Code;
use crate::policy::decode::FilePath;
use crate::policy::diagnostic::{At, Place};

impl Work<'_, '_> {
    pub(super) fn api_key(&mut self, raw: &RawApiKey, headers: &mut Vec<KeyHeader>) {
        let id = self.id(&raw.id);
        let subject = raw.subject.as_ref().map_or(&*id, |subject| &subject.value);
        if let Some(at) = raw.subject.as_ref().filter(|subject| !claims::is_subject(subject)) {
            self.bad(at.place, "this is not a subject", SUBJECT_HELP);
        }
        if let Some(expires) = raw.expires.as_ref().filter(|expires| expires.value.0 <= self.cx.now) {
            self.cx.diagnostics.push(Code::NeverValid, expires.place, format!("the key `{id}` has ended"));
        }
        let Some((digest, hash_place)) = self.key_hash(raw) else { return };
        if DEMO_KEYS.iter().any(|key| api_key::hash(key.as_bytes()) == digest) {
            self.demo.push(At { value: id.clone(), place: hash_place });
        }
        let holder = Holder {
            source: id.clone(),
            subject: subject.into(),
            roles: self.roles(&raw.roles),
            scopes: raw.scopes.iter().map(|scope| scope.as_str().into()).collect(),
            expires_at: raw.expires.as_ref().map(|expires| expires.value.0),
            token_id: Some(id),
            ..Holder::default()
        };
        let name = &raw.header.value.0;
        let place = headers.iter().position(|header| header.name == *name).unwrap_or_else(|| {
            headers.push(KeyHeader { name: name.clone(), keys: HashMap::new() });
            headers.len() - 1
        });
        let again = headers[place].keys.insert(digest, Arc::new(holder)).is_some();
        if again && !self.cx.diagnostics.lacks(raw.place, &["hash", "hash_file", "header"]) {
            self.cx
                .diagnostics
                .push(Code::DuplicateId, hash_place, "another API key has this hash")
                .help("give every program a key of its own");
        }
    }

    /// The hash of a key, from the configuration or from a file.
    fn key_hash(&mut self, raw: &RawApiKey) -> Option<(api_key::Digest, Place)> {
        let file = match (&raw.hash, &raw.hash_file) {
            (Some(hash), None) => return Some((hash.value.0, hash.place)),
            (None, Some(file)) => file,
            (Some(hash), Some(file)) => {
                let message = "`hash` and `hash_file` exclude each other";
                self.cx.diagnostics.push(Code::Conflict, file.place, message).also(hash.place, "the hash");
                return None;
            }
            (None, None) => {
                let (keys, message) = (&["hash", "hash_file"], "[[authn.api_key]] lacks the key `hash`");
                self.cx
                    .diagnostics
                    .push_unless_lost(raw.place, keys, Code::MissingKey, raw.place, message)
                    .help(
                        "add `hash = \"sha256:…\"` or `hash_file = \"…\"`; `portcullis hash-key` makes one",
                    );
                return None;
            }
        };
        let (_, text) = self.text(file)?;
        let digest = api_key::parse_hash(text.trim_end_matches(['\r', '\n']));
        if digest.is_none() {
            // The file may hold the key itself, so nothing of it is shown.
            let message = format!("the file `{}` does not hold the hash of a key", file.value.0);
            let help = "it holds `sha256:` and 64 hexadecimal digits, as `portcullis hash-key` prints them";
            self.cx.diagnostics.push(Code::File, file.place, message).help(help);
        }
        Some((digest?, file.place))
    }

    pub(super) fn passwords(&mut self, raw: &[RawBasic]) -> Option<Passwords> {
        let mut users: BTreeMap<Box<str>, (User, Place)> = BTreeMap::new();
        for source in raw {
            let id = self.id(&source.id);
            if let Some(at) = source.realm.as_ref().filter(|realm| !is_realm(realm)) {
                self.bad(
                    at.place,
                    "this is not a realm",
                    "write visible ASCII without quotes and backslashes",
                );
            }
            let shared = self.roles(&source.roles);
            let before = users.len();
            for user in &source.user {
                let roles: Vec<_> = shared.iter().cloned().chain(self.roles(&user.roles)).collect();
                if self.cx.diagnostics.lacks(user.place, &["name", "hash"]) {
                    continue;
                }
                self.user(
                    &id,
                    &user.name.value,
                    user.name.place,
                    (&user.hash.value, user.hash.place),
                    roles,
                    &mut users,
                );
            }
            if let Some(file) = source.users.as_ref() {
                self.htpasswd(&id, &file.file, &shared, &mut users);
            }
            if users.len() == before && source.user.is_empty() && source.users.is_none() {
                self.cx
                    .diagnostics
                    .push_unless_lost(
                        source.place,
                        &["user", "users"],
                        Code::MissingKey,
                        source.place,
                        "[[authn.basic]] has no users",
                    )
                    .help("add `users = { file = \"…\" }` or [[authn.basic.user]]");
            }
        }
        let users: HashMap<_, _> = users.into_iter().map(|(name, (user, _))| (name, user)).collect();
        (!users.is_empty()).then(|| Passwords::new(users))
    }

    /// Lines `name:hash`; `#` begins a comment line.
    fn htpasswd(
        &mut self,
        id: &str,
        file: &At<FilePath>,
        roles: &[Box<str>],
        users: &mut BTreeMap<Box<str>, (User, Place)>,
    ) {
        let Some((file_id, text)) = self.text(file) else { return };
        let (mut start, mut found) = (0, false);
        for whole in text.split_inclusive('\n') {
            let line = whole.trim_end_matches(['\n', '\r']);
            let place = |from: usize, to: usize| Place { file: file_id, start: from as u32, end: to as u32 };
            let (begin, end) = (start, start + line.len());
            start += whole.len();
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            found = true;
            let Some((name, hash)) = line.split_once(':') else {
                self.bad(place(begin, end), "this line is not `name:hash`", HASH_HELP);
                continue;
            };
            let colon = begin + name.len();
            self.user(id, name, place(begin, colon), (hash, place(colon + 1, end)), roles.to_vec(), users);
        }
        if !found {
            self.cx.diagnostics.push(
                Code::File,
                file.place,
                format!("the file `{}` holds no user", file.value.0),
            );
        }
    }

    fn user(
        &mut self,
        source: &str,
        name: &str,
        place: Place,
        (hash, hash_place): (&str, Place),
        roles: Vec<Box<str>>,
        users: &mut BTreeMap<Box<str>, (User, Place)>,
    ) {
        let good = claims::is_subject(name) && !name.contains(':');
        if name.contains(':') {
            let message = "a user name has no `:`, which ends it in `Authorization: Basic`";
            self.bad(place, message, "choose a name without a colon");
        } else if !good {
            self.bad(place, "this is not a user name", SUBJECT_HELP);
        }
        let hash = match PasswordHash::parse(hash) {
            Ok(hash) => Arc::new(hash),
            Err(why) => return self.bad(hash_place, why, HASH_HELP),
        };
        if !good {
            return;
        }
        let holder = Holder { source: source.into(), subject: name.into(), roles, ..Holder::default() };
        let user = User { hash, holder: Arc::new(holder) };
        if let Some((_, first)) = users.insert(name.into(), (user, place)) {
            self.cx
                .diagnostics
                .push(Code::DuplicateId, place, format!("the user `{}` is there twice", name.escape_debug()))
                .also(first, "the first one");
        }
    }
}

/// Whether the text can stand between quotes in a challenge.
fn is_realm(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'"' | b'\\'))
}

const SUBJECT_HELP: &str = "write 1 to 256 bytes without control characters, and without spaces at the ends";
