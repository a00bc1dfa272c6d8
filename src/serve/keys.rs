//! Fetches key sets: at start, at their intervals, and when a token names a key that is missing.
//!
//! A request never waits for a fetch and cannot cause more than one in ten seconds for an address,
//! whoever asks how often. A fetch that fails, or brings nothing usable, leaves the keys that are
//! there in force, but not for ever: who withdrew a key must be heard in the end. A set without a key
//! withdraws all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_rustls::TlsConnector;

use super::reload::Installer;
use crate::layers::KeysWanted;
use crate::metrics::{Metrics, SourceLabel};
use crate::policy::authn::{Keys, Origin};

/// The least time between two fetches of one address.
const PAUSE: Duration = Duration::from_secs(10);

/// Keys that could not be fetched anew for so long are forgotten, and what they would verify is refused as
/// `authn/keys-unavailable`; with a longer `refresh`, for twice that.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A fetch takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A key set is a few kilobytes; this much is read.
const MAX_BYTES: usize = 1 << 20;

/// What is known of one address.
#[derive(Debug, Default)]
struct Known {
    tried: Option<Instant>,
    fetched: Option<Instant>,
    fetched_at: Option<SystemTime>,
    wanted_since: Option<Instant>,
    wanted: bool,
}

impl Known {
    /// Whether its keys are too old to be believed.
    fn is_outdated(&self, refresh: Duration, now: Instant) -> bool {
        self.fetched
            .is_some_and(|fetched| now.duration_since(fetched) >= STALE.max(refresh.saturating_mul(2)))
    }
}

/// Keeps the key sets of the configuration in force fresh, for ever.
pub(super) async fn keep(installer: Arc<Installer>, wanted: Arc<KeysWanted>, metrics: Arc<Metrics>) {
    let connector = connector();
    let mut known: BTreeMap<Arc<str>, Known> = BTreeMap::new();
    let mut fetches: JoinSet<(Arc<str>, Result<String, String>)> = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1));
    let mut told: BTreeSet<Box<str>> = BTreeSet::new();
    loop {
        let policy = Arc::clone(&installer.current().load().policy);
        let sources: BTreeSet<Box<str>> =
            policy.authn.remote_key_sets().map(|set| set.source.into()).collect();
        for gone in told.difference(&sources) {
            metrics.forget_key_set(&SourceLabel { source: gone.to_string() });
        }
        told = sources;
        for set in policy.authn.remote_key_sets() {
            let entry = known.entry(Arc::clone(set.url)).or_default();
            // A set that was never had is as old as the wish for it.
            let wanted_since = *entry.wanted_since.get_or_insert_with(Instant::now);
            let age =
                entry.fetched_at.and_then(|at| at.elapsed().ok()).unwrap_or_else(|| wanted_since.elapsed());
            metrics.key_set_age(SourceLabel { source: set.source.to_owned() }, age);
            if entry.is_outdated(set.refresh, Instant::now()) {
                tracing::error!(url = %set.url, "a key set could not be fetched for too long, and is forgotten: tokens of this source are refused until it can be");
                installer.forget_keys(set.url);
                entry.fetched = None;
            }
            let rested = entry.tried.is_none_or(|tried| tried.elapsed() >= PAUSE);
            let stale = entry.fetched.is_none_or(|fetched| fetched.elapsed() >= set.refresh);
            if rested && (stale || entry.wanted) {
                entry.tried = Some(Instant::now());
                entry.wanted = false;
                let (url, connector) = (Arc::clone(set.url), connector.clone());
                fetches.spawn(async move {
                    let fetched = timeout(PATIENCE, fetch(&url, &connector)).await;
                    (url, fetched.unwrap_or_else(|_| Err("it takes too long".to_owned())))
                });
            }
        }
        tokio::select! {
            _ = ticks.tick() => {}
            urls = wanted.wait() => {
                for url in urls {
                    known.entry(url).or_default().wanted = true;
                }
            }
            Some(Ok((url, fetched))) = fetches.join_next() => {
                if fetched.as_ref().is_ok_and(|text| Keys::are_withdrawn(text)) {
                    tracing::warn!(%url, "a key set has no keys any more: tokens of this source are refused");
                    installer.forget_keys(&url);
                    let entry = known.entry(url).or_default();
                    (entry.fetched, entry.fetched_at) = (Some(Instant::now()), Some(SystemTime::now()));
                    continue;
                }
                match fetched.and_then(|text| Keys::parse(&text, Origin::Fetched)) {
                    Ok(keys) => {
                        for skipped in keys.skipped() {
                            tracing::warn!(%url, key = %skipped.key, why = skipped.why, "a key is left out");
                        }
                        installer.set_keys(&url, keys);
                        let entry = known.entry(url).or_default();
                        entry.fetched = Some(Instant::now());
                        entry.fetched_at = Some(SystemTime::now());
                    }
                    Err(why) => tracing::warn!(%url, %why, "a key set could not be fetched"),
                }
            }
        }
    }
}

fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("the provider has the default versions").with_root_certificates(roots);
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

async fn fetch(url: &str, connector: &TlsConnector) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL".to_owned())?;
    let authority = uri.authority().ok_or("it names no host")?;
    let https = uri.scheme_str() == Some("https");
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
    if !https {
        return exchange(stream, &uri).await;
    }
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    exchange(stream, &uri).await
}

/// GET, without following redirects: the address in the configuration is the one that is trusted.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
) -> Result<String, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().map_err(|_| "its path is not valid".to_owned())?;
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    request
        .headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answers {}", response.status()));
    }
    let body =
        Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|error| error.to_string())?;
    driver.abort();
    String::from_utf8(body.to_bytes().to_vec()).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_believed_for_a_day_or_twice_their_refresh() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let fetched = Instant::now();
        let known = Known { fetched: Some(fetched), ..Known::default() };
        let minute = Duration::from_secs(60);
        for (refresh, kept) in [(minute, hours(24)), (hours(12), hours(24)), (hours(20), hours(40))] {
            assert!(!known.is_outdated(refresh, fetched + kept - minute), "{refresh:?}");
            assert!(known.is_outdated(refresh, fetched + kept), "{refresh:?}");
        }
        assert!(!Known::default().is_outdated(minute, fetched + hours(1000)));
    }
}
