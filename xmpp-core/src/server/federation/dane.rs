//! DANE as a prooftype (RFC 7712 §5.1): what the secure DNS says of the certificate of a stream that we opened (RFC 7673,
//! RFC 6698).

use crate::net::{ClientTls, ResolveError, Resolver, Service, Target, TlsaRecord, ascii_domain, tls::TlsaVerdict};
use rustls::pki_types::CertificateDer;
use std::{net::IpAddr, time::Duration};
use tokio::time::timeout;

/// What the DNS says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dane {
    /// Nothing that counts: other proofs are as good as ever.
    Silent,
    /// It is the domain's.
    Proved,
    /// It is not: there is no other proof (RFC 6698 §4.1, ABUSE A086).
    Disproved,
    /// It says something, and it cannot be known what (RFC 7673 §3.4): as if disproved.
    Unknown(ResolveError),
}

/// Asks about the certificate that was shown at `target` in the name of `domain`, for at most `limit`.
pub(super) async fn judge(
    resolver: &dyn Resolver,
    tls: &ClientTls,
    chain: &[CertificateDer<'_>],
    domain: &str,
    target: &Target,
    limit: Duration,
) -> Dane {
    let records = match timeout(limit, records(resolver, domain, target)).await {
        Ok(Ok(records)) => records,
        Ok(Err(error)) => return Dane::Unknown(error),
        Err(_) => return Dane::Unknown(ResolveError::TimedOut(domain.to_owned())),
    };
    match tls.match_tlsa(&records, chain, &[domain, &target.host]) {
        TlsaVerdict::Unusable => Dane::Silent,
        TlsaVerdict::Matched => Dane::Proved,
        TlsaVerdict::Mismatched => Dane::Disproved,
    }
}

/// The TLSA records of the target that a domain securely leads to; none where anything on the way is insecure.
async fn records(resolver: &dyn Resolver, domain: &str, target: &Target) -> Result<Vec<TlsaRecord>, ResolveError> {
    if target.host.parse::<IpAddr>().is_ok() {
        return Ok(Vec::new());
    }
    let Some(domain) = ascii_domain(domain) else { return Ok(Vec::new()) };
    let service = match target.direct_tls {
        true => Service::Server.direct_tls_name(),
        false => Service::Server.name(),
    };
    // RFC 7673 §3.1: who may lead elsewhere may prove anything there. RFC 7712 §5.1: without SRV records no DANE.
    let Some(srv) = there(resolver.secure_srv(&format!("_{service}._tcp.{domain}")).await)? else {
        return Ok(Vec::new());
    };
    let host = |name: &str| ascii_domain(name).unwrap_or_default();
    let leads_there = srv.iter().any(|record| record.port == target.port && host(&record.target) == host(&target.host));
    // RFC 7673 §3.3: where addresses are insecure, so is what lies beside them, and nobody is bothered with asking.
    if !leads_there || there(resolver.secure_addresses(&target.host).await)?.is_none() {
        return Ok(Vec::new());
    }
    let name = format!("_{}._tcp.{}", target.port, host(&target.host));
    Ok(there(resolver.tlsa(&name).await)?.unwrap_or_default())
}

/// What there is and DNSSEC vouches for.
fn there<T>(answer: Result<crate::net::Validated<T>, ResolveError>) -> Result<Option<T>, ResolveError> {
    match answer {
        Ok(answer) => Ok(answer.secure.then_some(answer.records)),
        Err(ResolveError::NotFound(_) | ResolveError::InvalidName(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::{ResolveFuture, SrvRecord, StaticResolver, Validated};
    use sha2::{Digest, Sha256};
    use std::net::Ipv4Addr;

    const LIMIT: Duration = Duration::from_secs(60);

    fn chain() -> Vec<CertificateDer<'static>> {
        vec![rcgen::generate_simple_self_signed(["whoever.example".to_owned()]).unwrap().cert.der().clone()]
    }

    fn target() -> Target {
        Target { host: "host.example".to_owned(), port: 5269, direct_tls: false, priority: 0 }
    }

    fn zone(data: &[u8]) -> StaticResolver {
        StaticResolver::new()
            .with_srv("_xmpp-server._tcp.capulet.example", SrvRecord::new(0, 0, 5269, "Host.example."))
            .with_address("host.example", Ipv4Addr::LOCALHOST)
            .with_tlsa("_5269._tcp.host.example", TlsaRecord::new(3, 0, 1, Sha256::digest(data).to_vec()))
    }

    fn tls() -> ClientTls {
        let own = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        ClientTls::builder().only_roots().add_root_pem(own.cert.pem().as_bytes()).unwrap().build().unwrap()
    }

    async fn judged(resolver: &dyn Resolver, target: &Target, chain: &[CertificateDer<'_>]) -> Dane {
        judge(resolver, &tls(), chain, "capulet.example", target, LIMIT).await
    }

    #[tokio::test]
    async fn rfc7673_3_a_secure_delegation_leads_to_the_certificate() {
        let chain = chain();
        assert_eq!(judged(&zone(&chain[0]).signed(), &target(), &chain).await, Dane::Proved);
        assert_eq!(judged(&zone(b"another").signed(), &target(), &chain).await, Dane::Disproved);
        assert_eq!(judged(&zone(&chain[0]), &target(), &chain).await, Dane::Silent, "nothing is signed");
    }

    #[tokio::test]
    async fn rfc7673_3_the_records_are_those_of_the_target_that_was_reached() {
        let (chain, zone) = (chain(), |data: &[u8]| zone(data).signed());
        for other in [
            Target { port: 443, ..target() },
            Target { direct_tls: true, ..target() },
            Target { host: "elsewhere.example".to_owned(), ..target() },
            Target { host: "127.0.0.1".to_owned(), ..target() },
        ] {
            assert_eq!(judged(&zone(b"another"), &other, &chain).await, Dane::Silent, "{other}");
        }
    }

    #[tokio::test]
    async fn rfc7712_5_1_without_srv_records_there_is_no_dane() {
        let chain = chain();
        let zone = StaticResolver::new()
            .with_address("capulet.example", Ipv4Addr::LOCALHOST)
            .with_tlsa("_5269._tcp.capulet.example", TlsaRecord::new(3, 0, 1, vec![0; 32]))
            .signed();
        let target = Target { host: "capulet.example".to_owned(), ..target() };
        assert_eq!(judged(&zone, &target, &chain).await, Dane::Silent);
    }

    /// A DNS of which one answer is insecure, or fails.
    struct Flawed(StaticResolver, &'static str, Option<ResolveError>);

    impl Flawed {
        fn spoil<T>(&self, what: &str, mut answer: Validated<T>) -> Result<Validated<T>, ResolveError> {
            if what == self.1 {
                if let Some(error) = &self.2 {
                    return Err(error.clone());
                }
                answer.secure = false;
            }
            Ok(answer)
        }
    }

    impl Resolver for Flawed {
        fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
            self.0.srv(name)
        }
        fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
            self.0.addresses(host)
        }
        fn secure_srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<SrvRecord>>> {
            Box::pin(async move { self.spoil("srv", self.0.secure_srv(name).await?) })
        }
        fn secure_addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Validated<Vec<IpAddr>>> {
            Box::pin(async move { self.spoil("addresses", self.0.secure_addresses(host).await?) })
        }
        fn tlsa<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<TlsaRecord>>> {
            Box::pin(async move { self.spoil("tlsa", self.0.tlsa(name).await?) })
        }
    }

    #[tokio::test]
    async fn rfc7673_3_one_insecure_link_and_the_chain_holds_nothing() {
        let chain = chain();
        for link in ["srv", "addresses", "tlsa"] {
            for data in [&chain[0][..], b"another"] {
                let dns = Flawed(zone(data).signed(), link, None);
                assert_eq!(judged(&dns, &target(), &chain).await, Dane::Silent, "{link}");
            }
        }
    }

    #[tokio::test]
    async fn abuse_a086_what_cannot_be_known_is_not_taken_for_nothing() {
        let chain = chain();
        for link in ["srv", "addresses", "tlsa"] {
            let bogus = ResolveError::Failed { name: "x".to_owned(), reason: "bogus".to_owned() };
            let dns = Flawed(zone(&chain[0]).signed(), link, Some(bogus.clone()));
            assert_eq!(judged(&dns, &target(), &chain).await, Dane::Unknown(bogus), "{link}");
        }
        let missing = Flawed(zone(&chain[0]).signed(), "tlsa", Some(ResolveError::NotFound("x".to_owned())));
        assert_eq!(judged(&missing, &target(), &chain).await, Dane::Silent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dns_that_does_not_answer_is_not_waited_for() {
        struct Silent;
        impl Resolver for Silent {
            fn srv<'a>(&'a self, _: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
                Box::pin(std::future::pending())
            }
            fn addresses<'a>(&'a self, _: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
                Box::pin(std::future::pending())
            }
        }
        assert!(matches!(judged(&Silent, &target(), &chain()).await, Dane::Unknown(ResolveError::TimedOut(_))));
    }
}
