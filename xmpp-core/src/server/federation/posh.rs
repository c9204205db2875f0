//! POSH as a prooftype (RFC 7712 §5.2, RFC 7711): a document on a domain's web server that tells which certificates its
//! XMPP server may show.

use super::PoshLimits;
use crate::net::{ClientTls, ConnectOptions, Connector, Resolver, ascii_domain, https};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256, Sha512};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex as Lock, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, timeout},
};

/// Fingerprints read of one document; the rest is ignored.
const MAX_FINGERPRINTS: usize = 32;
/// Certificates that are not among the fingerprints known have them fetched anew when they are older than this: a domain
/// may have got another certificate.
const YOUNG: Duration = Duration::from_secs(60);

/// Hashes of one certificate (RFC 7711 §3.1). All that are there have to be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl Fingerprint {
    fn is_of(&self, certificate: &[u8]) -> bool {
        let right = |said: &Option<Vec<u8>>, hash: &[u8]| said.as_ref().is_none_or(|said| said == hash);
        (self.sha256.is_some() || self.sha512.is_some())
            && right(&self.sha256, &Sha256::digest(certificate))
            && right(&self.sha512, &Sha512::digest(certificate))
    }
}

/// A document.
#[derive(Debug, PartialEq, Eq)]
enum Document {
    /// Fingerprints, and how long they count (RFC 7711 §3.1).
    Fingerprints(Vec<Fingerprint>, Duration),
    /// Where they are, and how long that counts (RFC 7711 §3.2).
    Reference(String, Duration),
}

impl Document {
    /// Reads one. Without a time for which it counts it does not (RFC 7711 §3.1).
    fn read(text: &[u8]) -> Option<Document> {
        let document: serde_json::Value = serde_json::from_slice(text).ok()?;
        let expires = document.get("expires")?.as_u64().filter(|seconds| *seconds > 0)?;
        let expires = Duration::from_secs(expires);
        let Some(fingerprints) = document.get("fingerprints") else {
            return Some(Document::Reference(document.get("url")?.as_str()?.to_owned(), expires));
        };
        let hash = |of: &serde_json::Value, name: &str| STANDARD.decode(of.get(name)?.as_str()?).ok();
        let fingerprint =
            |of: &serde_json::Value| Fingerprint { sha256: hash(of, "sha-256"), sha512: hash(of, "sha-512") };
        let fingerprints = fingerprints.as_array()?.iter().take(MAX_FINGERPRINTS).map(fingerprint);
        Some(Document::Fingerprints(fingerprints.collect(), expires))
    }
}

/// What is known of one domain.
struct Known {
    fingerprints: Vec<Fingerprint>,
    since: Instant,
    until: Instant,
}

/// Whoever holds it may fetch the document; others wait for what comes of that.
type Entry = Arc<Mutex<Option<Known>>>;

/// The documents of domains, as far as they are known.
pub(super) struct Posh {
    connector: Connector,
    limits: PoshLimits,
    /// For those who connect to us, and for those that we connect to: neither can use up the other's.
    fetches: [Semaphore; 2],
    entries: Lock<HashMap<String, Entry>>,
}

impl Posh {
    /// `tls` is for web servers: it judges at the handshake.
    pub(super) fn new(
        resolver: Arc<dyn Resolver>,
        tls: ClientTls,
        mut options: ConnectOptions,
        limits: PoshLimits,
    ) -> Posh {
        options.deadline = options.deadline.min(limits.deadline);
        Posh {
            connector: Connector::with_options(resolver, tls, options),
            fetches: [limits.fetches, limits.fetches].map(Semaphore::new),
            limits,
            entries: Lock::default(),
        }
    }

    /// Whether a domain's document names this certificate, for a stream that we `opened` or one that we did not. At most as long as the limits say, and not cancel-safe in that
    /// what was fetched so far is lost.
    pub(super) async fn names(&self, domain: &str, certificate: &[u8], opened: bool) -> bool {
        let Some(domain) = ascii_domain(domain).filter(|domain| domain.parse::<IpAddr>().is_err()) else {
            return false;
        };
        let looking = timeout(self.limits.deadline, self.look_up(&domain, certificate, opened));
        looking.await.unwrap_or_else(|_| {
            tracing::debug!(domain, "no POSH document in time");
            false
        })
    }

