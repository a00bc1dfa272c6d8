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
// INVARIANT: within the limit, and of the characters that its carrier allows.
#[derive(Clone, Copy)]
pub struct Credential<'h> {
    pub(super) carried: Carried<'h>,
}

/// The carrier and what it holds.
#[derive(Clone, Copy)]
pub(super) enum Carried<'h> {
    /// `Authorization: Bearer`, for the JWT sources.
    Bearer(&'h str),
    /// `Authorization: Basic`, for the password sources.
    Basic(&'h str),
    /// A header field for API keys, by its place among those of the policy.
    ApiKey {
        /// Which field.
        header: usize,
        /// The key.
        key: &'h str,
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
        let malformed = |note: &'static str| Err(Problem::new(Builtin::CredentialMalformed, note));
        if value.len() > self.limit {
            return malformed("the credential is longer than `limits.credential`");
        }
        // Visible ASCII and spaces; anything else has no place in a credential.
        let Ok(text) = value.to_str() else {
            return malformed("the credential has bytes beyond visible ASCII");
        };
        let Some(header) = header else { return self.read_authorization(text) };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return malformed("the API key is empty or has a space");
        }
        Ok(Carried::ApiKey { header, key: text })
    }

    /// `SCHEME SP token68` (RFC 9110 section 11.4), with exactly one space: readers differ over more.
    fn read_authorization<'h>(&self, text: &'h str) -> Result<Carried<'h>, Problem> {
        let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
        let bearer = scheme.eq_ignore_ascii_case("Bearer") && !self.jwt.is_empty();
        let basic = scheme.eq_ignore_ascii_case("Basic") && self.basic.is_some();
        if !bearer && !basic {
            return Err(Problem::new(
                Builtin::UnknownScheme,
                "no source reads this scheme; `authn = \"off\"` on a route passes Authorization on unread",
            ));
        }
        if !is_token68(credential) {
            return Err(Problem::new(
                Builtin::CredentialMalformed,
                "Authorization is not one scheme, one space and one credential",
            ));
        }
        Ok(if bearer { Carried::Bearer(credential) } else { Carried::Basic(credential) })
    }
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

/// `token68` of RFC 9110 section 11.2.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(allowed)
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
