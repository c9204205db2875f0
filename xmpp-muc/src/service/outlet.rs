//! How what rooms say leaves them.

use super::rooms::Visit;
use crate::room::Delivery;
#[cfg(feature = "client")]
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use tokio::{runtime::Handle, task::yield_now};
use xmpp_core::{
    BoxFuture,
    server::{Decision, Server, ServerCell, Verdict},
};
#[cfg(feature = "client")]
use xmpp_core::{client::Component, xml::ns};

/// Stanzas, a recipient of each, that are sent without letting others of the process have their turn.
const AT_ONCE: usize = 20_000;

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
                if deliveries.iter().map(|delivery| delivery.to.len()).sum::<usize>() <= AT_ONCE {
                    hand_over(&server, deliveries);
                } else {
                    // All of it is sent, even if whoever waits for that gives up.
                    let _ = tokio::spawn(hand_over_slowly(server, deliveries.to_vec())).await;
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
        if let (Outlet::Server(server), [to]) = (self, part.to.iter().collect::<Vec<_>>().as_slice())
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
        let mut behind = Behind { deliveries, server: None, visit: Some(visit) };
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
    /// The room, until this is dropped.
    pub(super) visit: Option<Visit>,
}

impl Drop for Behind {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        let count = self.deliveries.iter().map(|delivery| delivery.to.len()).sum::<usize>();
        match Handle::try_current() {
            Ok(runtime) if count > AT_ONCE => {
                let (deliveries, visit) = (std::mem::take(&mut self.deliveries), self.visit.take());
                runtime.spawn(async move {
                    hand_over_slowly(server, deliveries).await;
                    drop(visit);
                });
            }
            _ => hand_over(&server, &self.deliveries),
        }
    }
}

fn hand_over(server: &Server, deliveries: &[Delivery]) {
    for delivery in deliveries {
        server.send_to_each(&delivery.from, &delivery.to, &delivery.stanza);
    }
}

/// What many are told of many: others have their turn in between.
async fn hand_over_slowly(server: Server, deliveries: Vec<Delivery>) {
    let mut sent = 0_usize;
    for delivery in deliveries {
        server.send_to_each(&delivery.from, &delivery.to, &delivery.stanza);
        sent = sent.saturating_add(delivery.to.len());
        if sent >= AT_ONCE {
            sent = 0;
            yield_now().await;
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
