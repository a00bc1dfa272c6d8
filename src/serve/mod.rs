//! The server: sockets, threads, reload, and the end.
//!
//! One current-thread runtime a worker thread, each with its own listening sockets; the main thread
//! keeps the control plane: signals, reload, the admin listener. What all of them share is the
//! configuration in force ([`Installer`]) and the metrics.

mod accept;
mod bans;
mod chronicle;
mod connection;
mod control;
mod descriptors;
mod door;
mod drain;
mod holder;
mod keys;
mod listen;
mod memory;
mod proxy;
mod proxy_protocol;
mod reload;
mod rises;
mod shown;
mod slots;
mod stack;
mod tls;
mod trace;
mod watch;
mod wire;
mod worker;

pub(crate) use bans::{BanDesk, BanError, Standing};
pub(crate) use control::{StartError, serve};
pub(crate) use listen::client_group;
pub(crate) use reload::{Installer, Overrides, Trigger, UpstreamStatus};
pub(crate) use worker::Lifecycle;
