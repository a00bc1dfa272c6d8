//! What a client's certificate says, read once its chain was verified.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::facts::Certificate;
use crate::layers::Shown;

/// Reads the certificate of a verified chain. The error says what of it cannot be read: to take that for
/// absent could hide the name that a rule is about.
pub(super) fn shown(chain: &[CertificateDer<'static>]) -> Result<Shown, &'static str> {
    let leaf = chain.first().ok_or("there is none")?;
    Ok(Shown { certificate: read(leaf)?, chain: chain.to_vec() })
}

fn read(der: &CertificateDer<'_>) -> Result<Certificate, &'static str> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| "its structure")?;
    let mut certificate = Certificate {
        common_names: texts(parsed.subject().iter_common_name())?,
        units: texts(parsed.subject().iter_organizational_unit())?,
        issuers: texts(X509Name::iter_common_name(parsed.issuer()))?,
        fingerprint: fingerprint(der),
        not_before: time(parsed.validity().not_before)?,
        not_after: time(parsed.validity().not_after)?,
        ..Certificate::default()
    };
    let names = parsed.subject_alternative_name().map_err(|_| "its Subject Alternative Name")?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) => certificate.uris.push((*uri).into()),
            GeneralName::DNSName(name) => certificate.dns.push(name.to_ascii_lowercase().into()),
            GeneralName::RFC822Name(mail) => certificate.emails.push((*mail).into()),
            GeneralName::Invalid(..) => return Err("a name of its Subject Alternative Name"),
            _ => {}
        }
    }
    Ok(certificate)
}

fn texts<'a, 'b: 'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'b>>,
) -> Result<Vec<Box<str>>, &'static str> {
    attributes
        .map(|attribute| attribute.as_str().map(Into::into).map_err(|_| "a part of its subject or issuer"))
        .collect()
}

fn time(time: ASN1Time) -> Result<Timestamp, &'static str> {
    Timestamp::from_second(time.timestamp()).map_err(|_| "its validity")
}

fn fingerprint(der: &[u8]) -> Box<str> {
    use std::fmt::Write as _;

    let mut text = String::from("sha256:");
    for byte in digest(&SHA256, der).as_ref() {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}
