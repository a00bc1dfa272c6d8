//! What a request shows: credentials in their carriers, found without believing any.
//!
//! *Presented* means: in a carrier that a source reads. There may be one credential; two, or one
//! given twice, are refused before either is verified, because somebody downstream might read the
//! other one. Byte-identical repetitions in one carrier cannot be read differently, so they pass.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::Authn;
use crate::decision::Builtin;
use crate::facts::Problem;
use crate::policy::route::AuthnWord;

/// What a request shows.
#[derive(Debug)]
pub enum Presented<'h> {
    /// Nothing that a source of this route reads.
    Nothing,
    /// One credential.
    One(Credential<'h>),
    /// Something that is refused without being verified.
    Refused(Problem),
}

/// A credential in its carrier.
// INVARIANT: not empty, and within the limit. Its characters are not looked at here: whoever verifies
// it reads all of them anyway, and what was verified before is known by comparison alone.
#[derive(Clone, Copy)]
pub struct Credential<'h> {
    pub(super) carried: Carried<'h>,
}

/// The carrier and what it holds.
#[derive(Clone, Copy)]
pub(super) enum Carried<'h> {
    /// `Authorization: Bearer`, for the JWT sources.
    Bearer(&'h [u8]),
    /// `Authorization: Basic`, for the password sources.
    Basic(&'h [u8]),
    /// A header field for API keys, by its place among those of the policy.
    ApiKey {
        /// Which field.
        header: usize,
        /// The key.
        key: &'h [u8],
    },
}

impl Authn {
    /// What the request shows to a route.
    pub fn presented<'h>(&self, route: AuthnWord, headers: &'h HeaderMap) -> Presented<'h> {
        if route == AuthnWord::Off {
            return Presented::Nothing;
        }
        let found = self.find(headers).and_then(|found| found.map(|found| self.read(found)).transpose());
        match found {
            Ok(None) => Presented::Nothing,
            Ok(Some(carried)) => Presented::One(Credential { carried }),
            Err(problem) => Presented::Refused(problem),
        }
    }

    /// The one carrier that holds something: `None` for `Authorization`, else the place of a header
    /// field for API keys.
    fn find<'h>(&self, headers: &'h HeaderMap) -> Result<Option<(Option<usize>, &'h HeaderValue)>, Problem> {
        let mut found = only(headers, &AUTHORIZATION)?.map(|value| (None, value));
        for (index, header) in self.headers.iter().enumerate() {
            let Some(value) = only(headers, &header.name)? else { continue };
            if found.replace((Some(index), value)).is_some() {
                return Err(Problem::new(
                    Builtin::CredentialConflict,
                    "credentials stand in more than one header field",
                ));
            }
        }
        Ok(found)
    }

    fn read<'h>(&self, (header, value): (Option<usize>, &'h HeaderValue)) -> Result<Carried<'h>, Problem> {
        let text = value.as_bytes();
        if text.len() > self.limit {
            return Err(malformed("the credential is longer than `limits.credential`"));
        }
        match header {
            None => self.read_authorization(text),
            Some(header) if !text.is_empty() && text.iter().all(u8::is_ascii_graphic) => {
                Ok(Carried::ApiKey { header, key: text })
            }
            Some(_) => Err(malformed("the API key is empty, or has spaces or bytes beyond ASCII")),
        }
    }

    /// `SCHEME SP token68` (RFC 9110 section 11.4), with exactly one space: readers differ over more.
    /// No credential that is verified has a space in it, so a second one refuses it there.
    fn read_authorization<'h>(&self, text: &'h [u8]) -> Result<Carried<'h>, Problem> {
        let end = memchr::memchr(b' ', text).unwrap_or(text.len());
        let scheme = text.get(..end).unwrap_or_default();
        let credential = text.get(end + 1..).unwrap_or_default();
        let carried = if scheme.eq_ignore_ascii_case(b"Bearer") && !self.jwt.is_empty() {
            Carried::Bearer(credential)
        } else if scheme.eq_ignore_ascii_case(b"Basic") && self.basic.is_some() {
            Carried::Basic(credential)
        } else {
            return Err(Problem::new(
                Builtin::UnknownScheme,
                "no source reads this scheme; `authn = \"off\"` on a route passes Authorization on unread",
            ));
        };
        if credential.is_empty() {
            return Err(malformed("Authorization has a scheme and no credential"));
        }
        Ok(carried)
    }
}

fn malformed(note: &'static str) -> Problem {
    Problem::new(Builtin::CredentialMalformed, note)
}

/// The one value of a field; several are a conflict unless they are the same bytes.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Problem::new(
            Builtin::CredentialConflict,
            "one header field holds different credentials",
        ));
    }
    Ok(Some(first))
}

/// Says which carrier it is, and nothing of the credential.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.carried {
            Carried::Bearer(_) => "Credential(Bearer)",
            Carried::Basic(_) => "Credential(Basic)",
            Carried::ApiKey { .. } => "Credential(ApiKey)",
        })
    }
}
