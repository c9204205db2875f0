//! How what rooms say leaves them.

use crate::room::Delivery;
use std::task::{Context, Poll, Waker};
use xmpp_core::{
    BoxFuture,
    server::{Decision, ServerCell, Verdict},
};

/// Takes what a room sends.
pub(super) trait Outlet: Send + Sync + 'static {
    /// Sends it to each of its recipients.
    fn send(&self, delivery: &Delivery);
}

/// Into the server that the service is part of.
pub(super) struct OfServer(pub(super) ServerCell);

impl Outlet for OfServer {
    fn send(&self, delivery: &Delivery) {
        if let Some(server) = self.0.get() {
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
