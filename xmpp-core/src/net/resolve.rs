//! Which hosts and ports to try for a domain, and in what order (RFC 6120 §3.2, RFC 2782, XEP-0368).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use super::{Service, TlsaRecord, Validated, ascii_domain};

/// SRV records that are looked at in one answer; the rest is ignored.
pub const MAX_SRV_RECORDS: usize = 32;
/// TLSA records that are looked at in one answer; the rest is ignored.
pub const MAX_TLSA_RECORDS: usize = 32;
/// Addresses that are tried for one target; the rest is ignored.
pub const MAX_ADDRESSES: usize = 16;

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SrvRecord {
    /// Lower is tried first.
    pub priority: u16,
    /// The share among records of one priority.
    pub weight: u16,
    /// The TCP port.
    pub port: u16,
    /// The host that offers the service; `.` when the domain says that nobody does.
    pub target: String,
}

impl SrvRecord {
    /// A record from its fields, in the order of a zone file.
    pub fn new(priority: u16, weight: u16, port: u16, target: impl Into<String>) -> SrvRecord {
        SrvRecord { priority, weight, port, target: target.into() }
    }

    fn denies_service(&self) -> bool {
        self.target == "." || self.target.is_empty()
    }
}

/// Why a name was not resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The DNS answered that there is no such name, or no such record under it.
    #[error("there is no DNS record for {0}")]
    NotFound(String),
    /// No server gave a usable answer, so nothing is known about the name.
    #[error("the DNS look-up of {name} failed: {reason}")]
    Failed {
        /// The name that was asked for.
        name: String,
        /// What the resolver reported.
        reason: String,
    },
    /// The name cannot be written in the DNS.
    #[error("{0:?} is not a domain name")]
    InvalidName(String),
    /// The answer did not come in time.
    #[error("the DNS look-up of {0} took too long")]
    TimedOut(String),
}

/// What a [`Resolver`] returns: an answer to come.
pub type ResolveFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ResolveError>> + Send + 'a>>;

/// A source of DNS answers. [`SystemResolver`](super::SystemResolver) asks the machine's name servers (feature `dns`),
/// [`StaticResolver`] knows its answers in advance; an application can bring its own (DNS over HTTPS, a mock).
///
/// Dropping a returned future ends the look-up.
pub trait Resolver: Send + Sync {
    /// The SRV records under `name`, a full name such as `_xmpp-client._tcp.example.org`, in any order. Never
    /// empty: a name without such records is [`ResolveError::NotFound`].
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>>;

    /// The IPv4 and IPv6 addresses of `host`, best first. Never empty: a host without one is
    /// [`ResolveError::NotFound`].
    fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>>;

    /// As [`srv`](Resolver::srv), and whether DNSSEC vouches for it. Unless this is implemented, it does not.
    fn secure_srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<SrvRecord>>> {
        Box::pin(async move { self.srv(name).await.map(Validated::insecure) })
    }

    /// As [`addresses`](Resolver::addresses), and whether DNSSEC vouches for it. Unless this is implemented, it does not.
    fn secure_addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Validated<Vec<IpAddr>>> {
        Box::pin(async move { self.addresses(host).await.map(Validated::insecure) })
    }

    /// The TLSA records under `name`, a full name such as `_5269._tcp.xmpp.example.org` (RFC 6698 §3). Never empty: a
    /// name without such records is [`ResolveError::NotFound`]. Unless this is implemented, there are none anywhere.
    fn tlsa<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<TlsaRecord>>> {
        Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
    }
}

/// Answers that are known in advance: for tests, and for closed networks without a DNS. What it was not told does not
/// exist; IP addresses and `localhost` resolve to themselves.
#[derive(Clone, Debug, Default)]
pub struct StaticResolver {
    srv: HashMap<String, Vec<SrvRecord>>,
    hosts: HashMap<String, Vec<IpAddr>>,
    tlsa: HashMap<String, Vec<TlsaRecord>>,
    signed: bool,
}

impl StaticResolver {
    /// A resolver that knows nothing yet.
    pub fn new() -> StaticResolver {
        StaticResolver::default()
    }

    /// Adds an SRV record under a full name such as `_xmpp-client._tcp.example.org`.
    #[must_use]
    pub fn with_srv(mut self, name: &str, record: SrvRecord) -> StaticResolver {
        self.srv.entry(key(name)).or_default().push(record);
        self
    }

    /// Adds an address of a host.
    #[must_use]
    pub fn with_address(mut self, host: &str, address: impl Into<IpAddr>) -> StaticResolver {
        self.hosts.entry(key(host)).or_default().push(address.into());
        self
    }

