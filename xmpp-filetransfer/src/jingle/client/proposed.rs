//! A session that somebody proposes to our account, and that a device of ours may take.

use super::{Invitation, SessionError, desk::Desk};
use crate::jingle::Reason;
use std::sync::Arc;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};
use xmpp_core::{jid::Jid, xml::Stanza};

/// What becomes of a proposal before anybody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The application hears of it, and the contact hears that a device rings (§3.2): for those who see our presence.
    Ring,
    /// The application hears of it. The contact does not learn that anybody is there before the user wants that (§6).
    Quiet,
    /// Nobody hears of it.
    Ignore,
}

/// Why nobody is to ring any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Withdrawal {
    /// The contact has taken it back (§3.3), or there were too many others.
    Retracted(Option<Reason>),
    /// Another device of ours has taken it.
    TakenElsewhere,
    /// Another device of ours has rejected it, for all.
    RejectedElsewhere,
    /// The contact says that it is over.
    Finished(Option<Reason>),
    /// It has rung for too long.
    TimedOut,
    /// Our session with the server is lost.
    Lost,
}

/// Why a proposal was not taken after all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProceedError {
    /// It is no longer to be had.
    #[error("the proposal is no longer to be had: {0:?}")]
    Withdrawn(Withdrawal),
    /// The contact has not begun the session in good time.
    #[error("the session has not begun in good time")]
    TimedOut,
    /// The message was not sent.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A session that is proposed. Dropped, this device does not ring any more, and nobody hears of that.
#[derive(Debug)]
pub struct Proposed {
    pub(super) desk: Arc<Desk>,
    pub(super) id: String,
    pub(super) from: Jid,
    pub(super) descriptions: Vec<Stanza>,
    pub(super) admission: Admission,
    pub(super) withdrawn: watch::Receiver<Option<Withdrawal>>,
    pub(super) deadline: Instant,
    pub(super) done: bool,
}

impl Proposed {
    /// The id that the session will have.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who wants it.
    pub fn from(&self) -> &Jid {
        &self.from
    }

    /// What for: a description of each medium.
    pub fn descriptions(&self) -> &[Stanza] {
        &self.descriptions
    }

    /// What was said of it when it came.
    pub fn admission(&self) -> Admission {
        self.admission
    }

    /// Tells the contact that this device rings (§3.2), and so that it is there. For what was [admitted](Admission::Ring) to
    /// ring that is done.
    ///
    /// # Errors
    /// [`SessionError::Offline`], [`SessionError::Request`] if it cannot be sent.
    pub async fn ring(&self) -> Result<(), SessionError> {
        let said = self.desk.bell.with(|known| known.ring(&self.id));
        self.desk.say(said).await
    }

    /// Waits until it is no longer to be had. Cancel-safe.
    pub async fn withdrawn(&mut self) -> Withdrawal {
        let over = self.withdrawn.wait_for(Option::is_some);
        let withdrawal = match tokio::time::timeout_at(self.deadline, over).await {
            Ok(withdrawal) => withdrawal.ok().and_then(|it| it.clone()).unwrap_or(Withdrawal::Lost),
            Err(_) => Withdrawal::TimedOut,
        };
        self.forget();
        withdrawal
    }

    /// Takes it on this device (§3.4), and waits until the contact has begun the session: that is to be accepted now. When it
    /// ends, so does the proposal (§3.7).
    ///
    /// # Errors
    /// [`ProceedError`]: it is over then.
    pub async fn proceed(mut self) -> Result<Invitation, ProceedError> {
        let (begin, invitation) = oneshot::channel();
        let said = self.desk.bell.proceed(&self.id, begin);
        let mut gone = self.withdrawn.clone();
        let Some(said) = said else {
            let withdrawal = gone.borrow_and_update().clone();
            return Err(ProceedError::Withdrawn(withdrawal.unwrap_or(Withdrawal::TimedOut)));
        };
        self.desk.say(Some(said)).await?;
        let patience = self.desk.settings.patience;
        match timeout(patience, invitation).await {
            Ok(Ok(invitation)) => {
                self.done = true;
                Ok(invitation)
            }
            Ok(Err(_)) => {
                let withdrawal = gone.borrow_and_update().clone();
                Err(ProceedError::Withdrawn(withdrawal.unwrap_or(Withdrawal::Lost)))
            }
            Err(_) => Err(ProceedError::TimedOut),
        }
    }

    /// Rejects it, on all our devices (§3.5). Other reasons than `busy` may tell more than is wise (§6).
    ///
    /// # Errors
    /// [`SessionError::Offline`], [`SessionError::Request`] if it cannot be sent.
    pub async fn reject(mut self, reason: Reason) -> Result<(), SessionError> {
        self.done = true;
        let said = self.desk.bell.reject(&self.id, reason);
        self.desk.say(said).await
    }

    /// It is not known here any more. What was taken and has not begun is finished.
    fn forget(&mut self) {
        if !std::mem::replace(&mut self.done, true) {
            self.desk.put_down(&self.id);
        }
    }
}

impl Drop for Proposed {
    fn drop(&mut self) {
        self.forget();
    }
}
