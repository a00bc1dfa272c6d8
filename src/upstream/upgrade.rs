//! Connections that stop being HTTP.
//!
//! Bytes flow only after the upstream has answered 101; whatever a client sends before that is not
//! passed on. The connection is not taken from a pool and never returns to one.

use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use super::body::{RequestBody, ResponseBody};
use super::fault::Fault;
use super::forward::Forwarded;
use super::link::Link;
use super::pool::Pool;
use crate::config::Timeouts;

/// Two ends that will exchange bytes.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
}

impl Tunnel {
    /// Carries bytes both ways until one side closes; how many came from the client and from the
    /// upstream.
    pub(crate) async fn run(self) -> (u64, u64) {
        let Ok(client) = self.client.await else { return (0, 0) };
        let Ok(upstream) = self.upstream.await else { return (0, 0) };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        copy_bidirectional(&mut client, &mut upstream).await.unwrap_or((0, 0))
    }
}

/// Sends a request that asks for another protocol.
pub(super) async fn exchange(
    pool: &Pool,
    request: Request<RequestBody>,
    client: OnUpgrade,
    timeouts: Timeouts,
) -> Result<Forwarded, Fault> {
    let link = Link::connect(&pool.server, timeouts.connect).await?;
    let (mut sender, driver) = link.into_halves();
    tokio::task::spawn_local(async move {
        // It ends when both halves of the exchange have; its error is seen by the exchange.
        let _ = driver.with_upgrades().await;
    });
    let answered = timeout(timeouts.upstream_first_byte, sender.send_request(request)).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(Fault::from_hyper(&error)),
        Err(_) => return Err(Fault::Timeout),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Forwarded::Answer(response.map(ResponseBody::Driven)));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let response = Response::from_parts(response.into_parts().0, ResponseBody::Whole(None));
    Ok(Forwarded::Switched(response, Tunnel { client, upstream }))
}
