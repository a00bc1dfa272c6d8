//! The phases of an answer.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use super::fill;
use super::run::{Judge, Judged};
use super::state::Transaction;
use crate::policy::Answer;
use crate::policy::waf::ir::Phase;
use crate::policy::waf::targets::Collection;

impl Judge<'_, '_> {
    /// Runs a phase of an answer.
    pub(in crate::policy::waf) fn answer(
        &self,
        phase: Phase,
        answer: &Answer<'_>,
        transaction: &mut Transaction,
    ) -> Judged {
        match phase {
            Phase::ResponseHead => {
                transaction.response.status = answer.status.as_u16();
                transaction.response.content_type = fill::content_type(answer.headers);
                // What can be undone is undone, so that rules need not pass over it.
                let plain = !answer.body.is_empty() && coding(answer.headers).is_some();
                let mut fields = Cow::Borrowed(answer.headers);
                if plain {
                    fields.to_mut().remove(header::CONTENT_ENCODING);
                }
                fill::fields(Collection::ResponseHeader, &fields, &mut transaction.values);
            }
            Phase::ResponseBody if !answer.body.is_empty() => {
                let limit = self.program.settings.response_limit;
                let text = decoded(answer.headers, answer.body, limit);
                let text = text.get(..limit).unwrap_or(&text);
                transaction.response.length = text.len();
                transaction.spent = transaction.spent.saturating_add(text.len() as u64);
                transaction.values.single(Collection::ResponseBody, text);
            }
            Phase::ResponseBody | Phase::Logging | Phase::RequestHead | Phase::RequestBody => {}
        }
        self.phase(phase, transaction)
    }
}

/// A coding that can be undone.
#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
}

fn coding(headers: &HeaderMap) -> Option<Coding> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let value = values.next()?.as_bytes().trim_ascii().to_ascii_lowercase();
    match (value.as_slice(), values.next()) {
        (b"gzip" | b"x-gzip", None) => Some(Coding::Gzip),
        (b"deflate", None) => Some(Coding::Deflate),
        _ => None,
    }
}

/// The body without its coding, at most so much of it. What breaks off, as a part that was read ahead
/// does, gives what stands before.
fn decoded<'a>(headers: &HeaderMap, body: &'a [u8], limit: usize) -> Cow<'a, [u8]> {
    let mut text = Vec::new();
    let limit = limit as u64;
    match coding(headers) {
        None => return body.into(),
        Some(Coding::Gzip) => drop(MultiGzDecoder::new(body).take(limit).read_to_end(&mut text)),
        Some(Coding::Deflate) => {
            // RFC 9110 section 8.4.1.2 means zlib; some servers send what it wraps.
            if ZlibDecoder::new(body).take(limit).read_to_end(&mut text).is_err() && text.is_empty() {
                drop(DeflateDecoder::new(body).take(limit).read_to_end(&mut text));
            }
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    #[test]
    fn codings_are_undone_as_far_as_they_go() {
        let text = b"ORA-00933: ".repeat(100);
        let headers =
            |coding| HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding))]);
        let (mut gzip, mut zlib, mut raw) = (
            GzEncoder::new(Vec::new(), Compression::none()),
            ZlibEncoder::new(Vec::new(), Compression::default()),
            DeflateEncoder::new(Vec::new(), Compression::default()),
        );
        for writer in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            writer.write_all(&text).expect("into a vector");
        }
        let gzip = gzip.finish().expect("into a vector");
        let [zlib, raw] = [zlib.finish(), raw.finish()].map(|done| done.expect("into a vector"));
        for (coding, body) in
            [("gzip", &gzip), ("x-gzip", &gzip), ("deflate", &zlib), ("deflate", &raw), ("br", &text)]
        {
            assert_eq!(*decoded(&headers(coding), body, 1 << 20), *text, "{coding}");
        }
        assert_eq!(decoded(&headers("gzip"), &gzip, 64).len(), 64);
        let part = decoded(&headers("gzip"), &gzip[..gzip.len() / 2], 1 << 20);
        assert!(part.len() > 100 && text.starts_with(&part));
    }
}
