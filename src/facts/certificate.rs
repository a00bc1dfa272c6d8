//! A client's certificate, once TLS has verified it: who it names, who issued it, and for how long.

use jiff::Timestamp;

/// What a verified certificate says. Names are whole, as the authority wrote them, except that DNS
/// names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// URIs of the Subject Alternative Name, such as SPIFFE ids.
    pub uris: Vec<Box<str>>,
    /// DNS names of it.
    pub dns: Vec<Box<str>>,
    /// Mail addresses of it.
    pub emails: Vec<Box<str>>,
    /// Common names of the subject.
    pub common_names: Vec<Box<str>>,
    /// Organizational units of the subject.
    pub units: Vec<Box<str>>,
    /// Common names of the authority that issued it.
    pub issuers: Vec<Box<str>>,
    /// `sha256:…` of the whole certificate.
    pub fingerprint: Box<str>,
    /// When it becomes valid.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}
