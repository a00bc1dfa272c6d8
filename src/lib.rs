//! portcullis: the reverse proxy that decides who may pass, and always says why.
//!
//! Plain text into compiled policy, facts into a verdict, a verdict into an answer and a record:
//!
//! ```text
//! decision ← facts ← policy  ←  deny, audit, state ← config ← layers, upstream ← serve, admin ← cli
//! └────── core: no IO ─────┘    └──────────────────────── shell ────────────────────────┘
//! ```
//!
//! A room uses the rooms to its left.

pub mod audit;
pub mod cli;
pub mod config;
pub mod decision;
pub mod deny;
pub mod facts;
pub mod metrics;
pub mod policy;
pub mod state;

mod admin;
mod layers;
#[cfg(feature = "otlp")]
mod otlp;
mod serve;
mod upstream;
