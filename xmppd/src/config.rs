//! The configuration: defaults, the file, the command line.

use crate::{
    Outcome,
    account::{self, Account, Contact, Service},
    archive::Archive,
    cli::Settings,
    federation::Federation,
    limits::{Limits, StreamManagement},
    messages::{Blocking, Carbons, Offline},
    proxy::Proxy,
    registration::{self, Invitations, Registration},
    rooms::Rooms,
    roster::Roster,
    uploads::Uploads,
};
use serde::Deserialize;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use xmpp_core::{jid::BareJid, net::tls::ClientAuthorities, server, stream::OtherHost};

/// The file that explains every setting and sets it to its default.
pub(crate) static TEMPLATE: &str = include_str!("default.toml");

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) domains: Vec<String>,
    pub(crate) anonymous_domains: Vec<String>,
    pub(crate) data: PathBuf,
    pub(crate) log: String,
    pub(crate) plaintext: bool,
    pub(crate) any_user_password: Option<String>,
    pub(crate) replace_components: bool,
    pub(crate) shutdown_seconds: u32,
    #[serde(deserialize_with = "other_host")]
    pub(crate) shutdown_to: Option<OtherHost>,
    pub(crate) listen: Listen,
    pub(crate) tls: Tls,
    pub(crate) http: Http,
    pub(crate) federation: Federation,
    pub(crate) limits: Limits,
    pub(crate) component: Vec<Component>,
    pub(crate) stream_management: StreamManagement,
    pub(crate) admins: Vec<String>,
    pub(crate) account: Account,
    pub(crate) contact: Contact,
    pub(crate) service: Vec<Service>,
    pub(crate) roster: Roster,
    pub(crate) offline: Offline,
    pub(crate) carbons: Carbons,
    pub(crate) blocking: Blocking,
    pub(crate) archive: Archive,
    pub(crate) registration: Registration,
    pub(crate) invitations: Invitations,
    pub(crate) rooms: Rooms,
    pub(crate) proxy: Proxy,
    pub(crate) uploads: Uploads,
}

/// An external component that may connect.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    pub(crate) domain: String,
    pub(crate) secret: String,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("domain", &self.domain).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    c2s: Option<Vec<SocketAddr>>,
    c2s_tls: Option<Vec<SocketAddr>>,
    s2s: Option<Vec<SocketAddr>>,
    s2s_tls: Option<Vec<SocketAddr>>,
    components: Option<Vec<SocketAddr>>,
    http: Option<Vec<SocketAddr>>,
    https: Option<Vec<SocketAddr>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    public_url: Option<String>,
    trusted_proxies: Vec<String>,
    origins: Vec<String>,
    bosh: bool,
    posh: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) enabled: bool,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_authorities: Option<PathBuf>,
}

impl Tls {
    /// Who vouches for users, if anybody.
    pub(crate) fn client_authorities(&self) -> Outcome<Option<ClientAuthorities>> {
        let Some(path) = &self.client_authorities else { return Ok(None) };
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let authorities = read.and_then(|pem| ClientAuthorities::from_pem(&pem).map_err(|error| error.to_string()));
        match authorities {
            Ok(authorities) => Ok(Some(authorities)),
            Err(error) => Err(format!("tls.client_authorities, {}, cannot be used: {error}", path.display()).into()),
        }
    }
}

fn other_host<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<OtherHost>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let refused = || serde::de::Error::custom(format!("{text:?} is no host, or host:port"));
    OtherHost::parse(&text).map(Some).ok_or_else(refused)
}

impl Default for Config {
    fn default() -> Config {
        Config {
            domains: vec!["localhost".into()],
            anonymous_domains: Vec::new(),
            data: "xmppd-data".into(),
            log: "info".into(),
            plaintext: false,
            any_user_password: None,
            replace_components: false,
            shutdown_seconds: 10,
            shutdown_to: None,
            listen: Listen::default(),
            tls: Tls { enabled: true, certificate: None, key: None, client_authorities: None },
            http: Http::default(),
            federation: Federation::default(),
            limits: Limits::default(),
            component: Vec::new(),
            stream_management: StreamManagement::default(),
            admins: Vec::new(),
            account: Account::default(),
            contact: Contact::default(),
            service: Vec::new(),
            roster: Roster::default(),
            offline: Offline::default(),
            carbons: Carbons::default(),
            blocking: Blocking::default(),
            archive: Archive::default(),
            registration: Registration::default(),
            invitations: Invitations::default(),
            rooms: Rooms::default(),
            proxy: Proxy::default(),
            uploads: Uploads::default(),
        }
    }
}

