//! From the worker threads to the collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::post::Collector;
use super::span::Span;
use super::{json, metrics as otlp_metrics};

/// Where worker threads put spans. What does not fit is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    queue: Sender<Span>,
    dropped: Arc<AtomicU64>,
    /// Of 2 to the power of 32 traces that nobody chose yet, so many are.
    chosen: u64,
}

/// Gives the metrics as they are now, in the OpenMetrics text format.
pub(crate) type Exposition = Box<dyn Fn() -> String + Send + Sync>;

/// The task that sends, as long as the process runs.
pub(crate) struct Exporting {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Takes spans and metrics to the collector.
struct Exporter {
    queue: Receiver<Span>,
    dropped: Arc<AtomicU64>,
    collector: Collector,
    resource: Json,
    metrics: Option<(Duration, Exposition)>,
    since: Timestamp,
}

/// So many spans wait at most.
const QUEUE: usize = 8_192;
/// So many are sent at once.
const BATCH: usize = 512;
/// Spans are sent after this time at the latest.
const GATHER: Duration = Duration::from_secs(1);
/// What is left at the end is given so long.
const LAST: Duration = Duration::from_secs(3);

/// Begins to send. `sample`: the share of new traces that are sent; none: no spans are made. `metrics`:
/// what is sent besides, and how often.
pub(crate) fn start(
    endpoint: http::Uri,
    service: &str,
    sample: Option<f64>,
    metrics: Option<(Duration, Exposition)>,
) -> Result<(Option<Spans>, Exporting), rustls::Error> {
    let (sender, queue) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let spans = sample.map(|share| {
        let chosen = (share.clamp(0.0, 1.0) * (1u64 << 32) as f64) as u64;
        Spans { queue: sender, dropped: Arc::clone(&dropped), chosen }
    });
    let (collector, resource) = (Collector::new(endpoint)?, json::resource(service));
    let exporter = Exporter { queue, dropped, collector, resource, metrics, since: Timestamp::now() };
    let (end, ended) = oneshot::channel();
    Ok((spans, Exporting { end, task: tokio::spawn(exporter.run(ended)) }))
}

impl Spans {
    /// Whether a new trace is chosen, by random bits.
    pub(crate) fn chooses(&self, random: u32) -> bool {
        u64::from(random) < self.chosen
    }

    /// Puts a span into the queue, or drops it. Never waits.
    pub(crate) fn send(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Exporting {
    /// Sends what is left, and no longer waits for more.
    pub(crate) async fn end(self) {
        let _ = self.end.send(());
        let abort = self.task.abort_handle();
        if timeout(LAST, self.task).await.is_err() {
            abort.abort();
        }
    }
}

impl Exporter {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut gather = ticks(GATHER);
        let mut report = ticks(self.metrics.as_ref().map_or(GATHER, |(every, _)| *every));
        report.tick().await;
        let mut batch: Vec<Span> = Vec::new();
        let mut open = true;
        loop {
            tokio::select! {
                count = self.queue.recv_many(&mut batch, BATCH), if open => {
                    // Nobody makes spans any more, or ever.
                    open = count > 0;
                    if batch.len() >= BATCH {
                        self.send_spans(&mut batch).await;
                    }
                }
                _ = gather.tick() => self.send_spans(&mut batch).await,
                _ = report.tick(), if self.metrics.is_some() => self.send_metrics().await,
                _ = &mut ended => break,
            }
        }
        while let Ok(span) = self.queue.try_recv() {
            batch.push(span);
        }
        self.send_spans(&mut batch).await;
        self.send_metrics().await;
    }

    async fn send_spans(&self, batch: &mut Vec<Span>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "the collector is slower than the requests: spans were dropped");
        }
        for spans in std::mem::take(batch).chunks(BATCH) {
            let body = json::traces(&self.resource, spans).to_string();
            if let Err(why) = self.collector.post("/v1/traces", body).await {
                tracing::warn!(%why, spans = spans.len(), "the collector did not take the spans");
            }
        }
    }

    async fn send_metrics(&self) {
        let Some((_, exposition)) = &self.metrics else { return };
        let body = otlp_metrics::body(&self.resource, &exposition(), self.since, Timestamp::now());
        if let Err(why) = self.collector.post("/v1/metrics", body.to_string()).await {
            tracing::warn!(%why, "the collector did not take the metrics");
        }
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
