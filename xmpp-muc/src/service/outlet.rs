//! How what rooms say leaves them.

use super::rooms::Visit;
use crate::room::Delivery;
#[cfg(feature = "client")]
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use xmpp_core::{
    BoxFuture,
    server::{Decision, Server, ServerCell, Verdict},
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
                let Some(component) = component.get().cloned() else { return };
                let deliveries = deliveries.to_vec();
                // All of it is sent, even if whoever waits for that gives up.
                let sending = tokio::spawn(async move {
                    for delivery in deliveries {
                        for to in &delivery.to {
                            let stanza = delivery.stanza.rewrite(ns::CLIENT).to(Some(to.as_str())).to_stanza();
                            if let Err(error) = component.send(stanza).await {
                                tracing::warn!(%to, "a stanza of a room was not sent: {error}");
                            }
                        }
                    }
                });
                let _ = sending.await;
            }
        }
    }

    /// Sends a part of an answer that is still to come. Where the asker is here it goes straight into the session, as the
    /// answer does: on the route it might have to wait, and the answer would overtake it.
    pub(super) async fn send_before(&self, part: Delivery) {
        if let (Outlet::Server(server), [to]) = (self, part.to.as_slice())
            && let Some(server) = server.get()
            && server.hand(part.from.clone(), to, part.stanza.clone())
        {
            return;
        }
        self.send(&[part]).await;
    }

    /// What comes behind an answer: when this is dropped, it is sent, and only then is it somebody else's turn in the room.
    /// Where sending takes time it is sent before the answer, so that nothing overtakes it.
    pub(super) async fn behind(self, deliveries: Vec<Delivery>, visit: Visit) -> Behind {
        let mut behind = Behind { deliveries, server: None, visit };
        match &self {
            Outlet::Server(server) => behind.server = server.get(),
            #[cfg(test)]
            Outlet::Kept(_) => self.send(&std::mem::take(&mut behind.deliveries)).await,
            #[cfg(feature = "client")]
            Outlet::Component(_) => {
                let deliveries = std::mem::take(&mut behind.deliveries);
                self.send(&deliveries).await;
            }
        }
        behind
    }
}

/// See [`Outlet::behind`].
pub(super) struct Behind {
    deliveries: Vec<Delivery>,
    server: Option<Server>,
    pub(super) visit: Visit,
}

impl Drop for Behind {
    fn drop(&mut self) {
        let Some(server) = &self.server else { return };
        for delivery in &self.deliveries {
            server.send_to_each(&delivery.from, &delivery.to, &delivery.stanza);
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
