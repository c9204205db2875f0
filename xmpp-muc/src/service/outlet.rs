//! How what rooms say leaves them.

use crate::room::Delivery;
#[cfg(feature = "client")]
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use xmpp_core::{
    BoxFuture,
    server::{Decision, ServerCell, Verdict},
};
#[cfg(feature = "client")]
use xmpp_core::{client::Component, xml::ns};

/// Takes what rooms say.
#[derive(Clone)]
pub(super) enum Outlet {
    /// The server that the service is part of: it takes everything at once.
    Server(ServerCell),
    /// A component of somebody else's server, once it is served.
    #[cfg(feature = "client")]
    Component(Arc<OnceLock<Component>>),
    /// A test.
    #[cfg(test)]
    Kept(std::sync::Arc<std::sync::Mutex<Vec<Delivery>>>),
}

impl Outlet {
    /// Sends to all recipients.
    pub(super) async fn send(&self, deliveries: &[Delivery]) {
        match self {
            #[cfg(test)]
            Outlet::Kept(kept) => {
                kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend_from_slice(deliveries)
            }
            Outlet::Server(server) => {
                let Some(server) = server.get() else { return };
                for delivery in deliveries {
                    server.send_to_each(&delivery.from, &delivery.to, &delivery.stanza);
                }
            }
            #[cfg(feature = "client")]
            Outlet::Component(component) => {
                let Some(component) = component.get() else { return };
                for delivery in deliveries {
                    for to in &delivery.to {
                        let stanza = delivery.stanza.rewrite(ns::CLIENT).to(Some(to.as_str())).to_stanza();
                        if let Err(error) = component.send(stanza).await {
                            tracing::warn!(%to, "a stanza of a room was not sent: {error}");
                        }
                    }
                }
            }
        }
    }

    /// Sends what comes behind an answer, or before it where that takes time: so that nothing overtakes it. Answers what is
    /// left for after the answer.
    pub(super) async fn send_behind(self, deliveries: Vec<Delivery>) -> impl FnOnce() + Send + 'static {
        let at_once = matches!(self, Outlet::Server(_));
        if !at_once {
            self.send(&deliveries).await;
        }
        move || {
            if let (true, Outlet::Server(server)) = (at_once, self)
                && let Some(server) = server.get()
            {
                for delivery in deliveries {
                    server.send_to_each(&delivery.from, &delivery.to, &delivery.stanza);
                }
            }
        }
    }
}

/// Where nothing has to be waited for, nobody waits.
pub(super) fn at_once(mut verdict: BoxFuture<'static, Verdict>) -> Decision {
    match verdict.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => Decision::Ready(verdict),
        Poll::Pending => Decision::Wait(verdict),
    }
}
