//! What a server asks of the domains that it federates with.

use std::collections::HashMap;

/// What is asked of a remote domain. TLS is used wherever the peer has it, whatever is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Nothing is exchanged without TLS (RFC 7590 §3.1). True.
    pub require_tls: bool,
    /// The domain has to prove itself by a valid certificate; dialback keys do not count. False: where the certificate is
    /// missing, self-signed or somebody else's, dialback over TLS is enough.
    pub require_valid_certificate: bool,
    /// Nothing is exchanged at all. False.
    pub block: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { require_tls: true, require_valid_certificate: false, block: false }
    }
}

impl Policy {
    /// With or without the need for TLS.
    #[must_use]
    pub fn require_tls(mut self, required: bool) -> Policy {
        self.require_tls = required;
        self
    }

    /// With or without the need for a valid certificate, which includes that for TLS.
    #[must_use]
    pub fn require_valid_certificate(mut self, required: bool) -> Policy {
        self.require_valid_certificate = required;
        self
    }

    /// Blocked, or not.
    #[must_use]
    pub fn block(mut self, block: bool) -> Policy {
        self.block = block;
        self
    }

    /// Whether a stream without TLS is out of the question.
    pub(crate) fn needs_tls(&self) -> bool {
        self.require_tls || self.require_valid_certificate
    }
}

/// The policy for each remote domain.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    default: Policy,
    domains: HashMap<String, Policy>,
}

impl Policies {
    /// The same for all that are not named.
    pub fn new(default: Policy) -> Policies {
        Policies { default, domains: HashMap::new() }
    }

    /// The policy for one domain, in canonical form. A domain that starts with `*.` stands for all below it.
    pub fn set(&mut self, domain: impl Into<String>, policy: Policy) {
        self.domains.insert(domain.into(), policy);
    }

    /// The policy for all that are not named.
    pub fn set_default(&mut self, policy: Policy) {
        self.default = policy;
    }

    /// The policy for all that are not named.
    pub fn default_policy(&self) -> Policy {
        self.default
    }

    /// What is asked of `domain`: its own entry, else the nearest `*.` above it, else the default.
    pub fn of(&self, domain: &str) -> Policy {
        if let Some(policy) = self.domains.get(domain) {
            return *policy;
        }
        let mut rest = domain;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(policy) = self.domains.get(&format!("*.{above}")) {
                return *policy;
            }
            rest = above;
        }
        self.default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_entry_counts() {
        let mut policies = Policies::new(Policy::default());
        policies.set("spam.example", Policy::default().block(true));
        policies.set("*.example", Policy::default().require_valid_certificate(true));
        policies.set("*.spam.example", Policy::default().require_tls(false));
        assert!(policies.of("spam.example").block);
        assert!(!policies.of("a.b.spam.example").require_tls);
        assert!(policies.of("good.example").require_valid_certificate);
        assert_eq!(policies.of("example"), Policy::default());
        assert_eq!(policies.of("example.org"), Policy::default());
    }
}
