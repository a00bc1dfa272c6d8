//! YAML as the tests are written in it: every scalar stays the text that its author wrote.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Null,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a document.
    pub(crate) fn read(text: &str) -> Result<Node, String> {
        let mut events = Parser::new_from_str(text);
        let mut anchors = HashMap::new();
        let mut next = move || match events.next() {
            Some(Ok((event, _))) => Ok(Some(owned(event))),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(None),
        };
        loop {
            match next()? {
                None => return Ok(Node::Null),
                Some(Owned::Other) => {}
                Some(event) => return build(event, &mut next, &mut anchors),
            }
        }
    }

    /// The member of a map; null where there is none.
    pub(crate) fn get(&self, name: &str) -> &Node {
        const NULL: &Node = &Node::Null;
        match self {
            Node::Map(members) => {
                members.iter().find(|(key, _)| key == name).map_or(NULL, |(_, value)| value)
            }
            _ => NULL,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list; none where it is no list.
    pub(crate) fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            _ => &[],
        }
    }

    /// The members of a map.
    pub(crate) fn members(&self) -> &[(String, Node)] {
        match self {
            Node::Map(members) => members,
            _ => &[],
        }
    }

    /// Whether it is a yes.
    pub(crate) fn is_yes(&self) -> bool {
        self.text().is_some_and(|text| ["true", "yes", "on", "1"].contains(&text.to_lowercase().as_str()))
    }
}

enum Owned {
    Scalar(Node, usize),
    List(usize),
    Map(usize),
    End,
    Alias(usize),
    Other,
}

fn owned(event: Event<'_>) -> Owned {
    match event {
        Event::Scalar(text, style, anchor, _) => {
            let plain = style == ScalarStyle::Plain;
            let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
            Owned::Scalar(if null { Node::Null } else { Node::Text(text.into_owned()) }, anchor)
        }
        Event::SequenceStart(anchor, _) => Owned::List(anchor),
        Event::MappingStart(anchor, _) => Owned::Map(anchor),
        Event::SequenceEnd | Event::MappingEnd => Owned::End,
        Event::Alias(anchor) => Owned::Alias(anchor),
        _ => Owned::Other,
    }
}

type Next<'a> = dyn FnMut() -> Result<Option<Owned>, String> + 'a;

fn build(event: Owned, next: &mut Next<'_>, anchors: &mut HashMap<usize, Node>) -> Result<Node, String> {
    let (node, anchor) = match event {
        Owned::Scalar(node, anchor) => (node, anchor),
        Owned::Alias(anchor) => (anchors.get(&anchor).cloned().ok_or("an alias of nothing")?, 0),
        Owned::List(anchor) => {
            let mut items = Vec::new();
            loop {
                match next()?.ok_or("a list without end")? {
                    Owned::End => break,
                    event => items.push(build(event, next, anchors)?),
                }
            }
            (Node::List(items), anchor)
        }
        Owned::Map(anchor) => {
            let mut members = Vec::new();
            loop {
                match next()?.ok_or("a map without end")? {
                    Owned::End => break,
                    event => {
                        let key = build(event, next, anchors)?.text().unwrap_or_default().to_owned();
                        let value = next()?.ok_or("a key without value")?;
                        members.push((key, build(value, next, anchors)?));
                    }
                }
            }
            (Node::Map(members), anchor)
        }
        Owned::End | Owned::Other => return Err("an end of nothing".to_owned()),
    };
    if anchor > 0 {
        anchors.insert(anchor, node.clone());
    }
    Ok(node)
}
