//! The server names them to its own users.

use super::{Credentials, Service, Services};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use xmpp_core::{
    extension::{IqContext, Target},
    jid::BareJid,
    payload::DateTime,
    server::{ServerCell, ServerRegistrar},
    stanza::StanzaError,
};

/// A service as it is set up.
#[derive(Clone)]
pub struct ExternalService {
    service: Service,
    secret: Option<String>,
    lifetime: Duration,
}

impl std::fmt::Debug for ExternalService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalService").field("service", &self.service).finish_non_exhaustive()
    }
}

impl ExternalService {
    /// Of a type (`stun`, `turn`, …), at a host.
    pub fn new(type_: impl Into<String>, host: impl Into<String>) -> ExternalService {
        let service = Service { type_: type_.into(), host: host.into(), ..Service::default() };
        ExternalService { service, secret: None, lifetime: Duration::from_secs(86_400) }
    }

    /// At this port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.service.port = Some(port);
        self
    }

    /// Over `udp` or `tcp`.
    #[must_use]
    pub fn transport(mut self, transport: impl Into<String>) -> Self {
        self.service.transport = Some(transport.into());
        self
    }

    /// With a secret that is shared with the TURN server (`static-auth-secret` of coturn): users get credentials of
    /// their own by the usual scheme, a name that begins with the time they end, and its HMAC-SHA-1.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// For how long they are good; a day unless set.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// What `user` is told at a time, in seconds since 1970.
    fn offered_to(&self, user: &BareJid, now: u64) -> Service {
        let mut service = self.service.clone();
        let Some(secret) = &self.secret else { return service };
        let until = now.saturating_add(self.lifetime.as_secs());
        // The TURN server can tell users apart, and does not learn who they are.
        let pseudonym: String = sign(secret, user.as_str()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let username = format!("{until}:{pseudonym}");
        service.password = Some(STANDARD.encode(sign(secret, &username)));
        service.username = Some(username);
        service.restricted = Some(true);
        service.expires = i64::try_from(until).ok().and_then(|until| DateTime::from_unix(until, 0));
        service
    }
}

fn sign(secret: &str, text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Names services to users who are logged in here; others are refused with `forbidden`.
pub fn server(services: Vec<ExternalService>) -> impl FnOnce(&mut ServerRegistrar) {
    let services: Arc<[ExternalService]> = services.into();
    move |r| {
        let (one, other) = (r.server(), r.server());
        let chosen = Arc::clone(&services);
        r.iq_get::<Services, _>(Target::Server, move |cx, query| {
            let (user, now) = asker(&cx, &one)?;
            let services =
                services.iter().filter(|one| query.type_.as_ref().is_none_or(|kind| one.service.type_ == *kind));
            let services = services.map(|one| one.offered_to(&user, now)).collect();
            Ok(Services { type_: query.type_, services })
        });
        r.iq_get::<Credentials, _>(Target::Server, move |cx, query| {
            let (user, now) = asker(&cx, &other)?;
            let [asked] = query.services.as_slice() else { return Err(StanzaError::bad_request()) };
            let meant = chosen.iter().filter(|one| {
                let service = &one.service;
                let port = asked.port.is_none() || asked.port == service.port;
                one.secret.is_some() && service.host == asked.host && service.type_ == asked.type_ && port
            });
            let services: Vec<Service> = meant.map(|one| one.offered_to(&user, now)).collect();
            if services.is_empty() { Err(StanzaError::item_not_found()) } else { Ok(Credentials { services }) }
        });
    }
}

fn asker(cx: &IqContext, server: &ServerCell) -> Result<(BareJid, u64), StanzaError> {
    let from = cx.from.as_ref().ok_or_else(StanzaError::forbidden)?;
    let server = server.get().ok_or_else(StanzaError::service_unavailable)?;
    if from.local().is_none() || !server.hosts(from.domain()) {
        return Err(StanzaError::forbidden());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| StanzaError::internal_server_error())?;
    Ok((from.to_bare(), now.as_secs()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rfc2202_3_case_2_the_signature_is_hmac_sha1() {
        let digest = sign("Jefe", "what do ya want for nothing?");
        assert_eq!(STANDARD.encode(digest), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    }

    #[test]
    fn abuse_a090_credentials_are_of_one_user_and_end() {
        let service = ExternalService::new("turn", "turn.example.org").secret("s").lifetime(Duration::from_secs(60));
        let (one, other) = (BareJid::new("a@example.org").unwrap(), BareJid::new("b@example.org").unwrap());
        let offered = service.offered_to(&one, 1_000);
        let name = offered.username.clone().unwrap();
        assert!(name.starts_with("1060:") && !name.contains("example"), "{name}");
        assert_eq!(offered.expires, DateTime::from_unix(1_060, 0));
        assert_eq!(offered.password, Some(STANDARD.encode(sign("s", &name))));
        assert_ne!(service.offered_to(&other, 1_000).username, offered.username);
        assert_ne!(service.offered_to(&one, 1_001).password, offered.password);
        assert!(!format!("{service:?}").contains("\"s\""), "no secret in logs");
    }
}