impl Default for Tls {
    fn default() -> Tls {
        Config::default().tls
    }
}

impl Default for Http {
    fn default() -> Http {
        Http { public_url: None, trusted_proxies: Vec::new(), origins: vec!["*".into()], bosh: true, posh: true }
    }
}

impl Http {
    /// Whether anybody else's TLS is believed.
    pub(crate) fn has_proxies(&self) -> bool {
        !self.trusted_proxies.is_empty()
    }

    /// As the server takes it.
    pub(crate) fn to_core(&self) -> Outcome<server::Http> {
        let mut core = server::Http::new().bosh(self.bosh).posh(self.posh);
        if let Some(url) = &self.public_url {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(format!("http.public_url is no address of the web: {url}").into());
            }
            core = core.public_url(url);
        }
        for range in &self.trusted_proxies {
            core = core.trusted_proxy(range.parse().map_err(|error| format!("http.trusted_proxies: {error}"))?);
        }
        if !self.origins.iter().any(|origin| origin == "*") {
            core = core.origins(&self.origins);
        }
        Ok(core)
    }
}

/// A place to listen on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    /// What takes its place on a machine without this kind of addresses.
    pub(crate) otherwise: Otherwise,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Otherwise {
    Fail,
    Skip,
    Listen(SocketAddr),
}

