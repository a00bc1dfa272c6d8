//! A refusal as plain text, to be read in a terminal.

use std::fmt::{self, Write};

use bytes::Bytes;

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
pub(super) fn facts(view: &View<'_>) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Decision", format!("{}, stage {}", view.decision, view.stage.name()))];
    if let Some(rule) = &view.rule {
        facts.push(("Rule", rule.rule.to_owned()));
        facts.push(("Reason", rule.reason.info().code.to_owned()));
        facts.push(("Policy", rule.policy.as_str().to_owned()));
    }
    facts.push((REQUEST_ID, view.request_id.to_owned()));
    facts.push(("Time", format!("{:.0}", view.now)));
    if let Some(full) = &view.full {
        full_facts(full, &mut facts);
    }
    facts
}

/// The name of the fact that a caller is asked to quote.
pub(super) const REQUEST_ID: &str = "Request id";

fn full_facts(full: &FullView<'_>, facts: &mut Vec<(&'static str, String)>) {
    let FullView { policy, identity, nearest, client, notes, .. } = *full;
    facts.extend(full.rule_at.map(|at| ("Rule at", at.to_owned())));
    if let Some(change) = full.change {
        facts.push(("Changed", format!("{:.0} in {}", change.at, ChangedIn(change))));
    }
    facts.push(("Client", format!("{} by {}, peer {}", client.ip, client.via(), client.peer)));
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
        facts.push(("Nearest", format!("{rule}, unmet {}{lacking}", word(unmet))));
    }
    if notes.waf.threshold > 0 {
        facts.push(("WAF score", format!("{} of {}", notes.waf.score, notes.waf.threshold)));
    }
    for found in &notes.waf.matched {
        let mut line = format!("{} +{} at {}", policy.rules.name(found.rule), found.score, found.target);
        for part in [&found.msg, &found.data] {
            if !part.is_empty() {
                line.push_str(": ");
                line.push_str(part);
            }
        }
        facts.push(("WAF match", line));
    }
    for hit in &notes.shadow {
        facts.push(("In shadow", format!("{}, {}", policy.rules.name(hit.rule), hit.reason)));
    }
}
