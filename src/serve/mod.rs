//! The server: sockets, threads, reload, and the end.
//!
//! One current-thread runtime a worker thread, each with its own listening sockets; the main thread
//! keeps the control plane: signals, reload, the admin listener. What all of them share is the
//! configuration in force ([`Installer`]) and the metrics.

mod connection;
mod control;
mod drain;
mod keys;
mod listen;
mod proxy;
mod reload;
mod slots;
mod stack;
mod tls;
mod trace;
mod watch;
mod wire;
mod worker;

pub(crate) use control::{StartError, serve};
pub(crate) use reload::{Installer, Overrides, Trigger};
pub(crate) use worker::Lifecycle;
