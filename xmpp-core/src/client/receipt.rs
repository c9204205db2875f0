//! What becomes of a stanza on its way to the server, for who wants to know of one.

use tokio::sync::watch;

/// How far a stanza has come on its way to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handover {
    /// The client has taken it over, and has not heard of it.
    #[default]
    Waiting,
    /// The server has it: it has said so (XEP-0198 §4).
    Acknowledged,
    /// The connection has taken it. There is no stream management, so that more will not be known.
    Written,
    /// The session was lost, and it may have arrived or not. It is in an [`Event::Unacknowledged`](super::Event).
    Doubtful,
    /// The client has ended, and it has not been sent. It is in an [`Event::Unacknowledged`](super::Event).
    Unsent,
}

/// Tells what becomes of a stanza that was sent with [`Client::send_followed`](super::Client::send_followed). What is sent
/// again, because the session was resumed or because the lost connection had not taken it, is still the same; what the
/// application sends again is another.
#[derive(Clone, Debug)]
pub struct Receipt(watch::Receiver<Handover>);

/// The other end of it.
#[derive(Debug)]
pub(super) struct ReceiptSender(watch::Sender<Handover>);

pub(super) fn receipt() -> (ReceiptSender, Receipt) {
    let (sender, receiver) = watch::channel(Handover::Waiting);
    (ReceiptSender(sender), Receipt(receiver))
}

impl ReceiptSender {
    pub(super) fn tell(self, handover: Handover) {
        self.0.send_replace(handover);
    }
}

impl Receipt {
    /// What is known now.
    pub fn now(&self) -> Handover {
        *self.0.borrow()
    }

    /// Waits for what has become of it; nothing changes after that. It is [`Handover::Waiting`] still if nobody here will ever
    /// know: the session was saved for another process ([`Client::suspend`](super::Client::suspend)), or the client's task was
    /// ended from outside. Cancel-safe.
    pub async fn settled(&mut self) -> Handover {
        match self.0.wait_for(|handover| *handover != Handover::Waiting).await {
            Ok(handover) => *handover,
            Err(_) => Handover::Waiting,
        }
    }
}