    /// Adds a TLSA record under a full name such as `_5269._tcp.xmpp.example.org`.
    #[must_use]
    pub fn with_tlsa(mut self, name: &str, record: TlsaRecord) -> StaticResolver {
        self.tlsa.entry(key(name)).or_default().push(record);
        self
    }

    /// Says that DNSSEC vouches for all answers.
    #[must_use]
    pub fn signed(mut self) -> StaticResolver {
        self.signed = true;
        self
    }

    fn validated<T>(&self, records: T) -> Validated<T> {
        Validated { records, secure: self.signed }
    }

    fn look_up<T: Clone>(table: &HashMap<String, Vec<T>>, name: &str) -> Result<Vec<T>, ResolveError> {
        table.get(&key(name)).cloned().ok_or_else(|| ResolveError::NotFound(name.to_owned()))
    }
}

fn key(name: &str) -> String {
    ascii_domain(name).unwrap_or_else(|| name.to_owned())
}

impl Resolver for StaticResolver {
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
        Box::pin(std::future::ready(Self::look_up(&self.srv, name)))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
        let known = Self::look_up(&self.hosts, host);
        let answer = match own_addresses(host) {
            Some(addresses) if known.is_err() => Ok(addresses),
            _ => known,
        };
        Box::pin(std::future::ready(answer))
    }

    fn secure_srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<SrvRecord>>> {
        Box::pin(async move { self.srv(name).await.map(|found| self.validated(found)) })
    }

    fn secure_addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Validated<Vec<IpAddr>>> {
        Box::pin(async move { self.addresses(host).await.map(|found| self.validated(found)) })
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<TlsaRecord>>> {
        let found = Self::look_up(&self.tlsa, name).map(|found| self.validated(found));
        Box::pin(std::future::ready(found))
    }
}

/// The addresses of names that no DNS server needs to be asked for: IP literals, and `localhost` (RFC 6761 §6.3).
pub(crate) fn own_addresses(host: &str) -> Option<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Some(vec![address]);
    }
    (bare.eq_ignore_ascii_case("localhost") || bare.eq_ignore_ascii_case("localhost."))
        .then(|| vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()])
}

/// A host and port to try, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The name, or the IP address, of the host.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether TLS starts at once (XEP-0368) rather than after STARTTLS.
    pub direct_tls: bool,
    /// The SRV priority; targets of one priority are equally good.
    pub priority: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)?;
        if self.direct_tls { f.write_str(" (direct TLS)") } else { Ok(()) }
    }
}

/// The targets of a domain, in the order in which they are to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Try these; at least one.
    Targets(Vec<Target>),
    /// The domain says that it does not offer the service (RFC 2782, target `.`).
    NotOffered,
}

impl Plan {
    /// Orders what the DNS said about `domain`.
    ///
    /// `direct` and `starttls` are the answers for the `xmpps-` and the `xmpp-` records. Both sets count as one
    /// (XEP-0368 §3). Only if neither look-up gave a record is the domain itself a target, at the registered port and
    /// with STARTTLS (RFC 6120 §3.2.2): a domain with SRV records never falls back to that, however they fare.
    ///
    /// `random` supplies uniformly distributed numbers, for the choice by weight.
    pub fn new(
        service: Service,
        domain: &str,
        direct: &Result<Vec<SrvRecord>, ResolveError>,
        starttls: &Result<Vec<SrvRecord>, ResolveError>,
        random: &mut dyn FnMut() -> u32,
    ) -> Plan {
        let mut answered = false;
        let mut candidates = Vec::new();
        for (records, direct_tls) in [(direct, true), (starttls, false)] {
            for record in records.iter().flatten().take(MAX_SRV_RECORDS) {
                answered = true;
                if !record.denies_service() {
                    candidates.push((record, direct_tls));
                }
            }
        }
        if !answered {
            return Plan::single(domain, service.default_port(), false);
        }
        if candidates.is_empty() {
            return Plan::NotOffered;
        }
        // RFC 2782 puts records of weight zero first, which gives them their very small chance.
        candidates.sort_by_key(|(record, _)| (record.priority, record.weight != 0));
        let mut targets = Vec::with_capacity(candidates.len());
        while let Some((first, _)) = candidates.first() {
            let priority = first.priority;
            let group = candidates.iter().take_while(|(record, _)| record.priority == priority);
            let total: u64 = group.map(|(record, _)| u64::from(record.weight)).sum();
            let drawn = u64::from(random()) % (total + 1);
            let mut running = 0;
            let chosen = candidates.iter().position(|(record, _)| {
                running += u64::from(record.weight);
                running >= drawn
            });
            let (record, direct_tls) = candidates.remove(chosen.unwrap_or(0));
            let host = record.target.strip_suffix('.').unwrap_or(&record.target).to_owned();
            targets.push(Target { host, port: record.port, direct_tls, priority });
        }
        Plan::Targets(targets)
    }

