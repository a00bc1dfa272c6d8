//! Problem details for HTTP APIs (RFC 9457), with members of our own.

use std::fmt;
use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::ser::Formatter;

use super::Change;
use super::shape::{NearestShape, ShadowShape, WafShape};
use super::view::{FullView, RuleView, View};
use crate::decision::Reason;

/// The body of a refusal: one member a line, so that it reads well in a terminal too.
pub(super) fn render(view: &View<'_>) -> Bytes {
    let mut body = Vec::with_capacity(if view.full.is_some() { 2048 } else { 768 });
    let mut serializer = serde_json::Serializer::with_formatter(&mut body, OneALine::default());
    // Writing into a vector does not fail, and every key is a string.
    let _ = Problem(view).serialize(&mut serializer);
    body.push(b'\n');
    body.into()
}

struct Problem<'a>(&'a View<'a>);

impl Serialize for Problem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.0;
        let mut id = [0; uuid::fmt::Urn::LENGTH];
        let mut map = serializer.serialize_map(None)?;
        match &view.rule {
            Some(rule) => map.serialize_entry("type", &Urn(rule.reason))?,
            // RFC 9457 section 4.2.1: no more to say than the status does.
            None => map.serialize_entry("type", "about:blank")?,
        }
        map.serialize_entry("title", view.title)?;
        map.serialize_entry("status", &view.status.as_u16())?;
        map.serialize_entry("detail", &view.detail())?;
        map.serialize_entry("instance", &*view.decision_id.urn().encode_lower(&mut id))?;
        map.serialize_entry("decision", view.decision)?;
        map.serialize_entry("stage", view.stage.name())?;
        if let Some(rule) = &view.rule {
            rule_members(view, rule, &mut map)?;
        }
        if let Some(full) = &view.full {
            full_members(full, &mut map)?;
        }
        map.end()
    }
}

fn rule_members<M: SerializeMap>(view: &View<'_>, rule: &RuleView<'_>, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("rule", rule.rule)?;
    map.serialize_entry("reason", rule.reason.info().code)?;
    map.serialize_entry("policy", &Shown(rule.policy))?;
    map.serialize_entry("temporary", &rule.temporary)?;
    if let Some(seconds) = rule.retry_after {
        map.serialize_entry("retry_after", &seconds)?;
    }
    if let Some(needs) = &rule.needs {
        map.serialize_entry("needs", needs)?;
    }
    let hints = view.hints();
    if !hints.is_empty() {
        map.serialize_entry("hints", &hints[..])?;
    }
    if let Some(contact) = rule.contact {
        map.serialize_entry("contact", contact)?;
    }
    Ok(())
}

fn full_members<M: SerializeMap>(full: &FullView<'_>, map: &mut M) -> Result<(), M::Error> {
    let FullView { policy, identity, nearest, notes, .. } = *full;
    if !nearest.is_empty() {
        map.serialize_entry("nearest", &NearestShape { policy, identity, nearest })?;
    }
    map.serialize_entry("rule_at", &full.rule_at)?;
    map.serialize_entry("rule_changed", &full.change.map(|change| change.at))?;
    map.serialize_entry("changed_in", &full.change.map(ChangedIn))?;
    let (ip, peer, via) = (full.client.ip, full.client.peer, full.client.via());
    map.serialize_entry("client", &ClientMember { ip, peer, via })?;
    let waf = WafShape { policy, notes: &notes.waf, body: false };
    if !waf.is_empty() {
        map.serialize_entry("waf", &waf)?;
    }
    let shadow = ShadowShape { policy, hits: &notes.shadow };
    if !shadow.is_empty() {
        map.serialize_entry("shadow", &shadow)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct ClientMember {
    ip: IpAddr,
    peer: IpAddr,
    via: &'static str,
}

/// `urn:portcullis:reason:role_missing`
struct Urn(Reason);

/// `6-0badcafe→7-3f9a2c1d`
pub(super) struct ChangedIn(pub Change);

/// A value written as it is shown.
struct Shown<T>(T);

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("urn:portcullis:reason:")?;
        f.write_str(self.0.info().code)
    }
}

impl Serialize for Urn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ChangedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.0.from, self.0.to)
    }
}

impl Serialize for ChangedIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Each member of the outermost object on its own line, everything inside it on that line.
#[derive(Default)]
struct OneALine {
    depth: usize,
}

impl OneALine {
    fn separate<W: io::Write + ?Sized>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(match (self.depth, first) {
            (1, true) => b"\n  ",
            (1, false) => b",\n  ",
            (_, true) => b"",
            (_, false) => b", ",
        })
    }
}

impl Formatter for OneALine {
    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        writer.write_all(if self.depth == 0 { b"\n}" } else { b"}" })
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        writer.write_all(b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }
}
