//! Connecting to a host of the other side, or to a relay.

use super::{Socks5Settings, socket::prepare};
use crate::socks5::{StreamHash, handshake};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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
        // With those that are reserved for ever.
        IpAddr::V4(ip) if matches!(ip.octets(), [0 | 240.., ..]) => return false,
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            // IPv4-compatible addresses, which nobody uses for good.
            let disguised = matches!(ip.segments(), [0, 0, 0, 0, 0, 0, ..]) && ip != Ipv6Addr::LOCALHOST;
            if disguised {
                return false;
            }
            // Those that a gateway leads to another address, by which they are judged.
            if let Some(behind) = behind(ip) {
                return may_dial(behind.into(), false);
            }
            ip.is_loopback() || ip.is_unicast_link_local()
        }
    };
    loopback || !close
}

/// The address that NAT64 (RFC 6052) or 6to4 (RFC 3056) makes of one of the new kind.
fn behind(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] | [0x20, 0x02, a, b, c, d, ..] => {
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// Whether an address means something in a network of one's own alone.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = matches!(ip.octets(), [100, 64..128, ..]);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => {
            let ours = ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local();
            ours || behind(ip).is_some_and(|ip| is_private(ip.into()))
        }
    }
}

/// Whether somebody else may have us knock at a port. Bytestreams need none of the well-known ones, where other services are that
/// would hear from us; but relays stand at those of the web.
fn may_knock(ip: IpAddr, port: u16) -> bool {
    match port {
        80 | 443 => !is_private(ip),
        port => port >= 1_024,
    }
}

/// Whom we let name a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Our own server, for its relays.
    Own,
    /// Somebody else, with loopback and private networks or not.
    Other { loopback: bool, private: bool },
}

impl Trust {
    pub(super) fn other(settings: &Socks5Settings) -> Trust {
        Trust::Other { loopback: settings.loopback, private: settings.private }
    }
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
        Trust::Other { loopback, private } => {
            may_dial(*ip, loopback) && (private || !is_private(*ip)) && may_knock(*ip, port)
        }
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
    prepare(&socket)?;
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
            ("240.0.0.1", false, false),
            ("64:ff9b::127.0.0.1", false, false),
            ("64:ff9b::169.254.169.254", false, false),
            ("2002:7f00:1::1", false, false),
            ("64:ff9b::192.0.2.1", true, true),
            ("192.0.2.1", true, true),
            ("2001:db8::1", true, true),
        ] {
            let parsed: IpAddr = ip.parse().unwrap();
            assert_eq!((may_dial(parsed, false), may_dial(parsed, true)), (by_default, with_loopback), "{ip}");
        }
    }

    #[tokio::test]
    async fn abuse_a083_names_are_judged_by_what_they_lead_to() {
        let other = Trust::Other { loopback: false, private: true };
        for host in ["localhost", "127.0.0.1", "[::1]", "", &"x".repeat(256)] {
            assert!(addresses(host, 5222, other).await.is_ok_and(|found| found.is_empty()), "{host}");
        }
        assert!(
            !addresses("localhost", 5222, Trust::Other { loopback: true, private: true }).await.unwrap().is_empty()
        );
        assert!(addresses("192.0.2.1", 0, Trust::Own).await.unwrap().is_empty(), "no port");
        assert_eq!(addresses("[2001:db8::1]", 1_080, other).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn abuse_a083_nor_to_what_is_not_a_bytestream() {
        let public = Trust::Other { loopback: false, private: false };
        let any = Trust::Other { loopback: false, private: true };
        for (host, port, of_any, of_public) in [
            ("192.0.2.1", 1_024, true, true),
            ("192.0.2.1", 1_023, false, false),
            ("192.0.2.1", 22, false, false),
            ("192.0.2.1", 25, false, false),
            ("192.0.2.1", 0, false, false),
            ("192.0.2.1", 443, true, true),
            ("10.0.0.1", 443, false, false),
            ("10.0.0.1", 5_000, true, false),
            ("192.168.1.2", 5_000, true, false),
            ("100.64.0.1", 5_000, true, false),
            ("100.128.0.1", 5_000, true, true),
            ("fd00::1", 5_000, true, false),
            ("64:ff9b::10.0.0.1", 5_000, true, false),
            ("::ffff:10.0.0.1", 5_000, true, false),
            ("2001:db8::1", 5_000, true, true),
        ] {
            for (trust, may) in [(any, of_any), (public, of_public)] {
                assert_eq!(
                    addresses(host, port, trust).await.unwrap().len(),
                    usize::from(may),
                    "{host} {port} {trust:?}"
                );
            }
            assert_eq!(
                addresses(host, port, Trust::Own).await.unwrap().len(),
                usize::from(port > 0),
                "our server's relay"
            );
        }
    }
}