    /// One target that the user names, without asking the DNS where the service is.
    pub fn single(host: &str, port: u16, direct_tls: bool) -> Plan {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Plan::Targets(vec![Target { host: bare.to_owned(), port, direct_tls, priority: 0 }])
    }
}

/// Puts addresses into the order of RFC 8305 §4: as the resolver ranked them, but families alternate.
pub(crate) fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut seen = std::collections::HashSet::new();
    let unique: Vec<IpAddr> = addresses.iter().copied().filter(|a| seen.insert(*a)).collect();
    // IPv6 leads where both exist, as RFC 6724 ranks them for most hosts and RFC 8305 §4 assumes.
    let mut v6 = unique.iter().copied().filter(IpAddr::is_ipv6);
    let mut v4 = unique.iter().copied().filter(IpAddr::is_ipv4);
    let mut ordered = Vec::with_capacity(unique.len().min(MAX_ADDRESSES));
    loop {
        let (six, four) = (v6.next(), v4.next());
        if six.is_none() && four.is_none() {
            break;
        }
        ordered.extend(six.into_iter().chain(four));
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// Whether an address is one that a public host can have: not loopback, private, link-local, shared, documentation,
/// multicast or otherwise reserved.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(a == 0
                || a >= 224
                || v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(v4.into());
            }
            match v6.segments() {
                // NAT64 carries an IPv4 address in its last four octets (RFC 6052).
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                    is_public(std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into())
                }
                [0x2001, 0xdb8, ..] => false,
                [0x2001, second, ..] if second < 0x200 => false,
                // 6to4 carries one in its second and third.
                [0x2002, high, low, ..] => {
                    is_public(std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into())
                }
                [first, ..] => (0x2000..0x4000).contains(&first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    type Answer = Result<Vec<SrvRecord>, ResolveError>;

    fn nothing() -> Answer {
        Err(ResolveError::NotFound("_xmpp-client._tcp.example.org".to_owned()))
    }

    fn plan(direct: &Answer, starttls: &Answer) -> Plan {
        let mut state = 7u32;
        Plan::new(Service::Client, "example.org", direct, starttls, &mut || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 3
        })
    }

    fn shown(plan: &Plan) -> Vec<String> {
        match plan {
            Plan::Targets(targets) => targets.iter().map(ToString::to_string).collect(),
            Plan::NotOffered => vec!["not offered".to_owned()],
        }
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> SrvRecord {
        SrvRecord::new(priority, weight, port, target)
    }

    #[test]
    fn rfc6120_3_2_2_without_srv_the_domain_itself_is_tried() {
        assert_eq!(shown(&plan(&nothing(), &nothing())), ["example.org:5222"]);
        let failed = Err(ResolveError::Failed { name: "x".into(), reason: "SERVFAIL".into() });
        assert_eq!(shown(&plan(&failed, &failed)), ["example.org:5222"]);
        let Plan::Targets(s2s) = Plan::new(Service::Server, "example.org", &nothing(), &nothing(), &mut || 0) else {
            panic!("a target is expected")
        };
        assert_eq!(s2s[0].port, 5269);
    }

    #[test]
    fn rfc6120_3_2_1_with_srv_there_is_no_fallback() {
        let starttls = Ok(vec![srv(0, 0, 15222, "xmpp.example.org.")]);
        assert_eq!(shown(&plan(&nothing(), &starttls)), ["xmpp.example.org:15222"]);
        let direct = Ok(vec![srv(0, 0, 443, "xmpp.example.org.")]);
        assert_eq!(shown(&plan(&direct, &nothing())), ["xmpp.example.org:443 (direct TLS)"]);
    }

    #[test]
    fn rfc2782_and_xep0368_3_a_dot_means_not_offered() {
        let dot = Ok(vec![srv(0, 0, 0, ".")]);
        let starttls = Ok(vec![srv(0, 0, 5222, "xmpp.example.org")]);
        assert_eq!(plan(&dot, &dot), Plan::NotOffered);
        assert_eq!(plan(&dot, &nothing()), Plan::NotOffered, "no A/AAAA fallback");
        assert_eq!(plan(&nothing(), &dot), Plan::NotOffered);
        assert_eq!(shown(&plan(&dot, &starttls)), ["xmpp.example.org:5222"]);
    }

    #[test]
    fn xep0368_3_both_sets_are_one_by_priority() {
        let direct = Ok(vec![srv(5, 1, 443, "b."), srv(20, 1, 443, "d.")]);
        let starttls = Ok(vec![srv(10, 1, 5222, "c."), srv(1, 1, 5222, "a.")]);
        assert_eq!(shown(&plan(&direct, &starttls)), ["a:5222", "b:443 (direct TLS)", "c:5222", "d:443 (direct TLS)"]);
    }

    #[test]
    fn rfc2782_weights_are_shares() {
        let records = Ok(vec![srv(0, 10, 1, "small."), srv(0, 30, 2, "large."), srv(0, 0, 3, "zero.")]);
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let mut first = [0u32; 4];
        for _ in 0..20_000 {
            let Plan::Targets(targets) = Plan::new(Service::Client, "d", &nothing(), &records, &mut random) else {
                panic!("targets are expected")
            };
            first[usize::from(targets[0].port)] += 1;
        }
        // Of the 41 numbers from 0 to 40, one falls on the weight of zero, ten on the small, thirty on the large.
        let share = |n: u32| f64::from(n) / 20_000.0;
        assert!((share(first[1]) - 10.0 / 41.0).abs() < 0.02, "{first:?}");
        assert!((share(first[2]) - 30.0 / 41.0).abs() < 0.02, "{first:?}");
        assert!((share(first[3]) - 1.0 / 41.0).abs() < 0.01, "{first:?}");
    }

    #[test]
    fn abuse_a083_a_thousand_records_are_cut() {
        let many: Answer = Ok((0..1000).map(|n| srv(n, 0, n, "x.example.")).collect());
        let Plan::Targets(targets) = plan(&many, &many) else { panic!("targets are expected") };
        assert_eq!(targets.len(), 2 * MAX_SRV_RECORDS);
        let addresses: Vec<IpAddr> = (0..1000u32).map(|n| std::net::Ipv4Addr::from(n).into()).collect();
        assert_eq!(interleave(&addresses).len(), MAX_ADDRESSES);
    }

    #[test]
    fn abuse_a083_what_is_not_a_public_address() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["9.9.9.9", "172.32.0.1", "2620:fe::fe", "2001:4860:4860::8888", "64:ff9b::909:909"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn rfc6120_3_2_1_names_are_looked_up_as_a_labels() {
        let resolver = StaticResolver::new().with_address("xn--bcher-kva.example", [192, 0, 2, 1]);
        assert_eq!(key("Bücher.Example."), "xn--bcher-kva.example");
        assert!(resolver.hosts.contains_key(&key("bücher.example")));
        assert_eq!(ascii_domain("a..b"), None);
        assert_eq!(ascii_domain(&"a".repeat(64)), None);
        assert_eq!(ascii_domain("[::1]").as_deref(), Some("::1"));
    }

    proptest! {
        #[test]
        fn every_record_appears_exactly_once_and_in_order(
            direct in prop::collection::vec((0u16..4, 0u16..4, 1u16..500), 0..20),
            starttls in prop::collection::vec((0u16..4, any::<u16>(), 501u16..1000), 0..20),
            numbers in prop::collection::vec(any::<u32>(), 40),
        ) {
            let answer = |list: &[(u16, u16, u16)]| -> Answer {
                if list.is_empty() { nothing() } else { Ok(list.iter().map(|&(p, w, port)| srv(p, w, port, "h.")).collect()) }
            };
            let mut numbers = numbers.into_iter();
            let plan = Plan::new(Service::Client, "d", &answer(&direct), &answer(&starttls), &mut || numbers.next().unwrap());
            let Plan::Targets(targets) = plan else { panic!("targets are expected") };
            prop_assert!(targets.is_sorted_by_key(|t| t.priority));
            let mut got: Vec<_> = targets.iter().map(|t| (t.priority, t.port, t.direct_tls)).collect();
            let mut want: Vec<_> = direct.iter().map(|r| (r.0, r.2, true)).chain(starttls.iter().map(|r| (r.0, r.2, false))).collect();
            if want.is_empty() {
                want.push((0, 5222, false));
            }
            got.sort();
            want.sort();
            prop_assert_eq!(got, want);
        }
    }
}
