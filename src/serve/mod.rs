//! The server.

mod wire;
