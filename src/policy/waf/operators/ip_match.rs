//! `ip_match`

use std::net::IpAddr;

use super::{Argument, ArgumentKind, Operate, OperatorInfo, OperatorProblem, TableBudget};
use crate::policy::ip::IpSet;
use crate::policy::waf::documented::documented;

documented! {
    /// An address in a network.
    ///
    /// *Matches*: values that are an IP address in one of the networks. A value that is no address
    /// does not match; IPv4-mapped IPv6 is IPv4.
    /// *Argument*: an array of addresses, networks and names under `[network]`.
    /// *Example*: `targets = ["client"]` with `match = { ip_match = ["office", "10.0.0.0/8"], not = true }`
    pub(super) const INFO: OperatorInfo = |DOC| OperatorInfo {
        name: "ip_match",
        doc: DOC,
        argument: ArgumentKind::Networks,
    };
}

/// The addresses that match.
#[derive(Clone, Debug)]
pub(in crate::policy::waf) struct Op(IpSet);

impl Operate for Op {
    fn build(argument: &Argument, _: &mut TableBudget) -> Result<Op, OperatorProblem> {
        match argument {
            Argument::Networks(nets) => Ok(Op(IpSet::new(nets.iter().copied()))),
            _ => Err(OperatorProblem::wrong_argument()),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        let text = std::str::from_utf8(value).ok().map(str::trim);
        let address = text.and_then(|text| text.parse::<IpAddr>().ok());
        address.is_some_and(|address| self.0.contains(address.to_canonical()))
    }
}
