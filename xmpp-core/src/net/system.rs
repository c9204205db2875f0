//! The machine's own name servers, through `hickory-resolver`.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record};
use hickory_resolver::{Resolver as Hickory, TokioResolver};

use super::resolve::{
    MAX_ADDRESSES, MAX_SRV_RECORDS, MAX_TLSA_RECORDS, ResolveError, ResolveFuture, Resolver, SrvRecord, own_addresses,
};
use super::{TlsaRecord, Validated, ascii_domain};

/// Resolves through the name servers that the operating system is configured with, with a cache. Internationalised
/// names are asked for as A-labels.
#[derive(Clone)]
pub struct SystemResolver(TokioResolver);

impl std::fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemResolver")
    }
}

impl SystemResolver {
    /// Reads the system's configuration (`/etc/resolv.conf` and `/etc/hosts` on Unix).
    pub fn new() -> Result<SystemResolver, ResolveError> {
        let mut builder = Hickory::builder(TokioRuntimeProvider::default()).map_err(configuration)?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(SystemResolver(builder.build().map_err(configuration)?))
    }

    /// Asks these name servers instead of the system's.
    pub fn with_servers(servers: &[SocketAddr]) -> Result<SystemResolver, ResolveError> {
        SystemResolver::with_config(through(servers))
    }

    /// Asks the name servers of `config` instead of the system's.
    pub fn with_config(config: ResolverConfig) -> Result<SystemResolver, ResolveError> {
        let mut builder = Hickory::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(SystemResolver(builder.build().map_err(configuration)?))
    }
}

#[cfg(feature = "dane")]
impl SystemResolver {
    /// Asks these name servers, or the system's if there are none, and believes no answer that DNSSEC finds forged (RFC
    /// 4035). They need to pass the signatures on. What it says to be secure leads to the keys of the root zone, or to
    /// `anchors`, DNSKEY records as in a zone file: the key-signing keys of a root, or all keys of another zone.
    ///
    /// # Errors
    /// When the system's configuration or the anchors cannot be read.
    pub fn validating(servers: &[SocketAddr], anchors: Option<&str>) -> Result<SystemResolver, ResolveError> {
        use hickory_resolver::proto::dnssec::TrustAnchors;
        let mut builder = match servers.is_empty() {
            true => Hickory::builder(TokioRuntimeProvider::default()).map_err(configuration)?,
            false => Hickory::builder_with_config(through(servers), TokioRuntimeProvider::default()),
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.validate = true;
        options.edns0 = true;
        if let Some(anchors) = anchors {
            let anchors: TrustAnchors = anchors.parse().map_err(|error| ResolveError::Failed {
                name: "the trust anchors".to_owned(),
                reason: format!("{error}"),
            })?;
            builder = builder.with_trust_anchor(std::sync::Arc::new(anchors));
        }
        Ok(SystemResolver(builder.build().map_err(configuration)?))
    }
}

/// What asks these name servers.
fn through(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers.iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        config.connections.iter_mut().for_each(|connection| connection.port = server.port());
        config
    });
    ResolverConfig::from_name_servers(servers.collect())
}

fn configuration(error: NetError) -> ResolveError {
    ResolveError::Failed { name: "the system's resolver configuration".to_owned(), reason: error.to_string() }
}

