//! The header, the features and STARTTLS.

use super::{Acceptor, State, Task};
use crate::{
    jid::Jid,
    payload::Payload as _,
    sasl::{Mechanism, ServerPolicy, ServerSasl},
    stream::features::{CSI, SASL_CB},
    stream::management::Sm,
    stream::{Header, StreamCondition, StreamError, header},
    xml::{StreamHeader, Writer, ns},
};
use std::sync::Arc;

impl Acceptor {
    pub(super) fn restart(&mut self) -> Vec<Task> {
        self.state = State::Header;
        self.header_sent = false;
        vec![Task::Restart]
    }

    pub(super) fn opened(&mut self, header: StreamHeader) -> Vec<Task> {
        if !matches!(self.state, State::Header) {
            return self
                .close(Some(&StreamError::new(StreamCondition::BadFormat).with_text("a stream within a stream")));
        }
        let judged = header::judge(&header, ns::CLIENT).map_err(StreamError::from);
        let domain = judged.and_then(|()| self.find_domain(header.to.as_deref()));
        let (name, mechanisms) = match domain {
            Ok(domain) => domain,
            Err(error) => return self.close(Some(&error)),
        };
        let from = header.from.as_deref().and_then(|from| Jid::lenient(from).ok());
        if self.config.sasl2 && from.as_ref().is_some_and(|from| from.domain() != name) {
            // XEP-0388 §2.1.
            return self.close(Some(&StreamError::new(StreamCondition::InvalidFrom)));
        }
        // In the open it says nothing that counts.
        let from = from.filter(|from| from.local().is_some() && self.may_authenticate());
        self.from = from.map(|from| from.to_bare());
        let mut out = Vec::with_capacity(512);
        // RFC 6120 §4.7.2: `to` answers a `from`.
        let to = header.from.as_deref().filter(|from| Jid::lenient(from).is_ok());
        self.write_header(&name, to, header.lang.as_deref(), &mut out);

        out.extend_from_slice(b"<stream:features>");
        let mut features = Writer::with_buffer(ns::CLIENT, out);
        if self.user.is_some() {
            self.write_features(false, false, &mut features);
        } else {
            if !self.secured && self.config.tls {
                features.open("starttls", ns::TLS);
                if !self.config.plaintext {
                    features.open("required", ns::TLS);
                    features.close();
                }
                features.close();
            }
            if self.may_authenticate() {
                self.offer_sasl(&name, mechanisms.clone(), &mut features);
                self.config.features.0.iter().for_each(|feature| features.element(feature.root()));
            }
            if self.receives_newcomers(&mechanisms) {
                self.config.newcomers.features.iter().for_each(|feature| features.element(feature.root()));
            }
            self.config.limits.0.write(&mut features);
        }
        let mut out = features.finish();
        out.extend_from_slice(b"</stream:features>");
        self.domain = Some((name, mechanisms));
        self.state = State::Features;
        vec![Task::Send(out)]
    }

    /// The features of an authenticated stream.
    pub(super) fn write_features(&self, bound: bool, managed: bool, features: &mut Writer) {
        if !bound {
            features.open("bind", ns::BIND);
            features.close();
            // RFC 6121 made it a no-op; clients of RFC 3921 still look for it.
            features.open("session", ns::SESSION);
            features.open("optional", ns::SESSION);
            features.close();
            features.close();
        }
        if self.config.management {
            // xmpp.js takes the offer for an invitation to enable it once more.
            if !managed {
                Sm.write(features);
            }
            features.open("csi", CSI);
            features.close();
        }
        self.config.limits.1.write(features);
        self.config.features.1.iter().for_each(|feature| features.element(feature.root()));
    }

    fn may_authenticate(&self) -> bool {
        self.secured || self.config.plaintext
    }

    /// RFC 6120 §4.9.3.6: a domain that is served. After a restart it must be the same.
    fn find_domain(&self, to: Option<&str>) -> Result<(String, Vec<Mechanism>), StreamError> {
        let to = match to {
            Some(to) => Jid::lenient(to).map_err(|_| StreamError::new(StreamCondition::HostUnknown))?,
            None => {
                return Err(
                    StreamError::new(StreamCondition::ImproperAddressing).with_text("the stream header needs a to")
                );
            }
        };
        let known = self.config.domains.iter().find(|(domain, _)| domain == to.as_str());
        match (known, &self.domain, &self.user) {
            (Some((name, _)), Some((before, _)), Some(_)) if name != before => {
                Err(StreamError::new(StreamCondition::NotAuthorized)
                    .with_text("the user was authenticated for another domain"))
            }
            (Some(known), ..) => Ok(known.clone()),
            (None, ..) => Err(StreamError::new(StreamCondition::HostUnknown)),
        }
    }

    pub(super) fn write_header(&mut self, from: &str, to: Option<&str>, lang: Option<&str>, out: &mut Vec<u8>) {
        let id = (self.entropy.0)();
        let lang = lang.unwrap_or(&self.config.lang);
        Header { content_ns: ns::CLIENT, from: Some(from), to, id: Some(&id), lang: Some(lang) }.write(out);
        self.header_sent = true;
    }

    fn offer_sasl(&mut self, domain: &str, mechanisms: Vec<Mechanism>, out: &mut Writer) {
        let sasl = self.sasl.get_or_insert_with(|| {
            let mut policy = ServerPolicy::new(domain, Arc::clone(&self.config.secret));
            policy.mechanisms = mechanisms;
            policy.secured = self.secured;
            policy.bindings = self.bindings.clone();
            let certified = self.certified.iter().filter(|account| account.domain() == domain);
            policy.external = certified.map(|account| account.as_str().to_owned()).collect();
            policy.iterations = self.config.iterations;
            policy.max_failures = self.config.auth_attempts;
            if self.config.sasl2 && self.config.tokens.is_some() {
                policy.tokens = Mechanism::TOKEN.to_vec();
            }
            ServerSasl::new(policy)
        });
        out.open("mechanisms", ns::SASL);
        for mechanism in sasl.offered() {
            out.text_element("mechanism", ns::SASL, mechanism.name());
        }
        out.close();
        let bindings = sasl.bindings();
        if !bindings.is_empty() {
            out.open("sasl-channel-binding", SASL_CB);
            for binding in bindings {
                out.open("channel-binding", SASL_CB);
                out.attr("type", binding.name());
                out.close();
            }
            out.close();
        }
        if let Some(sasl) = &self.sasl {
            self.offer_sasl2(sasl, out);
        }
    }

    pub(super) fn starttls(&mut self) -> Vec<Task> {
        if !self.config.tls || self.secured || self.user.is_some() || !matches!(self.state, State::Features) {
            // RFC 6120 §5.4.2.2: the failure closes the stream.
            let mut tasks = vec![Task::Send(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec())];
            tasks.extend(self.close(None));
            return tasks;
        }
        self.state = State::Tls;
        // What was negotiated in the open counts for nothing (§5.4.3.3).
        self.sasl = None;
        self.domain = None;
        vec![Task::Send(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec()), Task::StartTls]
    }
}
