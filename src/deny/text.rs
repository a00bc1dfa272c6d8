//! A refusal as plain text, to be read in a terminal.

use std::borrow::Cow;
use std::fmt::{self, Write};

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::escape::escape_for_terminal;
use super::json::ChangedIn;
use super::shape::{NearestShape, word};
use super::view::{FullView, View};
use super::words::Sentence;
use crate::policy::rbac::Unmet;

/// The page: what happened, what to do, whom to ask; then the facts, one a line.
pub(super) fn render(view: &View<'_>) -> Bytes {
    let mut page = String::with_capacity(768);
    // Writing into a string does not fail.
    let _ = write(view, &mut page);
    page.into()
}

fn write(view: &View<'_>, page: &mut String) -> fmt::Result {
    writeln!(page, "{} {}", view.status.as_u16(), view.title)?;
    writeln!(page, "\n{}", escape_for_terminal(&view.detail().text()))?;
    for hint in view.hints() {
        writeln!(page, "{}", escape_for_terminal(&hint.text()))?;
    }
    match view.rule.as_ref().and_then(|rule| rule.contact) {
        Some(contact) => writeln!(page, "Contact: {}", escape_for_terminal(contact))?,
        None => page.push_str("If this seems wrong, quote the request id to whoever runs this service.\n"),
    }
    page.push('\n');
    for (name, value) in facts(view) {
        writeln!(page, "  {name:<11} {}", escape_for_terminal(&value))?;
    }
    Ok(())
}

/// What is known, as pairs of name and value: also the description list of the HTML page.
pub(super) fn facts<'a>(view: &'a View<'_>) -> Vec<(&'static str, Cow<'a, str>)> {
    let mut facts = Vec::with_capacity(8);
    facts.push(("Decision", [view.decision, ", stage ", view.stage.name()].concat().into()));
    if let Some(rule) = &view.rule {
        facts.push(("Rule", rule.rule.into()));
        facts.push(("Reason", rule.reason.info().code.into()));
        facts.push(("Policy", rule.policy.as_str().into()));
    }
    facts.push((REQUEST_ID, view.request_id.into()));
    facts.push(("Time", seconds(view.now).into()));
    if let Some(full) = &view.full {
        full_facts(full, &mut facts);
    }
    facts
}

/// The name of the fact that a caller is asked to quote.
pub(super) const REQUEST_ID: &str = "Request id";

/// A time to the second.
fn seconds(time: Timestamp) -> String {
    let mut text = String::with_capacity(20);
    // Written into a string, which does not fail.
    let _ = DateTimePrinter::new().precision(Some(0)).print_timestamp(&time, &mut text);
    text
}

fn full_facts<'a>(full: &'a FullView<'_>, facts: &mut Vec<(&'static str, Cow<'a, str>)>) {
    let FullView { policy, identity, nearest, client, notes, .. } = *full;
    facts.extend(full.rule_at.map(|at| ("Rule at", at.into())));
    if let Some(change) = full.change {
        facts.push(("Changed", format!("{:.0} in {}", change.at, ChangedIn(change)).into()));
    }
    facts.push(("Client", format!("{} by {}, peer {}", client.ip, client.via(), client.peer).into()));
    for (rule, unmet) in (NearestShape { policy, identity, nearest }).entries() {
        let lacking = match unmet {
            Unmet::Roles(roles) => {
                let names: Vec<&str> = roles.iter().map(|role| policy.roles.name(*role)).collect();
                format!(": {}", names.join(", "))
            }
            Unmet::Scopes(scopes) => format!(": {}", scopes.join(" ")),
            Unmet::NotYet(at) | Unmet::Expired(at) => format!(": {at:.0}"),
            Unmet::Subject | Unmet::Condition => String::new(),
        };
        facts.push(("Nearest", format!("{rule}, unmet {}{lacking}", word(unmet)).into()));
    }
    if notes.waf.threshold > 0 {
        facts.push(("WAF score", format!("{} of {}", notes.waf.score, notes.waf.threshold).into()));
    }
    for found in &notes.waf.matched {
        let mut line = format!("{} +{} at {}", policy.rules.name(found.rule), found.score, found.target);
        for part in [&found.msg, &found.data] {
            if !part.is_empty() {
                line.push_str(": ");
                line.push_str(part);
            }
        }
        facts.push(("WAF match", line.into()));
    }
    for hit in &notes.shadow {
        facts.push(("In shadow", format!("{}, {}", policy.rules.name(hit.rule), hit.reason).into()));
    }
}
