//! `[authn]` raw → compiled: keys are read, names resolved, and whatever cannot work is said.

mod certificates;
mod issuers;
mod users;

use std::collections::HashMap;
use std::sync::Arc;

use super::api_key::KeyHeader;
use super::fingerprint::Parts;
use super::jwt::Issuer;
use super::raw::RawAuthn;
use super::revoked::Revocations;
use super::{Authn, Challenge};
use crate::facts::RoleId;
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::decode::{FilePath, Name};
use crate::policy::diagnostic::{At, FileId, Place};
use crate::policy::source::Attached;

/// The API keys and HMAC secrets of the shipped configurations. Everybody knows them.
pub const DEMO_KEYS: [&str; 3] =
    ["demo-reader-key", "demo-admin-key", "portcullis-demo-secret-known-to-everybody"];

impl Authn {
    /// Compiles `[authn]`. `limit`: `limits.credential`, in bytes.
    pub fn compile(raw: &RawAuthn, limit: usize, cx: &mut Compile<'_>) -> Authn {
        let mut work = Work { cx, ids: HashMap::new(), demo: Vec::new() };
        let only = raw.jwt.len() == 1;
        let mut jwt: Vec<Issuer> = Vec::new();
        let mut issuers: HashMap<&str, Place> = HashMap::new();
        for source in &raw.jwt {
            let lost = work.cx.diagnostics.lacks(source.place, &["issuer"]);
            let first = issuers.insert(&source.issuer.value, source.issuer.place);
            if let Some(first) = first.filter(|_| !lost) {
                work.cx
                    .diagnostics
                    .push(Code::Conflict, source.issuer.place, "another source has this issuer")
                    .also(first, "the first source")
                    .help(
                        "a token is judged by the one source of its issuer; give that source both audiences",
                    );
            }
            jwt.extend(work.issuer(source, only));
        }
        let mut headers: Vec<KeyHeader> = Vec::new();
        for key in &raw.api_key {
            work.api_key(key, &mut headers);
        }
        let basic = work.passwords(&raw.basic);
        let certificates = raw.mtls.iter().map(|source| work.certificates(source)).collect();
        let revoked = raw.revoked.as_ref().and_then(|raw| work.revocations(&raw.file)).unwrap_or_default();

        let mut challenges = Vec::new();
        if !jwt.is_empty() {
            challenges.push(Challenge::Bearer);
        }
        challenges.extend(headers.iter().map(|header| Challenge::ApiKey { header: header.name.clone() }));
        if let Some(first) = raw.basic.first() {
            challenges.push(Challenge::Basic {
                realm: first.realm.as_ref().map_or(REALM, |realm| &realm.value).into(),
            });
        }
        let mut parts = Parts::new();
        jwt.iter().for_each(|issuer| issuer.fingerprint(&mut parts));
        if let Some(basic) = &basic {
            basic.fingerprint(&mut parts);
        }
        Authn {
            jwt: jwt.into(),
            headers: headers.into(),
            basic,
            certificates,
            revoked: Arc::new(revoked),
            challenges: challenges.into(),
            fingerprint: parts.finish(),
            limit,
            demo: work.demo.into(),
        }
    }
}

/// The state of compiling `[authn]`.
struct Work<'w, 'c> {
    cx: &'w mut Compile<'c>,
    /// The ids so far: a holder's source is one of them, whatever its kind.
    ids: HashMap<Name, Place>,
    demo: Vec<At<Box<str>>>,
}

impl Work<'_, '_> {
    fn id(&mut self, id: &At<Name>) -> Box<str> {
        if let Some(first) = self.ids.insert(id.value.clone(), id.place).filter(|_| !id.value.is_stand_in()) {
            self.cx
                .diagnostics
                .push(Code::DuplicateId, id.place, format!("the id `{}` is taken", id.value))
                .also(first, "the first source with this id");
        }
        id.as_str().into()
    }

    fn bad(&mut self, place: Place, message: impl Into<String>, help: &str) {
        let problem = self.cx.diagnostics.push(Code::BadValue, place, message);
        if !help.is_empty() {
            problem.help(help);
        }
    }

    fn conflict(&mut self, place: Place, message: &str, help: &str) {
        self.cx.diagnostics.push(Code::Conflict, place, message).help(help);
    }

    /// Roles that a credential brings: declared ones, and not those that everybody has anyway.
    fn roles(&mut self, names: &[At<Name>]) -> Vec<Box<str>> {
        let mut roles = Vec::new();
        for name in names {
            match self.cx.roles.resolve(name, self.cx.diagnostics) {
                Some(RoleId::ANYONE | RoleId::AUTHENTICATED) => {
                    self.cx
                        .diagnostics
                        .push(Code::ReservedId, name.place, format!("`{}` is a reserved role", name.value))
                        .help("no credential brings it; leave it out");
                }
                Some(_) => roles.push(name.as_str().into()),
                None => {}
            }
        }
        roles
    }

    /// The text of a file that a key refers to.
    fn text(&mut self, file: &At<FilePath>) -> Option<(FileId, Arc<str>)> {
        let path = &file.value.0;
        let problem = match self.cx.sources.attached(file.place.file, path) {
            Some(Attached::Text(id)) => {
                return self.cx.sources.get(*id).map(|source| (*id, source.text.clone()));
            }
            Some(Attached::Absent) | None => format!("the file `{path}` does not exist"),
            Some(Attached::Unreadable(why)) => format!("the file `{path}` cannot be read: {why}"),
        };
        self.cx.diagnostics.push(Code::File, file.place, problem);
        None
    }

    fn revocations(&mut self, file: &At<FilePath>) -> Option<Revocations> {
        let (id, text) = self.text(file)?;
        Revocations::parse(id, &text, self.cx.diagnostics)
    }
}

const REALM: &str = "portcullis";