/// An absolute name, so that no search list is applied to it.
fn absolute(name: &str) -> Result<Name, ResolveError> {
    let invalid = || ResolveError::InvalidName(name.to_owned());
    let mut parsed = Name::from_ascii(ascii_domain(name).ok_or_else(invalid)?).map_err(|_| invalid())?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn failed(name: &str, error: &NetError) -> ResolveError {
    if error.is_no_records_found() || error.is_nx_domain() {
        ResolveError::NotFound(name.to_owned())
    } else if matches!(error, NetError::Timeout) {
        ResolveError::TimedOut(name.to_owned())
    } else {
        ResolveError::Failed { name: name.to_owned(), reason: error.to_string() }
    }
}

/// Whether DNSSEC vouches for all records of an answer, aliases included.
#[cfg(feature = "dane")]
fn is_secure(answers: &[Record]) -> bool {
    !answers.is_empty() && answers.iter().all(|record| record.proof.is_secure())
}

/// Nothing is validated.
#[cfg(not(feature = "dane"))]
fn is_secure(_: &[Record]) -> bool {
    false
}

impl SystemResolver {
    async fn look_up_srv(&self, name: &str) -> Result<Validated<Vec<SrvRecord>>, ResolveError> {
        let lookup = self.0.srv_lookup(absolute(name)?).await.map_err(|e| failed(name, &e))?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(SrvRecord::new(srv.priority, srv.weight, srv.port, srv.target.to_ascii())),
            _ => None,
        });
        let records: Vec<_> = records.take(MAX_SRV_RECORDS).collect();
        found(name, records, is_secure(lookup.answers()))
    }

    async fn look_up_addresses(&self, host: &str) -> Result<Validated<Vec<IpAddr>>, ResolveError> {
        if let Some(own) = own_addresses(host) {
            return Ok(Validated::insecure(own));
        }
        let lookup = self.0.lookup_ip(absolute(host)?).await.map_err(|e| failed(host, &e))?;
        // Twice the bound, because the two families are still to be interleaved.
        let addresses: Vec<_> = lookup.iter().take(2 * MAX_ADDRESSES).collect();
        found(host, addresses, is_secure(lookup.as_lookup().answers()))
    }

    async fn look_up_tlsa(&self, name: &str) -> Result<Validated<Vec<TlsaRecord>>, ResolveError> {
        let lookup = self.0.tlsa_lookup(absolute(name)?).await.map_err(|e| failed(name, &e))?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::TLSA(tlsa) => Some(TlsaRecord {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        });
        let records: Vec<_> = records.take(MAX_TLSA_RECORDS).collect();
        found(name, records, is_secure(lookup.answers()))
    }
}

fn found<T>(name: &str, records: Vec<T>, secure: bool) -> Result<Validated<Vec<T>>, ResolveError> {
    match records.is_empty() {
        true => Err(ResolveError::NotFound(name.to_owned())),
        false => Ok(Validated { records, secure }),
    }
}

