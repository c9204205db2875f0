//! Connecting to a host of the other side, or to a relay.

use crate::socks5::{StreamHash, handshake};
use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};
use tokio::net::{TcpStream, lookup_host};

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;
/// The longest name of a host, in bytes.
const NAME: usize = 255;

/// Whether an address that somebody else has named may be connected to. Private networks may: that both are in one is where
/// bytestreams are best. What leads back to this machine, to nobody or to many may not, unless `loopback` allows the first; nor
/// link-local addresses.
pub fn may_dial(ip: IpAddr, loopback: bool) -> bool {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    let close = match ip {
        IpAddr::V4(ip) if ip.is_broadcast() || ip.octets().first() == Some(&0) => return false,
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            // IPv4-compatible addresses, which nobody uses for good.
            let disguised = matches!(ip.segments(), [0, 0, 0, 0, 0, 0, ..]) && ip != Ipv6Addr::LOCALHOST;
            if disguised {
                return false;
            }
            ip.is_loopback() || ip.is_unicast_link_local()
        }
    };
    loopback || !close
}

/// Whom we let name a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Our own server, for its relays.
    Own,
    /// Somebody else, with loopback or not.
    Other { loopback: bool },
}

/// Connects to a host, and asks for a stream there, within `limit`. Cancel-safe.
pub(super) async fn dial(
    host: &str,
    port: u16,
    hash: StreamHash,
    trust: Trust,
    limit: Duration,
) -> io::Result<TcpStream> {
    let all = async {
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address that may be connected to");
        for ip in addresses(host, port, trust).await? {
            match connect(ip, port, hash).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    tokio::time::timeout(limit, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn addresses(host: &str, port: u16, trust: Trust) -> io::Result<Vec<IpAddr>> {
    let wanted = |ip: &IpAddr| match trust {
        Trust::Own => true,
        Trust::Other { loopback } => may_dial(*ip, loopback),
    };
    if port == 0 || host.is_empty() || host.len() > NAME {
        return Ok(Vec::new());
    }
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return Ok(Some(ip).filter(wanted).into_iter().collect());
    }
    let found = lookup_host((host, port)).await?;
    Ok(found.map(|address| address.ip()).filter(wanted).take(ADDRESSES).collect())
}

async fn connect(ip: IpAddr, port: u16, hash: StreamHash) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((ip, port)).await?;
    socket.set_nodelay(true)?;
    handshake::ask(&mut socket, hash).await?;
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn abuse_a083_a_peer_does_not_lead_us_to_ourselves() {
        for (ip, by_default, with_loopback) in [
            ("127.0.0.1", false, true),
            ("127.8.8.8", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("::127.0.0.1", false, false),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, false),
            ("::", false, false),
            ("255.255.255.255", false, false),
            ("224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("169.254.169.254", false, true),
            ("fe80::1", false, true),
            ("::ffff:169.254.169.254", false, true),
            ("192.168.1.2", true, true),
            ("10.0.0.1", true, true),
            ("fd00::1", true, true),
            ("192.0.2.1", true, true),
            ("2001:db8::1", true, true),
        ] {
            let parsed: IpAddr = ip.parse().unwrap();
            assert_eq!((may_dial(parsed, false), may_dial(parsed, true)), (by_default, with_loopback), "{ip}");
        }
    }

    #[tokio::test]
    async fn abuse_a083_names_are_judged_by_what_they_lead_to() {
        let other = Trust::Other { loopback: false };
        for host in ["localhost", "127.0.0.1", "[::1]", "", &"x".repeat(256)] {
            assert!(addresses(host, 5222, other).await.is_ok_and(|found| found.is_empty()), "{host}");
        }
        assert!(!addresses("localhost", 5222, Trust::Other { loopback: true }).await.unwrap().is_empty());
        assert!(addresses("192.0.2.1", 0, Trust::Own).await.unwrap().is_empty(), "no port");
        assert_eq!(addresses("[2001:db8::1]", 1, other).await.unwrap().len(), 1);
    }
}
