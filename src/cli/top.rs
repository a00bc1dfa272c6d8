//! `top`: decisions and rules of a running gateway, as they come.
//!
//! On a terminal the screen is drawn anew every second; into a pipe each decision is one line. Like
//! `run`, it writes as it goes and not at its end.

mod screen;

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use http::StatusCode;
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::interval;

use self::screen::{Screen, Shot};
use super::Common;
use super::admin::{Gateway, Opened, Whom};
use super::layout::printable;
use super::reply::{Exit, Reply};
use crate::decision::{Builtin, Stage};
use crate::policy::diagnostic::suggest;

/// Watch the decisions and rules of a running gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis top
  portcullis top --decision deny --ip 203.0.113.0/24
  portcullis top --route orders | grep alice

On a terminal the screen is drawn anew every second, until Ctrl-C. Into a pipe
each decision is one line. NO_COLOR is respected.")]
pub(super) struct Args {
    /// Only these decisions: `allow`, `deny`, `error`; repeatable.
    #[arg(long, value_name = "WORD", value_parser = ["allow", "deny", "error"])]
    decision: Vec<String>,
    /// Only decisions of this rule; repeatable.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Only decisions of this stage; repeatable.
    #[arg(long, value_name = "STAGE", value_parser = PossibleValuesParser::new(STAGES.map(Stage::name)))]
    stage: Vec<String>,
    /// Only requests of this route; repeatable.
    #[arg(long, value_name = "ID")]
    route: Vec<String>,
    /// Only requests of this subject; repeatable.
    #[arg(long, value_name = "SUBJECT")]
    subject: Vec<String>,
    /// Only requests from this address or network.
    #[arg(long, value_name = "ADDR")]
    ip: Option<String>,
    /// Only requests whose path begins so.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// End after so many decisions.
    #[arg(long, value_name = "N")]
    lines: Option<usize>,
    #[command(flatten)]
    whom: Whom,
}

/// Watches until there is nothing more to watch, or nobody who does.
pub(super) fn top(args: &Args, common: &Common) -> ExitCode {
    let gateway = match args.whom.find(false, common) {
        Ok(gateway) => gateway,
        Err(reply) => return reply.write(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Reply::failure(Exit::Internal, error).write(),
    };
    let watched = runtime.block_on(async {
        if let Some(why) = args.no_such_rule(&gateway).await? {
            return Ok(Err(why));
        }
        let events = Events::open(&gateway, &args.query()).await?;
        if std::io::stdout().is_terminal() {
            draw(&gateway, events, args.lines).await
        } else {
            print(events, args.lines).await
        }
        .map(Ok)
    });
    match watched {
        Ok(Ok(())) => Exit::Fine.into(),
        Ok(Err(why)) => Reply::failure(Exit::Usage, why).write(),
        Err(why) => Reply::failure(Exit::Findings, why).write(),
    }
}

/// The stages that decide, each name once.
const STAGES: [Stage; 7] =
    [Stage::Intake, Stage::Ip, Stage::Route, Stage::Waf, Stage::Authn, Stage::Rbac, Stage::Fault];

impl Args {
    /// What to say of a rule that there is not, and that would be waited for in vain.
    async fn no_such_rule(&self, gateway: &Gateway) -> Result<Option<String>, String> {
        if self.rule.is_empty() {
            return Ok(None);
        }
        let policy = gateway.document("/api/policy").await?;
        let rules = policy["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&str> = rules.iter().filter_map(|rule| rule["rule"].as_str()).collect();
        let unknown = |rule: &&String| Builtin::by_name(rule).is_none() && !names.contains(&rule.as_str());
        Ok(self.rule.iter().find(unknown).map(|rule| {
            let known = names.iter().copied().chain(Builtin::ALL.iter().map(|rule| rule.info().name));
            let near = suggest(rule, known).map(|near| format!("; did you mean `{}`?", printable(near)));
            format!("the policy in force has no rule `{}`{}", printable(rule), near.unwrap_or_default())
        }))
    }

    /// The filter, as the gateway reads it.
    fn query(&self) -> String {
        let many = [
            ("decision", &self.decision),
            ("rule", &self.rule),
            ("stage", &self.stage),
            ("route", &self.route),
            ("subject", &self.subject),
        ];
        let many = many.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let one = [("ip", &self.ip), ("path", &self.path)];
        let one = one.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let part = |(name, value): (&str, &String)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        };
        many.chain(one).map(part).collect::<Vec<_>>().join("&")
    }
}

/// One decision a line.
async fn print(mut events: Events, lines: Option<usize>) -> Result<(), String> {
    let mut left = lines.unwrap_or(usize::MAX);
    while left > 0 {
        let Some(record) = events.next().await? else { return Ok(()) };
        let line = screen::line(&record, None) + "\n";
        let mut out = anstream::stdout().lock();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Whoever read has read enough.
            return Ok(());
        }
        left -= 1;
    }
    Ok(())
}

/// The screen, until an interrupt.
async fn draw(gateway: &Gateway, mut events: Events, lines: Option<usize>) -> Result<(), String> {
    let mut screen = Screen::open().map_err(|error| format!("the terminal: {error}"))?;
    let mut last: VecDeque<Value> = VecDeque::new();
    let mut left = lines.unwrap_or(usize::MAX);
    let mut before: Option<Shot> = None;
    let mut ticks = interval(Duration::from_secs(1));
    while left > 0 {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            record = events.next() => {
                let Some(record) = record? else { return Ok(()) };
                last.push_front(record);
                last.truncate(200);
                left -= 1;
            }
            _ = ticks.tick() => {
                let shot = Shot::new(gateway.document("/api/status").await?, gateway.document("/api/policy").await?);
                screen.show(&screen::text(&shot, before.as_ref(), last.make_contiguous(), screen.size()));
                before = Some(shot);
            }
        }
    }
    Ok(())
}

/// The decisions of a running gateway, as they are made.
struct Events {
    opened: Opened,
    unread: Vec<u8>,
}

impl Events {
    async fn open(gateway: &Gateway, query: &str) -> Result<Events, String> {
        let opened = gateway.open(&format!("/api/decisions?{query}"), "text/event-stream").await?;
        let mut events = Events { opened, unread: Vec::new() };
        if events.opened.status == StatusCode::OK {
            return Ok(events);
        }
        while events.more().await? {}
        let told: Value = serde_json::from_slice(&events.unread).unwrap_or_default();
        let status = events.opened.status.to_string();
        Err(printable(told["error"].as_str().unwrap_or(&status)).into_owned())
    }

    /// The next record; none when the gateway has ended.
    async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.unread.drain(..end + 2).collect();
                let text = String::from_utf8_lossy(&event);
                let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some("decision"), Some(data)) = (field("event:"), field("data:")) {
                    let record = serde_json::from_str(data);
                    return record.map(Some).map_err(|error| format!("a decision cannot be read: {error}"));
                }
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads on; whether there was more.
    async fn more(&mut self) -> Result<bool, String> {
        match self.opened.body.frame().await {
            Some(Ok(frame)) => {
                self.unread.extend(frame.data_ref().into_iter().flatten());
                Ok(true)
            }
            Some(Err(error)) => Err(format!("the gateway cut the connection: {error}")),
            None => Ok(false),
        }
    }
}
