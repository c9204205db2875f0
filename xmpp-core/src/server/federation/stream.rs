//! A stream that we opened, as others see it: what it is for, and what can be asked of it.

use super::bounce;
use crate::{
    net::Target,
    stanza::StanzaError,
    stream::s2s::{Answer, Pair, Verification},
};
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::{mpsc, oneshot};

/// Commands that wait for one stream.
pub(super) const COMMANDS: usize = 256;

/// A stream that we opened.
#[derive(Debug)]
pub(super) struct Stream {
    /// The domains in its header.
    pub(super) pair: Pair,
    /// Whether its own pair is authorised from the start, or it was opened to verify keys.
    pub(super) wanted: bool,
    commands: mpsc::Sender<Command>,
    /// Where it leads.
    pub(super) target: OnceLock<Target>,
    /// Why it could not be opened.
    pub(super) failure: OnceLock<StanzaError>,
    takes_targets: AtomicBool,
}

/// What can be asked of a stream.
#[derive(Debug)]
pub(super) enum Command {
    /// Have this pair authorised.
    Request(Pair, oneshot::Sender<Result<(), StanzaError>>),
    /// Verify a key.
    Verify(Verification, oneshot::Sender<Answer>),
}

impl Command {
    /// Whether nobody waits for the outcome any more.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Command::Request(_, waiting) => waiting.is_closed(),
            Command::Verify(_, waiting) => waiting.is_closed(),
        }
    }
}

/// Why a stream did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Unmet {
    /// The peer said no.
    Refused(StanzaError),
    /// The stream never came about.
    Failed(StanzaError),
    /// It came to its end.
    Gone,
}

impl Unmet {
    /// What senders are told.
    pub(super) fn told(self) -> StanzaError {
        match self {
            Unmet::Refused(error) | Unmet::Failed(error) => error,
            Unmet::Gone => bounce::ended(None),
        }
    }
}

impl Stream {
    /// A stream that is being opened, and what its driver will be asked.
    pub(super) fn new(pair: Pair, wanted: bool) -> (Stream, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (target, failure) = (OnceLock::new(), OnceLock::new());
        (Stream { pair, wanted, commands, target, failure, takes_targets: AtomicBool::new(false) }, receiver)
    }

    /// Whether further domains of the peer may be tried on it (XEP-0220 §2.6.2).
    pub(super) fn takes_targets(&self) -> bool {
        self.takes_targets.load(Ordering::Relaxed)
    }

    pub(super) fn set_takes_targets(&self, does: bool) {
        self.takes_targets.store(does, Ordering::Relaxed);
    }

    /// Has a pair authorised.
    pub(super) async fn request(&self, pair: &Pair) -> Result<(), Unmet> {
        self.ask(|waiting| Command::Request(pair.clone(), waiting)).await?.map_err(Unmet::Refused)
    }

    /// Has the peer say whether a key is its own.
    pub(super) async fn verify(&self, verification: &Verification) -> Result<Answer, Unmet> {
        self.ask(|waiting| Command::Verify(verification.clone(), waiting)).await
    }

    async fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> Command) -> Result<A, Unmet> {
        let (waiting, answer) = oneshot::channel();
        self.commands.send(command(waiting)).await.map_err(|_| self.unmet())?;
        answer.await.map_err(|_| self.unmet())
    }

    fn unmet(&self) -> Unmet {
        self.failure.get().cloned().map_or(Unmet::Gone, Unmet::Failed)
    }
}
