//! Networks and lists of addresses as written.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::policy::decode::{Decode, FilePath, Name, Node, bad_value, table};
use crate::policy::diagnostic::{At, Diagnostics};

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetItem {
    /// An address or network.
    Net(IpNet),
    /// The name of a network.
    Named(Name),
}

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
