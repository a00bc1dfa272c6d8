//! What `never_ban` keeps out of a ban. For whoever bans and whoever asks: requests are judged address by
//! address.

use std::fmt;

use ipnet::IpNet;

use super::Ip;
use crate::policy::network::AddressList;

/// What of a network no ban concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spared {
    /// Nothing of it.
    Nothing,
    /// The addresses of it that are in these networks.
    Part(Listed),
    /// All of it, so that a ban of it changes nothing.
    All(Listed),
}

/// Networks of `never_ban`, as people know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The first of them: `192.0.2.0/24 of `office``.
    pub nets: Vec<String>,
    /// How many there are besides.
    pub more: usize,
}

impl Listed {
    /// Whatever is in a list.
    pub(super) fn of(list: &AddressList) -> Listed {
        let mut nets = list.networks();
        let first: Vec<String> = nets.by_ref().take(MOST).map(|found| found.to_string()).collect();
        Listed { nets: first, more: nets.count() }
    }
}

/// How much of a network a set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Nothing,
    Part,
    All,
}

impl Ip {
    /// What of a network `never_ban` keeps from being banned.
    pub fn spared(&self, net: IpNet) -> Spared {
        let listed = || {
            let mut found = self.never_ban.overlapping(net);
            let nets: Vec<String> = found.by_ref().take(MOST).map(|found| found.to_string()).collect();
            Listed { nets, more: found.count() }
        };
        match self.never_ban.set().share(net) {
            Share::Nothing => Spared::Nothing,
            Share::Part => Spared::Part(listed()),
            Share::All => Spared::All(listed()),
        }
    }
}

/// More are only counted.
const MOST: usize = 5;

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.nets.join(", "))?;
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::policy;

    const POLICY: &str = "[network]\noffice = [\"192.0.2.0/25\", \"192.0.2.128/25\", \"2001:db8::/48\"]\n\
                          [ip]\nnever_ban = [\"office\", \"198.51.100.7\"]";

    fn check(net: &str, want: &str) {
        let policy = policy(POLICY);
        let said = match policy.ip.spared(net.parse().unwrap()) {
            Spared::Nothing => "nothing".to_owned(),
            Spared::Part(listed) => format!("part: {listed}"),
            Spared::All(listed) => format!("all: {listed}"),
        };
        assert_eq!(said, want, "{net}");
    }

    #[test]
    fn a_network_is_spared_as_far_as_it_is_listed() {
        check("203.0.113.9/32", "nothing");
        check("198.51.100.7/32", "all: 198.51.100.7/32");
        check("198.51.100.0/24", "part: 198.51.100.7/32");
        check("192.0.2.9/32", "all: 192.0.2.0/25 of `office`");
        // Only together do they have all of it.
        check("192.0.2.0/24", "all: 192.0.2.0/25 of `office`, 192.0.2.128/25 of `office`");
        check("192.0.2.0/23", "part: 192.0.2.0/25 of `office`, 192.0.2.128/25 of `office`");
        check("192.0.0.0/23", "nothing");
        check("2001:db8::/32", "part: 2001:db8::/48 of `office`");
        check("2001:db8:0:7::/64", "all: 2001:db8::/48 of `office`");
        check("2001:db8:1::/48", "nothing");
        check("::/1", "part: 2001:db8::/48 of `office`");
    }

    #[test]
    fn many_networks_are_counted() {
        let nets: Vec<String> = (0..9).map(|low| format!("\"10.0.0.{}\"", low * 2)).collect();
        let policy = policy(&format!("[ip]\nnever_ban = [{}]", nets.join(", ")));
        let Spared::Part(listed) = policy.ip.spared("10.0.0.0/24".parse().unwrap()) else { panic!("a part") };
        assert_eq!((listed.nets.len(), listed.more), (5, 4));
        assert!(listed.to_string().ends_with("10.0.0.8/32 and 4 more"), "{listed}");
    }
}
