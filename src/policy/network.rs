//! `[network]`: addresses by name, and the lists in which rules refer to them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::code::Code;
use super::compile::unknown_name;
use super::decode::{Decode, FilePath, Name, Node, bad_value, table};
use super::diagnostic::{At, Diagnostics, Place};
use super::source::{Attached, Sources};

table! {
    /// A network whose addresses stand in a file, one a line.
    pub struct NetworkFile as "a network file" {
        /// The file, relative to the file that names it. Lines hold an address or network; `#` begins a comment.
        req file: At<FilePath>,
        /// The file may be absent.
        opt optional: bool,
        /// The file may hold no address.
        opt may_be_empty: bool,
    }
}

/// The value of a name under `[network]`.
#[derive(Clone, Debug)]
pub enum RawNetwork {
    /// Addresses, networks, or names of other networks.
    List(Vec<At<NetItem>>),
    /// A file of them.
    File(Box<NetworkFile>),
}

/// An entry of a list of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetItem {
    /// An address or network.
    Net(IpNet),
    /// The name of a network.
    Named(Name),
}

/// The named networks of a policy.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    named: HashMap<Name, Named>,
}

#[derive(Clone, Debug)]
struct Named {
    nets: Vec<IpNet>,
    place: Place,
    used: bool,
}

impl Networks {
    /// Resolves all named networks.
    pub fn compile(
        raw: &[(At<String>, RawNetwork)],
        sources: &Sources,
        diagnostics: &mut Diagnostics,
    ) -> Networks {
        let mut networks = Networks::default();
        let mut lists = Vec::new();
        for (key, value) in raw {
            let Some(name) = Name::new(&key.value) else {
                diagnostics.push(Code::BadValue, key.place, format!("`{}` is not a name", key.value));
                continue;
            };
            if let Some(first) = networks.named.get(&name) {
                diagnostics
                    .push(Code::DuplicateId, key.place, format!("the network `{name}` is defined twice"))
                    .also(first.place, "the first definition");
                continue;
            }
            let nets = match value {
                RawNetwork::List(items) => {
                    lists.push((name.clone(), items));
                    Vec::new()
                }
                RawNetwork::File(file) => read_file(file, sources, diagnostics),
            };
            networks.named.insert(name, Named { nets, place: key.place, used: false });
        }
        for (name, items) in lists {
            let mut path = vec![name.clone()];
            let mut nets = Vec::new();
            networks.flatten(items, raw, &mut path, &mut nets, diagnostics);
            if let Some(named) = networks.named.get_mut(&name) {
                named.nets = nets;
            }
        }
        networks
    }

    /// Follows names to other networks; `path` is the way so far, to find circles.
    fn flatten(
        &mut self,
        items: &[At<NetItem>],
        raw: &[(At<String>, RawNetwork)],
        path: &mut Vec<Name>,
        nets: &mut Vec<IpNet>,
        diagnostics: &mut Diagnostics,
    ) {
        for item in items {
            let name = match &item.value {
                NetItem::Net(net) => {
                    nets.push(*net);
                    continue;
                }
                NetItem::Named(name) => name,
            };
            if path.contains(name) {
                let circle = path.iter().map(Name::as_str).collect::<Vec<_>>().join(" → ");
                diagnostics.push(
                    Code::Cycle,
                    item.place,
                    format!("networks contain each other: {circle} → {name}"),
                );
                continue;
            }
            let Some(named) = self.use_name(name, item.place, diagnostics) else { continue };
            match raw.iter().find(|(key, _)| key.value == name.as_str()).map(|(_, value)| value) {
                Some(RawNetwork::List(inner)) => {
                    path.push(name.clone());
                    self.flatten(inner, raw, path, nets, diagnostics);
                    path.pop();
                }
                _ => nets.extend(named),
            }
        }
    }

    fn use_name(&mut self, name: &Name, place: Place, diagnostics: &mut Diagnostics) -> Option<Vec<IpNet>> {
        match self.named.get_mut(name) {
            Some(named) => {
                named.used = true;
                Some(named.nets.clone())
            }
            None => {
                unknown_name(
                    "network",
                    name.as_str(),
                    place,
                    self.named.keys().map(Name::as_str),
                    diagnostics,
                );
                None
            }
        }
    }

    /// The addresses that a list of a rule refers to.
    pub fn resolve(&mut self, items: &[At<NetItem>], diagnostics: &mut Diagnostics) -> Vec<IpNet> {
        let mut nets = Vec::new();
        for item in items {
            match &item.value {
                NetItem::Net(net) => nets.push(*net),
                NetItem::Named(name) => {
                    nets.extend(self.use_name(name, item.place, diagnostics).into_iter().flatten())
                }
            }
        }
        nets
    }