impl Config {
    /// The configuration of a run: the file if one is named, and what the command line says above it.
    pub(crate) fn load(settings: &Settings) -> Outcome<Config> {
        let mut config = match &settings.config {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))?;
                let config = Config::parse(&text)
                    .map_err(|error| format!("the configuration {} is not usable: {error}", path.display()))?;
                config.resolve(path.parent().unwrap_or(Path::new("")))
            }
        };
        if let Some(data) = &settings.data {
            config.data.clone_from(data);
        }
        let named = [&settings.c2s, &settings.c2s_tls, &settings.http, &settings.https];
        if named.iter().any(|addresses| !addresses.is_empty()) {
            let [c2s, c2s_tls, http, https] = named.map(|addresses| Some(addresses.clone()));
            let Listen { components, mut s2s, s2s_tls, .. } = std::mem::take(&mut config.listen);
            // Who names places means these, and no others that the file does not name.
            if s2s_tls.is_none() {
                s2s.get_or_insert_default();
            }
            config.listen = Listen { c2s, c2s_tls, s2s, s2s_tls, http, https, components };
        }
        let named_tls = !settings.c2s_tls.is_empty() || !settings.https.is_empty();
        if !config.tls.enabled && named_tls {
            return Err("--c2s-tls and --https need TLS, and tls.enabled is false".into());
        }
        if config.any_user_password.is_some()
            && config.listeners().iter().chain(&config.web_listeners()).any(|one| !one.address.ip().is_loopback())
        {
            return Err(
                "any_user_password is for measurements, and every listener must be on a loopback address".into()
            );
        }
        Ok(config)
    }

    pub(crate) fn parse(text: &str) -> Outcome<Config> {
        let mut config: Config = toml::from_str(text)?;
        let mut seen = Vec::new();
        let components = config.component.iter_mut().map(|component| &mut component.domain);
        for domain in config.domains.iter_mut().chain(&mut config.anonymous_domains).chain(components) {
            let address = BareJid::new(domain).map_err(|error| format!("{domain:?} is not a domain: {error}"))?;
            if address.local().is_some() {
                return Err(format!("{domain:?} is not a domain: it has an @").into());
            }
            address.domain().clone_into(domain);
            if seen.contains(&address) {
                return Err(format!("the domain {domain} is there twice").into());
            }
            seen.push(address);
        }
        account::check(&config)?;
        if let Some(open) = config.component.iter().find(|component| component.secret.is_empty()) {
            return Err(format!("the component {} needs a secret", open.domain).into());
        }
        if config.domains.is_empty() {
            return Err("domains must name at least one domain".into());
        }
        if config.tls.certificate.is_some() != config.tls.key.is_some() {
            return Err("tls.certificate and tls.key are needed both, or neither".into());
        }
        if !config.tls.enabled {
            if !config.plaintext {
                return Err("with tls.enabled = false nobody can log in, unless plaintext = true".into());
            }
            if config.listen.c2s_tls.as_ref().is_some_and(|addresses| !addresses.is_empty()) {
                return Err("listen.c2s_tls needs TLS, and tls.enabled is false".into());
            }
            if config.listen.https.as_ref().is_some_and(|addresses| !addresses.is_empty()) {
                return Err("listen.https needs TLS, and tls.enabled is false".into());
            }
        }
        config.http.to_core()?;
        config.federation.check()?;
        let servers = [&config.listen.s2s, &config.listen.s2s_tls];
        if !config.federates() && servers.into_iter().flatten().any(|addresses| !addresses.is_empty()) {
            return Err("listen.s2s needs federation, which is off: set federation.enabled = true".into());
        }
        if config.federates() && !config.tls.enabled && config.federation.requires_tls() {
            return Err("federation without tls.enabled needs federation.require_tls = false".into());
        }
        config.limits.check()?;
        config.stream_management.check(&config.limits)?;
        config.roster.check()?;
        config.offline.check(config.limits.outbox_bytes)?;
        config.archive.check()?;
        registration::check(&config)?;
        config.rooms.check(&config.all_domains())?;
        config.proxy.check(&config.all_domains())?;
        config.uploads.check(&config.all_domains())?;
        Ok(config)
    }

    /// Relative paths count from the folder of the file: the daemon may be started from anywhere.
    fn resolve(mut self, folder: &Path) -> Config {
        let tls = &mut self.tls;
        let paths = [Some(&mut self.data), tls.certificate.as_mut(), tls.key.as_mut(), tls.client_authorities.as_mut()];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        self.federation.resolve(folder);
        self.uploads.resolve(folder);
        self
    }

    /// How long sessions may take to end when the server is told to stop.
    pub(crate) fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds.into())
    }

    pub(crate) fn all_domains(&self) -> Vec<&str> {
        self.domains.iter().chain(&self.anonymous_domains).map(String::as_str).collect()
    }

    /// Whether all domains are names of this machine for itself (RFC 6761 §6.3).
    fn is_local(&self) -> bool {
        self.all_domains().iter().all(|domain| *domain == "localhost" || domain.ends_with(".localhost"))
    }

    /// Whether there are other servers for this one.
    pub(crate) fn federates(&self) -> bool {
        self.federation.enabled.unwrap_or(!self.is_local() && self.tls.enabled)
    }

    /// Where to listen.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let Listen { c2s, c2s_tls, .. } = &self.listen;
        if self.listens_as_usual() {
            let direct = self.tls.enabled.then(|| self.usual(5223, true));
            return self.usual(5222, false).into_iter().chain(direct.into_iter().flatten()).collect();
        }
        named(c2s, false).chain(named(c2s_tls, true)).collect()
    }

    /// Where other servers connect.
    pub(crate) fn server_listeners(&self) -> Vec<Listener> {
        let Listen { s2s, s2s_tls, .. } = &self.listen;
        if !self.federates() {
            return Vec::new();
        }
        if s2s.is_none() && s2s_tls.is_none() {
            let direct = self.tls.enabled.then(|| self.usual(5270, true));
            return self.usual(5269, false).into_iter().chain(direct.into_iter().flatten()).collect();
        }
        named(s2s, false).chain(named(s2s_tls, true)).collect()
    }

    /// Where components connect: this machine alone unless other places are named, because their streams are not
    /// encrypted. Nowhere while there are none.
    pub(crate) fn component_listeners(&self) -> Vec<SocketAddr> {
        let usual = || vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5347))];
        if self.component.is_empty() { Vec::new() } else { self.listen.components.clone().unwrap_or_else(usual) }
    }

    /// Where to listen for browsers.
    pub(crate) fn web_listeners(&self) -> Vec<Listener> {
        let Listen { http, https, .. } = &self.listen;
        if self.listens_as_usual() {
            let open = self.is_local().then(|| self.usual(5280, false));
            let secured = self.tls.enabled.then(|| self.usual(5281, true));
            return [open, secured].into_iter().flatten().flatten().collect();
        }
        named(http, false).chain(named(https, true)).collect()
    }

    /// Where the world reaches the listener for browsers: as it is configured, or at the first domain. `None` where nobody
    /// listens.
    pub(crate) fn public_url(&self) -> Option<String> {
        let listeners = self.web_listeners();
        let listener = listeners.iter().find(|one| one.tls).or_else(|| listeners.first())?;
        if let Some(url) = &self.http.public_url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        if listener.address.port() == 0 {
            // Any port, which only the system knows.
            return None;
        }
        let (scheme, usual) = if listener.tls { ("https", 443) } else { ("http", 80) };
        let domain = self.all_domains().first().copied().unwrap_or("localhost");
        let port = Some(listener.address.port()).filter(|port| *port != usual).map(|port| format!(":{port}"));
        Some(format!("{scheme}://{domain}{}", port.unwrap_or_default()))
    }

    fn listens_as_usual(&self) -> bool {
        let Listen { c2s, c2s_tls, http, https, .. } = &self.listen;
        [c2s, c2s_tls, http, https].iter().all(|addresses| addresses.is_none())
    }

    fn usual(&self, port: u16, tls: bool) -> Vec<Listener> {
        let at = |ip: IpAddr| SocketAddr::new(ip, port);
        let one = |ip, otherwise| Listener { address: at(ip), tls, otherwise };
        if self.is_local() {
            vec![one(Ipv4Addr::LOCALHOST.into(), Otherwise::Fail), one(Ipv6Addr::LOCALHOST.into(), Otherwise::Skip)]
        } else {
            let otherwise = Otherwise::Listen(at(Ipv4Addr::UNSPECIFIED.into()));
            vec![one(Ipv6Addr::UNSPECIFIED.into(), otherwise)]
        }
    }
}

