//! Small actors for tests over real sockets: a gateway process, upstreams, clients, commands.
//!
//! Everything listens on loopback port 0. Nothing sleeps: each actor waits for what it can see.

mod client;
pub mod command;
mod gateway;
pub mod http2;
pub mod http2_server;
pub mod stand_in;
pub mod tables;
pub mod tls;
mod upstream;

pub use client::{Response, exchange, get, get_local, read_response, request, send};
pub use gateway::{Gateway, wait_until};
pub use upstream::Upstream;