impl Resolver for SystemResolver {
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
        Box::pin(async move { self.look_up_srv(name).await.map(|found| found.records) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
        Box::pin(async move { self.look_up_addresses(host).await.map(|found| found.records) })
    }

    fn secure_srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<SrvRecord>>> {
        Box::pin(self.look_up_srv(name))
    }

    fn secure_addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Validated<Vec<IpAddr>>> {
        Box::pin(self.look_up_addresses(host))
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<TlsaRecord>>> {
        Box::pin(self.look_up_tlsa(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::str::FromStr;
    use std::sync::Arc;
    use std::time::Duration;

    use hickory_server::Server;
    use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, SOA, SRV};
    use hickory_server::proto::rr::{LowerName, Record};
    use hickory_server::store::in_memory::InMemoryZoneHandler;
    use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
    use tokio::net::UdpSocket;

    use super::*;
    use crate::net::{Plan, Service};

    fn name(text: &str) -> Name {
        Name::from_str(text).unwrap()
    }

    /// A name server on loopback with one zone, and a resolver that asks it.
    async fn zone() -> (Server<Catalog>, SystemResolver) {
        let origin = name("example.");
        let mut zone: InMemoryZoneHandler =
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny, None);
        let mut add = |at: &str, data: RData| {
            zone.upsert_mut(Record::from_rdata(name(at), 60, data), 1);
        };
        add("example.", RData::SOA(SOA::new(name("ns.example."), name("root.example."), 1, 60, 60, 60, 60)));
        for (priority, port, target) in [(10, 5222, "one.example."), (5, 15222, "two.example.")] {
            let srv = SRV::new(priority, 7, port, name(target));
            add("_xmpp-client._tcp.example.", RData::SRV(srv.clone()));
            add("_xmpp-client._tcp.xn--bcher-kva.example.", RData::SRV(srv));
        }
        add("_xmpps-client._tcp.example.", RData::SRV(SRV::new(0, 0, 0, Name::root())));
        add("one.example.", RData::A(A(Ipv4Addr::new(192, 0, 2, 1))));
        add("one.example.", RData::AAAA(AAAA("2001:db8::1".parse().unwrap())));
        add("two.example.", RData::A(A(Ipv4Addr::new(192, 0, 2, 2))));
        add("alias.example.", RData::CNAME(CNAME(name("one.example."))));
        add("round.example.", RData::CNAME(CNAME(name("about.example."))));
        add("about.example.", RData::CNAME(CNAME(name("round.example."))));
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::new(&origin), vec![Arc::new(zone)]);
        let mut server = Server::new(catalog);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        server.register_socket(socket);
        (server, asking(port))
    }

    fn asking(port: u16) -> SystemResolver {
        SystemResolver::with_servers(&[(Ipv4Addr::LOCALHOST, port).into()]).unwrap()
    }

    #[tokio::test]
    async fn rfc2782_records_come_from_the_dns() {
        let (_server, resolver) = zone().await;
        let direct = resolver.srv("_xmpps-client._tcp.example").await;
        assert_eq!(direct, Ok(vec![SrvRecord::new(0, 0, 0, ".")]));
        let starttls = resolver.srv("_xmpp-client._tcp.example").await;
        let Plan::Targets(targets) = Plan::new(Service::Client, "example", &direct, &starttls, &mut || 0) else {
            panic!("targets are expected")
        };
        let shown: Vec<_> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["two.example:15222", "one.example:5222"]);
    }

    #[tokio::test]
    async fn rfc6120_3_2_1_domains_are_asked_for_as_a_labels() {
        let (_server, resolver) = zone().await;
        assert_eq!(resolver.srv("_xmpp-client._tcp.bücher.example").await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn no_such_name_and_no_such_record_are_not_failures() {
        let (_server, resolver) = zone().await;
        for missing in ["_xmpp-server._tcp.example", "one.example", "nowhere.example"] {
            assert_eq!(resolver.srv(missing).await, Err(ResolveError::NotFound(missing.to_owned())));
        }
        let missing = resolver.addresses("nowhere.example").await;
        assert_eq!(missing, Err(ResolveError::NotFound("nowhere.example".to_owned())));
        let invalid = resolver.srv("a..b").await;
        assert_eq!(invalid, Err(ResolveError::InvalidName("a..b".to_owned())));
    }

    #[tokio::test]
    async fn rfc8305_3_both_families_are_asked_for() {
        let (_server, resolver) = zone().await;
        let (v4, v6): (Ipv4Addr, Ipv6Addr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        for host in ["one.example", "alias.example"] {
            let mut found = resolver.addresses(host).await.unwrap();
            found.sort();
            assert_eq!(found, [IpAddr::from(v4), IpAddr::from(v6)], "{host}");
        }
        assert_eq!(resolver.addresses("[::1]").await.unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }

    #[tokio::test]
    async fn abuse_a083_a_circle_of_aliases_ends() {
        let (_server, resolver) = zone().await;
        let answer = tokio::time::timeout(Duration::from_secs(20), resolver.addresses("round.example")).await;
        assert!(answer.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_domain_of_nobody_here_is_a_failure_not_an_absence() {
        let (_server, resolver) = zone().await;
        let refused = resolver.srv("_xmpp-client._tcp.elsewhere.test").await;
        assert!(matches!(refused, Err(ResolveError::Failed { .. })), "{refused:?}");
    }
}

/// A zone that is signed for real, by keys made for the test.
#[cfg(all(test, feature = "dane"))]
mod signed {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::net::Ipv4Addr;
    use std::str::FromStr;
    use std::sync::Arc;
    use std::time::Duration;

    use hickory_resolver::proto::dnssec::crypto::Ed25519SigningKey;
    use hickory_resolver::proto::dnssec::rdata::DNSKEY;
    use hickory_resolver::proto::dnssec::{DnssecSigner, SigningKey};
    use hickory_server::Server;
    use hickory_server::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
    use hickory_server::proto::rr::rdata::{A, CNAME, SOA, SRV, TLSA};
    use hickory_server::proto::rr::{LowerName, Record};
    use hickory_server::store::in_memory::InMemoryZoneHandler;
    use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
    use tokio::net::UdpSocket;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_str(text).unwrap()
    }

    fn key() -> Ed25519SigningKey {
        Ed25519SigningKey::from_pkcs8(&Ed25519SigningKey::generate_pkcs8().unwrap()).unwrap()
    }

    /// What a zone file says of a key.
    fn anchor(key: &Ed25519SigningKey) -> String {
        use base64::Engine;
        let public = key.to_public_key().unwrap();
        let public = base64::engine::general_purpose::STANDARD
            .encode(hickory_resolver::proto::dnssec::PublicKey::public_bytes(&public));
        format!("example. 3600 IN DNSKEY 257 3 15 {public}\n")
    }

    /// A name server on loopback with one zone, signed by the key if there is one.
    async fn zone(key: Option<Ed25519SigningKey>) -> (Server<Catalog>, SocketAddr) {
        let origin = name("example.");
        let mut zone: InMemoryZoneHandler = InMemoryZoneHandler::empty(
            origin.clone(),
            ZoneType::Primary,
            AxfrPolicy::Deny,
            Some(hickory_server::dnssec::NxProofKind::Nsec),
        );
        let mut add = |at: &str, data: RData| {
            zone.upsert_mut(Record::from_rdata(name(at), 60, data), 1);
        };
        add("example.", RData::SOA(SOA::new(name("ns.example."), name("root.example."), 1, 60, 60, 60, 60)));
        let srv = SRV::new(0, 0, 5269, name("host.example."));
        add("_xmpp-server._tcp.capulet.example.", RData::SRV(srv));
        add("host.example.", RData::A(A(Ipv4Addr::LOCALHOST)));
        add("alias.example.", RData::CNAME(CNAME(name("host.example."))));
        let tlsa = TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, vec![7; 32]);
        add("_5269._tcp.host.example.", RData::TLSA(tlsa));
        if let Some(key) = key {
            let public = key.to_public_key().unwrap();
            let signer =
                DnssecSigner::new(DNSKEY::from_key(&public), Box::new(key), origin.clone(), Duration::from_secs(3600));
            zone.add_zone_signing_key_mut(signer).unwrap();
            zone.secure_zone_mut().unwrap();
        }
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::new(&origin), vec![Arc::new(zone)]);
        let mut server = Server::new(catalog);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        server.register_socket(socket);
        (server, address)
    }

    #[tokio::test]
    async fn rfc4035_5_what_is_signed_by_a_trusted_key_is_secure() {
        let key = key();
        let anchor = anchor(&key);
        let (_server, address) = zone(Some(key)).await;
        let resolver = SystemResolver::validating(&[address], Some(&anchor)).unwrap();
        let srv = resolver.secure_srv("_xmpp-server._tcp.capulet.example").await.unwrap();
        assert_eq!(srv, Validated::secure(vec![SrvRecord::new(0, 0, 5269, "host.example.")]));
        for host in ["host.example", "alias.example"] {
            let addresses = resolver.secure_addresses(host).await.unwrap();
            assert_eq!(addresses, Validated::secure(vec![Ipv4Addr::LOCALHOST.into()]), "{host}");
        }
        let tlsa = resolver.tlsa("_5269._tcp.host.example").await.unwrap();
        assert_eq!(tlsa, Validated::secure(vec![TlsaRecord::new(3, 1, 1, vec![7; 32])]));
        // A second time from the cache.
        assert!(resolver.tlsa("_5269._tcp.host.example").await.unwrap().secure);
        let missing = "_443._tcp.host.example";
        assert_eq!(resolver.tlsa(missing).await, Err(ResolveError::NotFound(missing.to_owned())));
    }

    #[tokio::test]
    async fn abuse_a086_what_another_key_signed_is_no_answer() {
        let (_server, address) = zone(Some(key())).await;
        let resolver = SystemResolver::validating(&[address], Some(&anchor(&key()))).unwrap();
        let srv = resolver.secure_srv("_xmpp-server._tcp.capulet.example").await;
        assert!(matches!(srv, Err(ResolveError::Failed { .. })), "{srv:?}");
        let tlsa = resolver.tlsa("_5269._tcp.host.example").await;
        assert!(matches!(tlsa, Err(ResolveError::Failed { .. })), "{tlsa:?}");
    }

    #[tokio::test]
    async fn abuse_a086_a_signed_zone_without_its_signatures_is_no_answer() {
        let (_server, address) = zone(None).await;
        let resolver = SystemResolver::validating(&[address], Some(&anchor(&key()))).unwrap();
        let srv = resolver.secure_srv("_xmpp-server._tcp.capulet.example").await;
        assert!(matches!(srv, Err(ResolveError::Failed { .. })), "{srv:?}");
        // That there is nothing has to be proved as well, or whoever is on the way could say so.
        let missing = resolver.tlsa("_443._tcp.host.example").await;
        assert!(matches!(missing, Err(ResolveError::Failed { .. })), "{missing:?}");
    }

    #[tokio::test]
    async fn who_does_not_validate_calls_nothing_secure() {
        let (_server, address) = zone(Some(key())).await;
        let resolver = SystemResolver::with_servers(&[address]).unwrap();
        assert!(!resolver.secure_srv("_xmpp-server._tcp.capulet.example").await.unwrap().secure);
        assert!(!resolver.tlsa("_5269._tcp.host.example").await.unwrap().secure);
    }

    #[test]
    fn anchors_have_to_be_keys() {
        assert!(SystemResolver::validating(&[([127, 0, 0, 1], 53).into()], Some("example. IN A 127.0.0.1")).is_err());
    }
}
