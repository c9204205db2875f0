//! A service inside the process with a domain of its own, as a component outside would have: rooms, uploads, proxies.

use super::{Decision, Envelope, Interceptor, Kinds, Server, ServerCell, Verdict};
use crate::{
    extension::{self, IqContext, IqOutcome, Registrar, Software, Target},
    payload::disco::Identity,
    stanza::{StanzaError, StanzaKind},
};
use std::ops::{Deref, DerefMut};

/// Where a service registers what it answers and takes at the addresses of its domain; made by
/// [`ServerRegistrar::service`](super::ServerRegistrar::service).
///
/// It is a [`Registrar`] too. In it [`Target::Server`] is the service's domain and [`Target::Account`] any
/// `local@domain` (a room, say); the other targets do not occur. Ping, version, time and service discovery of the
/// domain come by themselves; a handler of the service's own for one of them goes first.
///
/// A stanza comes here when its sender's stages are behind it ([`Stage::Locate`](super::Stage::Locate)). What the
/// service sends, from any address of its domain, goes by [`Server::send`].
pub struct ServiceRegistrar {
    domain: String,
    registrar: Registrar,
    handlers: Vec<(Kinds, Interceptor)>,
    server: ServerCell,
}

impl std::fmt::Debug for ServiceRegistrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceRegistrar").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Deref for ServiceRegistrar {
    type Target = Registrar;
    fn deref(&self) -> &Registrar {
        &self.registrar
    }
}

impl DerefMut for ServiceRegistrar {
    fn deref_mut(&mut self) -> &mut Registrar {
        &mut self.registrar
    }
}

impl ServiceRegistrar {
    pub(super) fn new(domain: &str, server: ServerCell) -> ServiceRegistrar {
        ServiceRegistrar { domain: domain.to_owned(), registrar: Registrar::default(), handlers: Vec::new(), server }
    }

    /// The domain, as it was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Gives stanzas of these kinds, to any address of the domain, to `handler`, except for iq requests that a
    /// registered iq handler answers. Its verdict is a [station](super::Station)'s: after `Continue` the next handler
    /// is asked, and what none takes is refused with `service-unavailable`. After [`Decision::Wait`] there is no next;
    /// the other decisions that wait count as that.
    pub fn stanzas<D: Into<Decision>>(
        &mut self,
        kinds: Kinds,
        handler: impl Fn(&mut Envelope, &Server) -> D + Send + Sync + 'static,
    ) {
        self.handlers.push((kinds, std::sync::Arc::new(move |envelope, server| handler(envelope, server).into())));
    }

    /// The server being made, for handlers that are called once it runs.
    pub fn server(&self) -> ServerCell {
        self.server.clone()
    }

    /// The name for people that service discovery tells.
    pub(super) fn name(&self) -> Option<&str> {
        self.registrar.server.identities.first().and_then(|identity| identity.name.as_deref())
    }

    pub(super) fn finish(mut self, software: Option<Software>) -> Service {
        if self.registrar.server.identities.is_empty() {
            self.registrar.identity(Target::Server, Identity::new("component", "generic", None));
        }
        extension::core_services(&mut self.registrar, software);
        extension::register_disco(&mut self.registrar);
        Service { registrar: self.registrar, handlers: self.handlers }
    }
}

/// A service at work.
pub(crate) struct Service {
    registrar: Registrar,
    handlers: Vec<(Kinds, Interceptor)>,
}

impl Service {
    pub(super) fn receive(&self, envelope: &mut Envelope, server: &Server) -> Decision {
        if let Some(answer) = self.answer(envelope) {
            return answer;
        }
        let kind = envelope.kind();
        for (_, handler) in self.handlers.iter().filter(|(kinds, _)| kinds.contain(kind)) {
            match handler(envelope, server) {
                Decision::Ready(Verdict::Continue) => {}
                Decision::Wait(verdict) | Decision::InOrder(verdict) | Decision::Meanwhile(verdict) => {
                    let otherwise = unclaimed(envelope);
                    return Decision::Wait(Box::pin(async move {
                        match verdict.await {
                            Verdict::Continue => otherwise,
                            verdict => verdict,
                        }
                    }));
                }
                decided => return decided,
            }
        }
        unclaimed(envelope).into()
    }

    /// A request that an iq handler is registered for.
    fn answer(&self, envelope: &Envelope) -> Option<Decision> {
        let to = envelope.to().filter(|to| to.resource().is_none())?;
        let is_request = envelope.kind() == StanzaKind::Iq && matches!(envelope.type_str().as_ref(), "get" | "set");
        let target = if to.local().is_none() { Target::Server } else { Target::Account };
        if !is_request || !self.registrar.iqs.knows(envelope.stanza().root(), target) {
            return None;
        }
        let cx = IqContext {
            from: Some(envelope.from().clone()),
            to: Some(to.clone()),
            target,
            stanza: envelope.stanza().clone(),
            origin: None,
        };
        Some(match self.registrar.iqs.dispatch(cx) {
            IqOutcome::Ready(answer) => Verdict::from(answer).into(),
            IqOutcome::Wait(answer) => Decision::Wait(Box::pin(async move { answer.await.into() })),
        })
    }
}

fn unclaimed(envelope: &Envelope) -> Verdict {
    match (envelope.kind(), envelope.type_str().as_ref()) {
        (StanzaKind::Presence, _) | (StanzaKind::Message, "headline") => Verdict::Drop("nobody to deliver to"),
        _ => Verdict::Reject(StanzaError::service_unavailable()),
    }
}
