//! One worker thread: its own runtime, its own listening sockets, its own connections.
//!
//! A request never leaves the thread that accepted it, so nothing of it is locked or sent.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::ProducesTickets;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::accept::Acceptor;
use super::door::Doors;
use super::drain::{Ask, Connections};
use super::listen::Admission;
use super::stack::stack;
use crate::config::ListenerKey;
use crate::layers::Context;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lifecycle {
    /// Serving.
    Running,
    /// Serving, but clients are asked to leave, and health checks say so.
    Leaving,
    /// Not accepting; what is in flight may end.
    Finishing,
    /// What is still in flight is cut.
    Cutting,
}

/// A bound socket of one thread.
pub(super) struct Bound {
    pub(super) socket: std::net::TcpListener,
    /// Which listener of the configuration it is.
    pub(super) key: ListenerKey,
}

/// What a worker is given.
pub(super) struct Worker {
    pub(super) listeners: Vec<Bound>,
    pub(super) admission: Arc<Admission>,
    pub(super) tickets: Arc<dyn ProducesTickets>,
    pub(super) lifecycle: watch::Receiver<Lifecycle>,
    /// Whether it asks upstreams' servers whether they are well, for all threads.
    pub(super) checks_health: bool,
}

impl Worker {
    /// Serves until the end of the process. Runs on the thread's own local runtime.
    pub(super) async fn run(self, context: Rc<Context>) {
        let Worker { listeners, admission, tickets, mut lifecycle, checks_health } = self;
        let connections = Rc::new(Connections::default());
        let stack = stack(&context);
        let mut accepting = Vec::new();
        for bound in listeners {
            let acceptor = Acceptor {
                context: Rc::clone(&context),
                stack: stack.clone(),
                connections: Rc::clone(&connections),
                admission: Arc::clone(&admission),
                doors: Doors::new(bound.key, Arc::clone(&tickets)),
            };
            let mut lifecycle = lifecycle.clone();
            let stop = async move {
                until(&mut lifecycle, Lifecycle::Finishing).await;
                // A turn of the runtime, in which it learns of everything that came until now.
                tokio::task::yield_now().await;
            };
            match TcpListener::from_std(bound.socket) {
                Ok(listener) => accepting.push(tokio::task::spawn_local(acceptor.accept(listener, stop))),
                Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
            }
        }
        let housekeeping = tokio::task::spawn_local(housekeeping(Rc::clone(&context)));
        let checks = checks_health.then(|| tokio::task::spawn_local(health_checks(Rc::clone(&context))));
        until(&mut lifecycle, Lifecycle::Leaving).await;
        context.draining.set(true);
        connections.ask(Ask::Leave);
        until(&mut lifecycle, Lifecycle::Finishing).await;
        for task in accepting {
            let _ = task.await;
        }
        // Again such a turn: what has come of a request is read before its connection is looked at.
        tokio::task::yield_now().await;
        connections.ask(Ask::Finish);
        let cut = async {
            until(&mut lifecycle, Lifecycle::Cutting).await;
            connections.ask(Ask::Cut);
            // A cut task needs one more turn to end.
            let _ = timeout(Duration::from_secs(1), connections.all_closed()).await;
        };
        tokio::select! {
            () = connections.all_closed() => {}
            () = cut => {}
        }
        housekeeping.abort();
        checks.iter().for_each(tokio::task::JoinHandle::abort);
        if context.log.close().await.is_err() {
            tracing::error!("the decision log did not take its last records");
        }
    }
}

async fn until(lifecycle: &mut watch::Receiver<Lifecycle>, stage: Lifecycle) {
    // An error means that the sender is gone, and with it the process.
    let _ = lifecycle.wait_for(|now| *now >= stage).await;
}

async fn housekeeping(context: Rc<Context>) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        context.installed().upstreams.borrow().expire();
    }
}

async fn health_checks(context: Rc<Context>) {
    crate::upstream::health::keep(|look| look(&context.installed().upstreams.borrow())).await;
}
