//! Which of the machine's addresses are offered.

use super::{Socks5Settings, dial::may_dial};
use std::net::IpAddr;

/// Our own addresses, the most promising first.
pub(super) fn own(settings: &Socks5Settings) -> Vec<IpAddr> {
    if !settings.direct {
        return Vec::new();
    }
    let interfaces = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::debug!(%error, "the addresses of this machine are unknown");
            return Vec::new();
        }
    };
    choose(interfaces.iter().map(if_addrs::Interface::ip), settings)
}

fn choose(all: impl Iterator<Item = IpAddr>, settings: &Socks5Settings) -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = all.filter(|ip| may_dial(*ip, settings.loopback) && !needs_scope(*ip)).collect();
    own.sort_by_key(|ip| (rank(*ip), *ip));
    own.dedup();
    own.truncate(settings.addresses);
    own
}

/// It says nothing without the name of an interface, which a candidate has no place for.
fn needs_scope(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// What more people can reach comes first.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 3,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => 2,
        IpAddr::V6(ip) if ip.is_unique_local() => 2,
        IpAddr::V6(_) => 0,
        IpAddr::V4(_) => 1,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0260_2_1_all_suitable_addresses_are_offered() {
        let all = [
            "127.0.0.1",
            "::1",
            "fe80::1",
            "169.254.1.1",
            "10.0.0.2",
            "192.0.2.7",
            "2001:db8::7",
            "fd00::1",
            "10.0.0.2",
        ];
        let all = || all.iter().map(|ip| ip.parse().unwrap());
        let mut settings = Socks5Settings::default();
        let chosen: Vec<String> = choose(all(), &settings).iter().map(IpAddr::to_string).collect();
        assert_eq!(chosen, ["2001:db8::7", "192.0.2.7", "10.0.0.2", "fd00::1"]);
        settings.addresses = 2;
        assert_eq!(choose(all(), &settings).len(), 2);
        (settings.addresses, settings.loopback) = (9, true);
        assert_eq!(choose(all(), &settings).len(), 7);
        settings.direct = false;
        assert!(own(&settings).is_empty());
    }
}
