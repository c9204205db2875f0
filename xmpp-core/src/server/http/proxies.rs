//! What a trusted reverse proxy says about its clients.

use super::{Http, WebPeer};
use axum::http::HeaderMap;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses, as in `10.0.0.0/8`, `fd00::/8` or `127.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    first: Ipv6Addr,
    /// Leading bits that count.
    bits: u8,
}

/// What is not a range of IP addresses.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a range of IP addresses, such as 127.0.0.1 or 10.0.0.0/8")]
pub struct NoIpRange(String);

/// IPv4 addresses count as what they are mapped to.
fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

impl FromStr for IpRange {
    type Err = NoIpRange;

    fn from_str(text: &str) -> Result<IpRange, NoIpRange> {
        let wrong = || NoIpRange(text.to_owned());
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(wrong());
        }
        Ok(IpRange { first: wide(ip), bits: 128 - width + bits })
    }
}

impl From<IpAddr> for IpRange {
    fn from(ip: IpAddr) -> IpRange {
        IpRange { first: wide(ip), bits: 128 }
    }
}

impl IpRange {
    /// Whether the address lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let differ = u128::from(wide(ip)) ^ u128::from(self.first);
        differ.leading_zeros() >= u32::from(self.bits)
    }
}

impl Http {
    /// Who makes a request that came over a connection from `ip`, which TLS protects or not.
    pub(super) fn peer(&self, ip: IpAddr, secured: bool, headers: &HeaderMap) -> WebPeer {
        if !self.trusts(ip) {
            return WebPeer { ip, secured };
        }
        let proto = headers.get_all("x-forwarded-proto").iter().next_back().and_then(|proto| proto.to_str().ok());
        let proto = proto.and_then(|proto| proto.rsplit(',').next()).map(str::trim);
        let https = proto.is_some_and(|proto| ["https", "wss"].iter().any(|one| proto.eq_ignore_ascii_case(one)));
        WebPeer { ip: self.forwarded_for(headers).unwrap_or(ip), secured: secured || https }
    }

    /// The last address that is no trusted proxy's: what stands before it could be anybody's invention.
    fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut nearest = None;
        for line in headers.get_all("x-forwarded-for").iter().rev() {
            for hop in line.to_str().ok()?.rsplit(',') {
                let ip = address(hop.trim())?;
                nearest = Some(ip);
                if !self.trusts(ip) {
                    return nearest;
                }
            }
        }
        nearest
    }
}

/// An address, maybe with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn ranges_contain_what_begins_alike() {
        let ten: IpRange = "10.0.0.0/8".parse().unwrap();
        assert!(ten.contains(ip("10.255.0.1")) && ten.contains(ip("::ffff:10.1.1.1")));
        assert!(!ten.contains(ip("11.0.0.1")) && !ten.contains(ip("::1")));
        let one: IpRange = "::1".parse().unwrap();
        assert!(one.contains(ip("::1")) && !one.contains(ip("::2")));
        let all: IpRange = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("8.8.8.8")) && !all.contains(ip("2001:db8::1")));
        for wrong in ["", "10.0.0.0/33", "::/129", "localhost", "10.0.0/8", "1.2.3.4/x"] {
            assert!(wrong.parse::<IpRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn abuse_a024_who_is_no_trusted_proxy_cannot_name_another_address() {
        let lies = headers(&[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "https")]);
        let http = Http::new().trusted_proxy("127.0.0.1".parse().unwrap());
        let stranger = ip("192.0.2.7");
        assert_eq!(http.peer(stranger, false, &lies), WebPeer { ip: stranger, secured: false });
        assert_eq!(Http::new().peer(ip("127.0.0.1"), false, &lies), WebPeer { ip: ip("127.0.0.1"), secured: false });
        assert_eq!(http.peer(ip("127.0.0.1"), false, &lies), WebPeer { ip: ip("9.9.9.9"), secured: true });
    }

    #[test]
    fn abuse_a024_of_the_hops_the_last_untrusted_one_counts() {
        let http = Http::new().trusted_proxy("127.0.0.1".parse().unwrap()).trusted_proxy("10.0.0.0/8".parse().unwrap());
        let of = |lines: &[(&'static str, &'static str)]| http.peer(ip("127.0.0.1"), false, &headers(lines));
        let hops = of(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.3"), ("x-forwarded-proto", "https, http")]);
        assert_eq!(hops, WebPeer { ip: ip("2.2.2.2"), secured: false });
        let lines = of(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "[2001:db8::1]:443")]);
        assert_eq!(lines.ip, ip("2001:db8::1"));
        assert_eq!(of(&[("x-forwarded-for", "unknown")]).ip, ip("127.0.0.1"));
        assert_eq!(of(&[("x-forwarded-for", "3.3.3.3, nonsense")]).ip, ip("127.0.0.1"));
        assert_eq!(of(&[]).ip, ip("127.0.0.1"));
    }
}
