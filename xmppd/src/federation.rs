//! What of federation can be configured.

use crate::Outcome;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use xmpp_core::{
    jid::Jid,
    net::{ClientTls, SystemResolver},
    server::{self, FederationLimits},
    stream::s2s::Policy,
};

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Federation {
    pub(crate) enabled: Option<bool>,
    require_tls: bool,
    require_valid_certificate: bool,
    block: Vec<String>,
    private_addresses: bool,
    both_ways: bool,
    streams_per_domain: usize,
    streams_per_ip: usize,
    authorities: Option<PathBuf>,
    name_servers: Vec<SocketAddr>,
    posh: bool,
    posh_port: u16,
    dane: bool,
    trust_anchors: Option<PathBuf>,
    domain: BTreeMap<String, Domain>,
}

/// What is asked of one domain; what is not said is as for all.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Domain {
    require_tls: Option<bool>,
    require_valid_certificate: Option<bool>,
    block: Option<bool>,
}

impl Default for Federation {
    fn default() -> Federation {
        let (policy, limits) = (Policy::default(), FederationLimits::default());
        Federation {
            enabled: None,
            require_tls: policy.require_tls,
            require_valid_certificate: policy.require_valid_certificate,
            block: Vec::new(),
            private_addresses: false,
            both_ways: true,
            streams_per_domain: limits.incoming_per_domain,
            streams_per_ip: limits.incoming_per_ip,
            authorities: None,
            name_servers: Vec::new(),
            posh: false,
            posh_port: 443,
            dane: false,
            trust_anchors: None,
            domain: BTreeMap::new(),
        }
    }
}

impl Federation {
    pub(crate) fn check(&self) -> Outcome<()> {
        for name in self.block.iter().chain(self.domain.keys()) {
            let jid = Jid::new(name.strip_prefix("*.").unwrap_or(name));
            if !jid.is_ok_and(|jid| jid.local().is_none() && jid.resource().is_none()) {
                return Err(format!("federation: {name:?} is not a domain").into());
            }
        }
        if self.trust_anchors.is_some() && !self.dane {
            return Err("federation.trust_anchors is for federation.dane, which is false".into());
        }
        if self.streams_per_domain == 0 || self.streams_per_ip == 0 {
            return Err("federation: streams_per_domain and streams_per_ip must be at least 1".into());
        }
        Ok(())
    }

    fn limits(&self) -> FederationLimits {
        let mut limits = FederationLimits::default();
        limits.incoming_per_domain = self.streams_per_domain;
        limits.incoming_per_ip = self.streams_per_ip;
        limits
    }

    pub(crate) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.authorities, &mut self.trust_anchors].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    pub(crate) fn requires_tls(&self) -> bool {
        self.require_tls || self.require_valid_certificate
    }

    fn policy(&self) -> Policy {
        Policy::default().require_tls(self.require_tls).require_valid_certificate(self.require_valid_certificate)
    }

    /// As the server takes it.
    pub(crate) fn to_core(&self) -> Outcome<server::Federation> {
        let default = self.policy();
        let mut limits = self.limits();
        limits.posh.port = self.posh_port;
        let mut federation = server::Federation::new().policy(default).limits(limits).dane(self.dane).posh(self.posh);
        for (name, domain) in &self.domain {
            let policy = default
                .require_tls(domain.require_tls.unwrap_or(default.require_tls))
                .require_valid_certificate(
                    domain.require_valid_certificate.unwrap_or(default.require_valid_certificate),
                )
                .block(domain.block.unwrap_or(false));
            federation = federation.domain_policy(name, policy);
        }
        for name in &self.block {
            federation = federation.domain_policy(name, default.block(true));
        }
        if self.private_addresses {
            federation = federation.private_addresses();
        }
        if !self.both_ways {
            federation = federation.one_way_streams();
        }
        if self.dane {
            let anchors = self.trust_anchors.as_ref().map(|path| {
                std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read federation.trust_anchors {}: {error}", path.display()))
            });
            let resolver = SystemResolver::validating(&self.name_servers, anchors.transpose()?.as_deref())?;
            federation = federation.resolver(resolver);
        } else if !self.name_servers.is_empty() {
            federation = federation.resolver(SystemResolver::with_servers(&self.name_servers)?);
        }
        if let Some(path) = &self.authorities {
            let pem = std::fs::read(path)
                .map_err(|error| format!("cannot read federation.authorities {}: {error}", path.display()))?;
            federation = federation.tls(ClientTls::builder().add_root_pem(&pem)?);
        }
        Ok(federation)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_domain_says_only_what_differs() {
        let text = "require_valid_certificate = true\nblock = ['spam.example']\n\
                    [domain.'old.example']\nrequire_valid_certificate = false\n";
        let federation: Federation = toml::from_str(text).unwrap();
        federation.check().unwrap();
        assert!(federation.policy().require_valid_certificate && federation.policy().require_tls);
        assert_eq!(federation.domain["old.example"].require_tls, None);
        assert!(format!("{:?}", federation.to_core().unwrap()).contains("spam.example"));
    }

    #[test]
    fn streams_are_bounded_by_domain_and_address() {
        let federation: Federation = toml::from_str("streams_per_domain = 7\nstreams_per_ip = 8").unwrap();
        federation.check().unwrap();
        assert_eq!((federation.limits().incoming_per_domain, federation.limits().incoming_per_ip), (7, 8));
        let none: Federation = toml::from_str("streams_per_ip = 0").unwrap();
        assert!(none.check().unwrap_err().to_string().contains("at least 1"));
    }

    #[test]
    fn names_must_be_domains() {
        for text in ["block = ['a b']", "block = ['me@example.org']", "[domain.'x@y']", "block = ['*.']"] {
            let federation: Federation = toml::from_str(text).unwrap();
            assert!(federation.check().unwrap_err().to_string().contains("not a domain"), "{text}");
        }
        let good: Federation = toml::from_str("block = ['*.spam.example', 'Bücher.example']").unwrap();
        good.check().unwrap();
    }

    #[test]
    fn what_proves_a_domain_beside_certificates_is_off_unless_asked_for() {
        let federation = Federation::default();
        assert!(!federation.posh && !federation.dane);
        let folder = tempfile::tempdir().unwrap();
        let text = "posh = true\ndane = true\nname_servers = ['127.0.0.1:53']\ntrust_anchors = 'anchors.zone'";
        let mut federation: Federation = toml::from_str(text).unwrap();
        federation.resolve(folder.path());
        federation.check().unwrap();
        let error = federation.to_core().unwrap_err().to_string();
        assert!(error.contains("cannot read federation.trust_anchors"), "{error}");
        let key = ". 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\n";
        std::fs::write(folder.path().join("anchors.zone"), key).unwrap();
        federation.to_core().unwrap();
        let text = "trust_anchors = 'anchors.zone'";
        let error = toml::from_str::<Federation>(text).unwrap().check().unwrap_err().to_string();
        assert!(error.contains("federation.dane"), "{error}");
    }
}
