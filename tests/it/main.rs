//! Integration tests: one binary, by subject. What several subjects need is in `support`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "one crate, whose modules are its only users")]

mod support;

mod admin;
mod admin_api;
mod admin_seats;
mod bad_policies;
mod cases;
mod cli_admin;
mod cli_bans;
mod cli_check;
mod cli_explain;
mod cli_files;
mod cli_test;
mod cli_usage;
mod cors;
mod coverage;
mod credentials;
mod decision_log;
mod differential;
mod drain;
mod forwarding;
mod hidden_client;
mod history;
mod http2;
mod http2_upstreams;
mod intake;
mod limits;
mod lints;
mod metrics;
mod mtls;
#[cfg(feature = "otlp")]
mod otlp;
mod own_files;
mod proxy_protocol;
mod purity;
mod readme;
mod reload;
mod replay;
mod retold;
mod routing;
mod seclang;
mod second_start;
mod shipped;
mod strange_records;
mod suggest;
mod suggest_applied;
mod taken;
mod tidy;
mod tls;
mod upgrade;
mod upstreams;
mod why;
mod why_exclusions;
