//! The machine's own name servers, through `hickory-resolver`.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{Resolver as Hickory, TokioResolver};

use super::ascii_domain;
use super::resolve::{MAX_ADDRESSES, MAX_SRV_RECORDS, ResolveError, ResolveFuture, Resolver, SrvRecord, own_addresses};

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
        let servers = servers.iter().map(|server| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            config.connections.iter_mut().for_each(|connection| connection.port = server.port());
            config
        });
        SystemResolver::with_config(ResolverConfig::from_name_servers(servers.collect()))
    }

    /// Asks the name servers of `config` instead of the system's.
    pub fn with_config(config: ResolverConfig) -> Result<SystemResolver, ResolveError> {
        let mut builder = Hickory::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(SystemResolver(builder.build().map_err(configuration)?))
    }
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

impl Resolver for SystemResolver {
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
        Box::pin(async move {
            let lookup = self.0.srv_lookup(absolute(name)?).await.map_err(|e| failed(name, &e))?;
            let records = lookup.answers().iter().filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(SrvRecord::new(srv.priority, srv.weight, srv.port, srv.target.to_ascii())),
                _ => None,
            });
            let records: Vec<_> = records.take(MAX_SRV_RECORDS).collect();
            if records.is_empty() { Err(ResolveError::NotFound(name.to_owned())) } else { Ok(records) }
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
        Box::pin(async move {
            if let Some(own) = own_addresses(host) {
                return Ok(own);
            }
            let lookup = self.0.lookup_ip(absolute(host)?).await.map_err(|e| failed(host, &e))?;
            // Twice the bound, because the two families are still to be interleaved.
            let addresses: Vec<_> = lookup.iter().take(2 * MAX_ADDRESSES).collect();
            if addresses.is_empty() { Err(ResolveError::NotFound(host.to_owned())) } else { Ok(addresses) }
        })
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
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
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
