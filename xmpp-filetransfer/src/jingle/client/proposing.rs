//! A session that is proposed to an account, to be taken on one of its devices.

use super::{JingleSession, Opening, SessionError, SessionEvents, Sessions};
use crate::jingle::{Reason, propose::usual};
use tokio::{sync::mpsc, time::Instant};
use xmpp_core::{
    jid::{BareJid, FullJid, Jid},
    stanza::StanzaError,
};

/// What becomes of a proposal of ours.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProposalAnswer {
    /// A device of the contact rings (§3.2); there may be several.
    Ringing {
        /// Which.
        device: Jid,
    },
    /// A device of the contact takes it (§3.4): the session is to be asked for now, by [`Proposing::initiate`].
    Proceeded {
        /// Which.
        device: FullJid,
    },
    /// The contact does not want it (§3.5); or both have proposed, and theirs counts (§4.1).
    Rejected {
        /// Why.
        reason: Option<Reason>,
        /// Both have proposed at the same time.
        tie_break: bool,
    },
    /// The contact says that it is over.
    Finished {
        /// Why.
        reason: Option<Reason>,
    },
    /// There is no such account, or it takes nothing from us.
    Undelivered(StanzaError),
    /// Nobody has taken it in good time; it is taken back.
    TimedOut,
    /// Our session with the server is lost, and with it our address.
    Lost,
}

/// Why nobody has taken a proposal.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The contact does not want it, or has ended it.
    #[error("it is not wanted")]
    Rejected {
        /// Why.
        reason: Option<Reason>,
    },
    /// Both have proposed at the same time, and theirs counts.
    #[error("the contact has proposed the same at the same time")]
    TieBreak,
    /// There is no such account, or it takes nothing from us.
    #[error("it did not arrive: {0}")]
    Undelivered(StanzaError),
    /// Nobody has taken it in good time.
    #[error("nobody took it in good time")]
    TimedOut,
    /// Our session with the server is lost.
    #[error("the session with the server is lost")]
    Lost,
}

/// A session that we have proposed. Dropped, it is taken back, or finished if somebody has taken it.
#[derive(Debug)]
pub struct Proposing {
    pub(super) sessions: Sessions,
    pub(super) id: String,
    pub(super) contact: BareJid,
    pub(super) answers: mpsc::Receiver<ProposalAnswer>,
    pub(super) deadline: Instant,
    pub(super) device: Option<FullJid>,
    pub(super) over: bool,
}

impl Proposing {
    /// The id that the session will have.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// To whom it was proposed.
    pub fn contact(&self) -> &BareJid {
        &self.contact
    }

    /// What becomes of it; `None` when nothing more will. Time runs while it is awaited. Cancel-safe.
    pub async fn next(&mut self) -> Option<ProposalAnswer> {
        if self.over {
            return None;
        }
        let answer = tokio::select! {
            biased;
            answer = self.answers.recv() => answer,
            () = tokio::time::sleep_until(self.deadline), if self.device.is_none() => {
                self.take_back();
                Some(ProposalAnswer::TimedOut)
            }
        };
        match &answer {
            Some(ProposalAnswer::Ringing { .. }) => {}
            Some(ProposalAnswer::Proceeded { device }) => self.device = Some(device.clone()),
            _ => self.over = true,
        }
        answer
    }

    /// Waits until somebody takes it: the device. Cancel-safe.
    ///
    /// # Errors
    /// [`NotTaken`]; it is over then.
    pub async fn taken(&mut self) -> Result<FullJid, NotTaken> {
        if let Some(device) = self.device.clone().filter(|_| !self.over) {
            return Ok(device);
        }
        loop {
            return Err(match self.next().await {
                Some(ProposalAnswer::Ringing { .. }) => continue,
                Some(ProposalAnswer::Proceeded { device }) => return Ok(device),
                Some(ProposalAnswer::Rejected { tie_break: true, .. }) => NotTaken::TieBreak,
                Some(ProposalAnswer::Rejected { reason, .. } | ProposalAnswer::Finished { reason }) => {
                    NotTaken::Rejected { reason }
                }
                Some(ProposalAnswer::Undelivered(error)) => NotTaken::Undelivered(error),
                Some(ProposalAnswer::TimedOut) => NotTaken::TimedOut,
                Some(ProposalAnswer::Lost) | None => NotTaken::Lost,
            });
        }
    }

    /// Asks the device that has taken it for the session, under the same id (§3.6), and waits until that is acknowledged. When
    /// the session ends, so does the proposal (§3.7).
    ///
    /// # Errors
    /// [`SessionError::Misuse`] if nobody has [taken](Self::taken) it; else as [`Sessions::initiate`].
    pub async fn initiate(
        mut self,
        opening: impl Into<Opening>,
    ) -> Result<(JingleSession, SessionEvents), SessionError> {
        let device = self.device.clone().filter(|_| !self.over).ok_or(crate::jingle::Misuse::NotNow)?;
        let opening = Opening { sid: Some(self.id.clone()), ..opening.into() };
        self.sessions.desk.bell.begun(&self.id);
        let begun = self.sessions.initiate(device, opening).await;
        self.over = begun.is_ok();
        begun
    }

    /// Takes it back (§3.3). Other reasons than `cancel` may tell more than is wise (§6).
    pub fn retract(mut self, reason: Reason) {
        if !std::mem::replace(&mut self.over, true) {
            self.sessions.desk.withdraw(&self.id, reason);
        }
    }

    fn take_back(&mut self) {
        self.over = true;
        let reason = if self.device.is_some() { usual(None) } else { Reason::cancel() };
        self.sessions.desk.withdraw(&self.id, reason);
    }
}

impl Drop for Proposing {
    fn drop(&mut self) {
        if !self.over {
            self.take_back();
        }
    }
}
