//! Which process listens where this one wants to, for whoever has to wait for it or stop it.
//!
//! The kernel says which socket listens on a port, and of processes of the same user which sockets they
//! have. Of others nothing is found, and that is said.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is known of who listens somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The address is free, or why it cannot be listened on has nothing to do with others.
    Nobody,
    /// This process.
    Ourselves,
    /// Another one.
    Process { id: u32, name: String },
    /// Somebody.
    Unknown,
}

impl Holder {
    /// Who listens on an address, if that is why it cannot be listened on.
    pub(crate) fn of(address: SocketAddr, error: &io::Error) -> Holder {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Holder::Nobody;
        }
        let mut sockets = Vec::new();
        for table in
            ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| fs::read_to_string(path).ok())
        {
            let inodes = table.lines().filter_map(|line| listening(line, address));
            sockets.extend(inodes.map(|inode| format!("socket:[{inode}]")));
        }
        match fs::read_dir("/proc").ok().and_then(|processes| {
            let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            ids.into_iter().find(|id| has_one(*id, &sockets))
        }) {
            Some(id) if id == std::process::id() => Holder::Ourselves,
            Some(id) => Holder::Process { id, name: name(id) },
            None => Holder::Unknown,
        }
    }
}

/// The inode of a socket that listens on an address, from a line of the kernel's table.
fn listening(line: &str, address: SocketAddr) -> Option<&str> {
    let mut words = line.split_whitespace();
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    let (state, inode) = (words.nth(1)?, words.nth(5)?);
    let same = |host: IpAddr| {
        host.is_unspecified() || address.ip().is_unspecified() || host == address.ip().to_canonical()
    };
    let listens = state == "0A" && u16::from_str_radix(port, 16).ok()? == address.port();
    (listens && same(parse(host)?)).then_some(inode)
}

/// An address as the table has it: words of four bytes, each in the order of this machine.
fn parse(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    if text.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0; 16];
    for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
        four.copy_from_slice(&word(at)?);
    }
    Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
}

fn has_one(id: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{id}/fd")) else { return false };
    let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

fn name(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.trim().escape_debug().to_string()
}

/// What is said behind the error.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ENDS: &str = "a gateway that was told to end listens for `[timeouts] drain_delay` more, so that \
                            those who still come are served: wait until it is gone, or listen elsewhere";
        match self {
            Holder::Nobody => Ok(()),
            Holder::Ourselves => {
                f.write_str("; this process listens there already, so the address is configured twice")
            }
            Holder::Process { id, name } if name == "portcullis" => {
                write!(f, "; process {id} ({name}) listens there; {ENDS}")
            }
            Holder::Process { id, name } => {
                write!(f, "; process {id} ({name}) listens there: stop it, or listen elsewhere")
            }
            Holder::Unknown => write!(
                f,
                "; a process that cannot be seen from here listens there (`ss -ltnp` as root names it); {ENDS}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_listens_is_found_by_his_socket() {
        for any in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let address = listener.local_addr().unwrap();
            let error = TcpListener::bind(address).unwrap_err();
            assert_eq!(Holder::of(address, &error), Holder::Ourselves, "{any}");
            // By another name of the same port.
            let loopback = SocketAddr::from(([127, 0, 0, 1], address.port()));
            if any.starts_with('0') {
                assert_eq!(Holder::of(loopback, &error), Holder::Ourselves, "{any}");
            }
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Holder::of(SocketAddr::from(([127, 0, 0, 1], 80)), &denied), Holder::Nobody);
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 42 1 0 100";
        let at = |address: &str| listening(line, address.parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!((at("127.0.0.1:8080"), at("0.0.0.0:8080")), (Some("42"), Some("42")));
            assert_eq!((at("127.0.0.2:8080"), at("127.0.0.1:8081")), (None, None));
        }
        assert_eq!(listening(&line.replace(" 0A ", " 01 "), "127.0.0.1:8080".parse().unwrap()), None);
        assert_eq!(listening("  sl  local_address rem_address", "127.0.0.1:8080".parse().unwrap()), None);
    }
}