    /// Reports networks that nothing refers to.
    pub fn report_unused(&self, diagnostics: &mut Diagnostics) {
        for (name, named) in self.named.iter().filter(|(_, named)| !named.used) {
            diagnostics.push(
                Code::UnusedName,
                named.place,
                format!("nothing refers to the network `{name}`"),
            );
        }
    }
}

fn read_file(raw: &NetworkFile, sources: &Sources, diagnostics: &mut Diagnostics) -> Vec<IpNet> {
    let path = &raw.file.value.0;
    let file = match sources.attached(raw.file.place.file, path) {
        Some(Attached::Text(file)) => *file,
        Some(Attached::Absent) | None if raw.optional == Some(true) => return Vec::new(),
        Some(Attached::Absent) | None => {
            diagnostics
                .push(Code::File, raw.file.place, format!("the file `{path}` does not exist"))
                .help("create it, or say `optional = true`");
            return Vec::new();
        }
        Some(Attached::Unreadable(why)) => {
            diagnostics.push(Code::File, raw.file.place, format!("the file `{path}` cannot be read: {why}"));
            return Vec::new();
        }
    };
    let text = sources.get(file).map_or("", |source| &*source.text);
    let mut nets = Vec::new();
    let mut at = 0;
    let mut bad = 0;
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or("").trim();
        let start = at + line.find(entry).unwrap_or(0);
        at += line.len();
        match parse_net(entry) {
            _ if entry.is_empty() => {}
            Ok(net) => nets.push(net),
            // A file of a million lines of something else must not make a million reports.
            Err(_) if bad >= MAX_BAD_LINES => {}
            Err(why) => {
                bad += 1;
                let place = Place { file, start: start as u32, end: (start + entry.len()) as u32 };
                diagnostics.push(Code::BadValue, place, format!("`{}` {why}", entry.escape_debug()));
            }
        }
    }
    if nets.is_empty() && bad == 0 && raw.may_be_empty != Some(true) {
        diagnostics
            .push(Code::File, raw.file.place, format!("the file `{path}` holds no address"))
            .help("say `may_be_empty = true` if that is meant");
    }
    nets
}

/// How many bad lines of one file are reported.
const MAX_BAD_LINES: usize = 20;

/// Reads an address or network. IPv4-mapped IPv6 is IPv4.
pub fn parse_net(text: &str) -> Result<IpNet, &'static str> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| "is not an address or network")?),
    };
    if net.trunc() != net {
        return Err("has bits behind its prefix; write the network's first address");
    }
    Ok(match net {
        IpNet::V6(six) => match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) {
            (Some(four), Some(length)) => Ipv4Net::new(four, length).map_or(net, IpNet::V4),
            _ => net,
        },
        IpNet::V4(_) => net,
    })
}

impl Decode for NetItem {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = node.string("an address, a network or the name of one", diagnostics)?;
        match parse_net(text) {
            Ok(net) => return Some(NetItem::Net(net)),
            Err(why) if text.contains(['/', ':']) => {
                bad_value(node, format!("`{text}` {why}"), "", diagnostics);
                return None;
            }
            Err(_) => {}
        }
        let name = Name::new(text)
            .filter(|name| !name.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        if name.is_none() {
            let help = "write \"192.0.2.7\", \"192.0.2.0/24\", \"2001:db8::/32\" or a name under [network]";
            bad_value(node, format!("`{text}` is not an address, network or name"), help, diagnostics);
        }
        name.map(NetItem::Named)
    }
}

impl JsonSchema for NetItem {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Net".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["192.0.2.0/24", "2001:db8::/48", "office"] })
    }
}

impl Decode for RawNetwork {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.value() {
            DeValue::Table(_) => {
                NetworkFile::decode(node, diagnostics).map(|file| RawNetwork::File(Box::new(file)))
            }
            _ => Vec::decode(node, diagnostics).map(RawNetwork::List),
        }
    }
}

impl JsonSchema for RawNetwork {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = generator.subschema_for::<Vec<NetItem>>();
        let file = generator.subschema_for::<NetworkFile>();
        json_schema!({ "anyOf": [list, file] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_networks_are_ipv4_and_host_bits_are_refused() {
        assert_eq!(parse_net("::ffff:10.0.0.0/104").map(|net| net.to_string()).as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(parse_net("192.0.2.1").map(|net| net.to_string()).as_deref(), Ok("192.0.2.1/32"));
        assert!(
            parse_net("10.0.0.1/8").is_err() && parse_net("012.0.0.1").is_err() && parse_net("").is_err()
        );
    }
}