    async fn look_up(&self, domain: &str, certificate: &[u8], opened: bool) -> bool {
        let Some(entry) = self.entry(domain) else { return false };
        let mut known = entry.lock().await;
        let now = Instant::now();
        match known.as_mut().filter(|known| now < known.until) {
            Some(known) => {
                let named = known.fingerprints.iter().any(|one| one.is_of(certificate));
                if named || known.fingerprints.is_empty() || now < known.since + YOUNG {
                    return named;
                }
                // It stays as it is unless there is another.
                known.since = now;
            }
            // Also what is given up on the way is not to be tried again at once.
            None => *known = Some(Known { fingerprints: Vec::new(), since: now, until: now + self.limits.failure }),
        }
        let [theirs, ours] = &self.fetches;
        let Ok(_permit) = (if opened { ours } else { theirs }).acquire().await else { return false };
        let Some((fingerprints, expires)) = self.fetch(domain).await else { return false };
        let named = fingerprints.iter().any(|one| one.is_of(certificate));
        let now = Instant::now();
        *known = Some(Known { fingerprints, since: now, until: now + expires.min(self.limits.lifetime) });
        named
    }

    /// The place of a domain, if there is room for it: what is over goes first, then what nobody waits for.
    fn entry(&self, domain: &str) -> Option<Entry> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(domain) {
            return Some(Arc::clone(entry));
        }
        if entries.len() >= self.limits.domains {
            let now = Instant::now();
            let over = |entry: &Entry| {
                entry.try_lock().is_ok_and(|known| known.as_ref().is_none_or(|known| known.until <= now))
            };
            entries.retain(|_, entry| Arc::strong_count(entry) > 1 || !over(entry));
        }
        if entries.len() >= self.limits.domains {
            let idle = entries.iter().find(|(_, entry)| Arc::strong_count(entry) == 1).map(|(name, _)| name.clone());
            entries.remove(&idle?);
        }
        Some(Arc::clone(entries.entry(domain.to_owned()).or_default()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Fetches a domain's document, and what it refers to, if it does (RFC 7711 §3).
    async fn fetch(&self, domain: &str) -> Option<(Vec<Fingerprint>, Duration)> {
        let authority = match self.limits.port {
            443 => domain.to_owned(),
            port => format!("{domain}:{port}"),
        };
        match self.get(domain, &format!("https://{authority}/.well-known/posh/xmpp-server.json")).await? {
            Document::Fingerprints(fingerprints, expires) => Some((fingerprints, expires)),
            // RFC 7711 §3.2: it leads to fingerprints, not further on, and counts no longer than either.
            Document::Reference(url, expires) => match self.get(domain, &url).await? {
                Document::Fingerprints(fingerprints, inner) => Some((fingerprints, expires.min(inner))),
                Document::Reference(..) => {
                    tracing::debug!(domain, "a POSH document refers to another that refers on");
                    None
                }
            },
        }
    }

    async fn get(&self, domain: &str, url: &str) -> Option<Document> {
        let bounds = https::Bounds { document: self.limits.document_bytes, redirects: self.limits.redirects };
        match https::get(&self.connector, url, bounds).await {
            Ok(text) => Document::read(&text),
            Err(error) => {
                tracing::debug!(domain, %error, "no POSH document");
                None
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::{ResolveError, ResolveFuture, SrvRecord};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn rfc7711_3_1_fingerprints_are_read() {
        let text =
            br#"{"fingerprints":[{"sha-256":"NcdB","sha-512":"/8RU","md5":"x"},{"sha-1":"AAAA"}],"expires":604800}"#;
        let first = Fingerprint { sha256: STANDARD.decode("NcdB").ok(), sha512: STANDARD.decode("/8RU").ok() };
        let week = Duration::from_secs(604_800);
        assert_eq!(Document::read(text), Some(Document::Fingerprints(vec![first, Fingerprint::default()], week)));
    }

    #[test]
    fn rfc7711_3_2_references_are_read() {
        let url = "https://hosting.example.net/.well-known/posh/xmpp-server.json";
        let text = format!(r#"{{"url":"{url}","expires":86400}}"#);
        let day = Duration::from_secs(86_400);
        assert_eq!(Document::read(text.as_bytes()), Some(Document::Reference(url.to_owned(), day)));
    }

    #[test]
    fn rfc7711_3_1_what_says_not_how_long_it_counts_does_not() {
        for expires in ["", r#","expires":0"#, r#","expires":-1"#, r#","expires":"60""#, r#","expires":1.5"#] {
            let text = format!(r#"{{"fingerprints":[{{"sha-256":"NcdB"}}]{expires}}}"#);
            assert_eq!(Document::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_document_is_none() {
        let deep = "[".repeat(100_000);
        for text in
            ["", "{", "[]", r#"{"expires":1}"#, r#"{"expires":1,"url":2}"#, r#"{"expires":1,"fingerprints":{}}"#, &deep]
        {
            assert_eq!(Document::read(text.as_bytes()), None, "{text:.40}");
        }
    }

    #[test]
    fn rfc7711_3_3_every_hash_that_is_known_has_to_be_right() {
        let (right, right512) = (Some(Sha256::digest(b"cert").to_vec()), Some(Sha512::digest(b"cert").to_vec()));
        let is = |sha256: &Option<Vec<u8>>, sha512: &Option<Vec<u8>>| {
            Fingerprint { sha256: sha256.clone(), sha512: sha512.clone() }.is_of(b"cert")
        };
        let wrong = Some(vec![0; 32]);
        assert!(is(&right, &None) && is(&None, &right512) && is(&right, &right512));
        assert!(!is(&None, &None) && !is(&wrong, &None) && !is(&wrong, &right512) && !is(&right, &wrong));
        assert!(!is(&Some(Vec::new()), &None));
    }

    /// A DNS without anything, that counts how often it is asked.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Resolver for Counting {
        fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
            Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
        }
        fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Err(ResolveError::NotFound(host.to_owned()))))
        }
    }

    fn posh(dns: &Counting, limits: PoshLimits) -> Posh {
        let own = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let tls = ClientTls::builder().only_roots().add_root_pem(own.cert.pem().as_bytes()).unwrap().build().unwrap();
        Posh::new(Arc::new(dns.clone()), tls, ConnectOptions::default(), limits)
    }

    #[tokio::test(start_paused = true)]
    async fn abuse_a083_what_failed_is_left_alone_for_a_while() {
        let dns = Counting::default();
        let posh = posh(&dns, PoshLimits::default());
        for _ in 0..5 {
            assert!(!posh.names("capulet.example", b"cert", false).await);
        }
        assert_eq!(dns.0.load(Ordering::Relaxed), 1);
        tokio::time::advance(PoshLimits::default().failure).await;
        assert!(!posh.names("capulet.example", b"cert", false).await);
        assert_eq!(dns.0.load(Ordering::Relaxed), 2);
        assert!(!posh.names("127.0.0.1", b"cert", false).await && !posh.names("a..b", b"cert", false).await);
        assert_eq!(dns.0.load(Ordering::Relaxed), 2, "no domain, no document");
    }

    #[tokio::test(start_paused = true)]
    async fn abuse_a104_no_more_domains_are_remembered_than_the_bound() {
        let dns = Counting::default();
        let posh = posh(&dns, PoshLimits { domains: 3, ..PoshLimits::default() });
        for number in 0..20 {
            posh.names(&format!("d{number}.example"), b"cert", false).await;
            assert!(posh.lock().len() <= 3);
        }
        let held: Vec<Entry> = posh.lock().values().cloned().collect();
        assert!(posh.entry("another.example").is_none(), "all are in use");
        drop(held);
        assert!(posh.entry("another.example").is_some());
    }

    /// A DNS that leads everybody to this machine.
    struct Inside;

    impl Resolver for Inside {
        fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
            Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
        }
        fn addresses<'a>(&'a self, _: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
            Box::pin(std::future::ready(Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()])))
        }
    }

    #[tokio::test]
    async fn abuse_a083_no_document_is_fetched_from_the_own_network() {
        for public_only in [true, false] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let posh = posh(&Counting::default(), PoshLimits { port, ..PoshLimits::default() });
            let options = ConnectOptions { public_only, ..ConnectOptions::default() };
            let connector = Connector::with_options(Arc::new(Inside), posh.connector.tls().clone(), options);
            let posh = Posh { connector, ..posh };
            let reached = tokio::select! {
                biased;
                accepted = listener.accept() => accepted.is_ok(),
                named = posh.names("capulet.example", b"cert", false) => named,
            };
            assert_eq!(reached, !public_only);
        }
    }

    #[tokio::test]
    async fn abuse_a100_who_connects_cannot_use_up_the_fetches_for_those_that_we_connect_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let posh = posh(&Counting::default(), PoshLimits { port, fetches: 2, ..PoshLimits::default() });
        let connector =
            Connector::with_options(Arc::new(Inside), posh.connector.tls().clone(), ConnectOptions::default());
        let posh = Posh { connector, ..posh };
        let ask = |domain, opened| Box::pin(posh.names(domain, b"cert", opened));
        let mut strangers = [ask("a.example", false), ask("b.example", false), ask("c.example", false)];
        let mut held = Vec::new();
        let mut accept = async |strangers: &mut [_; 3]| {
            let [a, b, c] = strangers;
            tokio::select! {
                accepted = listener.accept() => held.push(accepted.unwrap()),
                _ = async { tokio::join!(a, b, c) } => {}
            }
            held.len()
        };
        assert_eq!(accept(&mut strangers).await, 1);
        assert_eq!(accept(&mut strangers).await, 2);
        assert_eq!(posh.fetches[0].available_permits(), 0);
        tokio::select! {
            accepted = listener.accept() => assert!(accepted.is_ok()),
            named = posh.names("d.example", b"cert", true) => assert!(named),
        }
        assert_eq!(posh.fetches[0].available_permits(), 0);
    }
}