fn named(addresses: &Option<Vec<SocketAddr>>, tls: bool) -> impl Iterator<Item = Listener> {
    let addresses = addresses.clone().unwrap_or_default().into_iter();
    addresses.map(move |address| Listener { address, tls, otherwise: Otherwise::Fail })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_template_says_the_defaults() {
        assert_eq!(Config::parse(TEMPLATE).unwrap(), Config::default());
        let uncommented = ["c2s", "components", "http ", "https ", "certificate", "key", "public_url"]
            .iter()
            .fold(TEMPLATE.to_owned(), |text, name| text.replace(&format!("#{name}"), name));
        let config = Config::parse(&uncommented).unwrap();
        let usual: Vec<_> = Config::default().listeners().into_iter().map(|one| (one.address, one.tls)).collect();
        let named: Vec<_> = config.listeners().into_iter().map(|one| (one.address, one.tls)).collect();
        assert_eq!(named, usual);
        assert_eq!(
            config.web_listeners(),
            Config::default().web_listeners().into_iter().map(fixed).collect::<Vec<_>>()
        );
        assert!(config.tls.key.is_some());
    }

    /// As if it had been named.
    fn fixed(one: Listener) -> Listener {
        Listener { otherwise: Otherwise::Fail, ..one }
    }

    #[test]
    fn mistakes_get_a_sentence() {
        for (text, says) in [
            ("domians = []", "unknown field `domians`"),
            ("domains = []", "at least one domain"),
            ("domains = ['a b']", "not a domain"),
            ("domains = ['me@example.org']", "it has an @"),
            ("domains = ['example.org', 'EXAMPLE.org']", "twice"),
            ("anonymous_domains = ['localhost']", "twice"),
            ("listen.c2s = ['5222']", "invalid socket address"),
            ("tls.certificate = 'x'", "both, or neither"),
            ("tls.enabled = false", "unless plaintext = true"),
            ("plaintext = true\nlisten.c2s_tls = ['127.0.0.1:1']\ntls.enabled = false", "c2s_tls needs TLS"),
            ("listen.s2s = ['127.0.0.1:1']", "federation.enabled = true"),
            ("federation.block = ['@']", "not a domain"),
            ("federation.enabled = true\nplaintext = true\ntls.enabled = false", "federation.require_tls = false"),
            ("[[component]]\ndomain = 'localhost'\nsecret = 'x'", "twice"),
            ("[[component]]\ndomain = 'a@x'\nsecret = 'x'", "it has an @"),
            ("[[component]]\ndomain = 'irc.localhost'\nsecret = ''", "needs a secret"),
            ("[[component]]\ndomain = 'irc.localhost'", "missing field `secret`"),
            ("plaintext = true\nlisten.https = ['127.0.0.1:1']\ntls.enabled = false", "https needs TLS"),
            ("http.trusted_proxies = ['nginx']", "\"nginx\" is not a range"),
            ("http.public_url = 'chat.example.org'", "no address of the web"),
            ("shutdown_to = 'no host'", "no host, or host:port"),
            ("limits.connections = 0", "limits.connections must be more than 0"),
            ("limits.token_days = 0", "limits.token_days must be more than 0"),
            ("limits.bosh_sessions = 0", "limits.bosh_sessions must be more than 0"),
            ("http.bosh = 'yes'", "line 1"),
            ("limits.stanza_bytes = 9999", "at least 10000"),
            ("limits.outbox_bytes = 300000", "at least twice"),
            ("stream_management.unacked_bytes = 300000", "at least twice"),
            ("offline.bytes = 3000000", "half of limits.outbox_bytes"),
            ("carbons.enabled = 1", "line 1"),
            ("blocking.patterns = true", "unknown field `patterns`"),
            ("stream_management.unacked_stanzas = 99", "at least 100"),
            ("stream_management.hibernated_bytes = 4000000", "at least stream_management.unacked_bytes"),
            ("limits.keepalive_answer_seconds = 0", "must be more than 0"),
            ("roster.requests = 0", "must be more than 0"),
            ("plaintext = 1", "line 1"),
            ("[listen", "line 1"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn only_local_domains_are_served_to_this_machine_alone() {
        let local = Config::parse("domains = ['localhost', 'chat.localhost']").unwrap();
        assert!(local.listeners().iter().all(|one| one.address.ip().is_loopback()));
        let public = Config::parse("domains = ['localhost', 'example.org']").unwrap();
        assert!(public.listeners().iter().all(|one| one.address.ip().is_unspecified()));
        assert!(public.web_listeners().iter().all(|one| one.tls), "not in the open");
        let anonymous = Config::parse("anonymous_domains = ['guest.example.org']").unwrap();
        assert!(anonymous.listeners().iter().all(|one| one.address.ip().is_unspecified()));
    }

    #[test]
    fn components_connect_from_this_machine_unless_told_otherwise() {
        let component = "[[component]]\ndomain = 'IRC.localhost'\nsecret = 'x'\n";
        let config = Config::parse(component).unwrap();
        assert_eq!(config.component[0].domain, "irc.localhost");
        assert_eq!(config.component_listeners(), ["127.0.0.1:5347".parse().unwrap()]);
        assert!(!format!("{config:?}").contains("\"x\""), "no secret in logs");
        let other = Config::parse(&format!("listen.components = ['[::1]:1']\n{component}")).unwrap();
        assert_eq!(other.component_listeners(), ["[::1]:1".parse().unwrap()]);
        assert!(Config::default().component_listeners().is_empty());
    }

    #[test]
    fn only_what_is_named_is_listened_on() {
        let config = Config::parse("listen.c2s_tls = ['127.0.0.1:443']").unwrap();
        let address = "127.0.0.1:443".parse().unwrap();
        assert_eq!(config.listeners(), [Listener { address, tls: true, otherwise: Otherwise::Fail }]);
        assert!(config.web_listeners().is_empty());
        let config = Config::parse("listen.http = ['127.0.0.1:443']").unwrap();
        assert_eq!(config.web_listeners(), [Listener { address, tls: false, otherwise: Otherwise::Fail }]);
        assert!(config.listeners().is_empty());
    }

    #[test]
    fn federation_is_for_domains_that_others_can_find() {
        let federates = |text: &str| Config::parse(text).unwrap().federates();
        assert!(!federates("") && !federates("domains = ['chat.localhost']"));
        assert!(federates("domains = ['example.org']") && federates("federation.enabled = true"));
        assert!(!federates("domains = ['example.org']\nfederation.enabled = false"));
        assert!(!federates("domains = ['example.org']\ntls.enabled = false\nplaintext = true"));
        let ports = |text: &str| -> Vec<u16> {
            let listeners = Config::parse(text).unwrap().server_listeners().into_iter();
            listeners.map(|one| one.address.port()).collect()
        };
        assert!(ports("").is_empty());
        assert_eq!(ports("domains = ['example.org']"), [5269, 5270]);
        assert_eq!(ports("domains = ['example.org']\nlisten.s2s = ['127.0.0.1:1']"), [1]);
    }

    #[test]
    fn relative_paths_count_from_the_file() {
        let text = "tls.certificate = 'a.crt'\ntls.key = '/etc/a.key'";
        let config = Config::parse(text).unwrap().resolve(Path::new("/srv"));
        assert_eq!(config.data, Path::new("/srv/xmppd-data"));
        assert_eq!(config.tls.certificate.unwrap(), Path::new("/srv/a.crt"));
        assert_eq!(config.tls.key.unwrap(), Path::new("/etc/a.key"));
    }

    #[test]
    fn connections_leave_some_open_files() {
        let limits = Limits::default();
        assert_eq!(limits.to_core(Some(1024)).connections, 960);
        assert_eq!(limits.to_core(None).connections, limits.connections);
        assert_eq!(limits.to_core(Some(3)).connections, 1);
    }
}
