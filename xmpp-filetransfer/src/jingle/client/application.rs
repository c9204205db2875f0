//! What sessions are for.

use super::{Admission, JingleSession, Proposed, SessionEvents};
use crate::jingle::{Content, JingleError, propose};
use std::panic::{AssertUnwindSafe, catch_unwind};
use xmpp_core::{
    jid::{FullJid, Jid},
    xml::Stanza,
};

type Take = Box<dyn Fn(Invitation) + Send + Sync>;
type Admit = Box<dyn Fn(&FullJid, &[Content]) -> Result<(), JingleError> + Send + Sync>;
type Hear = Box<dyn Fn(Proposed) + Send + Sync>;
type AdmitProposal = Box<dyn Fn(&Jid, &[Stanza]) -> Admission + Send + Sync>;

/// An application that takes sessions, by the namespace of its descriptions.
pub struct Application {
    pub(super) namespace: String,
    pub(super) transports: Vec<String>,
    pub(super) infos: Vec<String>,
    pub(super) exclusive: bool,
    pub(super) admit: Option<Admit>,
    pub(super) take: Take,
    pub(super) hear: Option<Hear>,
    admit_proposal: AdmitProposal,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Application {
    /// Gives what is asked for to `take`, when that has been acknowledged. It must not block; an invitation that it drops is
    /// declined.
    pub fn new(namespace: impl Into<String>, take: impl Fn(Invitation) + Send + Sync + 'static) -> Application {
        Application {
            namespace: namespace.into(),
            transports: Vec::new(),
            infos: Vec::new(),
            exclusive: false,
            admit: None,
            take: Box::new(take),
            hear: None,
            admit_proposal: Box::new(|_, _| Admission::Quiet),
        }
    }

    /// A transport that it can go by. Where some are named, a session of which no content goes by one is terminated
    /// (`unsupported-transports`).
    #[must_use]
    pub fn transport(mut self, namespace: impl Into<String>) -> Application {
        self.transports.push(namespace.into());
        self
    }

    /// A namespace of information that it [understands](crate::jingle::Session::understand) (§6.8).
    #[must_use]
    pub fn info(mut self, namespace: impl Into<String>) -> Application {
        self.infos.push(namespace.into());
        self
    }

    /// Any two sessions with a peer are to the same purpose, as calls are: of two that ask for each other at the same time, one
    /// is refused (§7.2.16).
    #[must_use]
    pub fn exclusive(mut self) -> Application {
        self.exclusive = true;
        self
    }

    /// Asks `admit` before anything is acknowledged: whom nothing is taken from gets [`JingleError::Unavailable`], and
    /// who is to ask elsewhere [`JingleError::Redirect`] (§6.3.2). It must not block.
    #[must_use]
    pub fn admit(
        mut self,
        admit: impl Fn(&FullJid, &[Content]) -> Result<(), JingleError> + Send + Sync + 'static,
    ) -> Application {
        self.admit = Some(Box::new(admit));
        self
    }

    /// Gives what is proposed to all devices of the account (XEP-0353) to `hear`, which must not block. Without this nobody
    /// rings. The client then also asks for copies of what its other devices send (XEP-0280).
    #[must_use]
    pub fn proposals(mut self, hear: impl Fn(Proposed) + Send + Sync + 'static) -> Application {
        self.hear = Some(Box::new(hear));
        self
    }

    /// Asks `admit` what becomes of a proposal, by who makes it and its descriptions. Unless it is set, the contact learns
    /// nothing before the user wants that ([`Admission::Quiet`]), as every answer tells that somebody is there (XEP-0353 §6). It must
    /// not block.
    #[must_use]
    pub fn admit_proposals(
        mut self,
        admit: impl Fn(&Jid, &[Stanza]) -> Admission + Send + Sync + 'static,
    ) -> Application {
        self.admit_proposal = Box::new(admit);
        self
    }

    pub(super) fn admits(&self, from: &Jid, descriptions: &[Stanza]) -> Admission {
        let admission = catch_unwind(AssertUnwindSafe(|| (self.admit_proposal)(from, descriptions)));
        admission.unwrap_or_else(|_| {
            tracing::error!(application = %self.namespace, "what admits proposals panicked");
            Admission::Ignore
        })
    }

    pub(super) fn hears(&self, proposed: Proposed) {
        let Some(hear) = &self.hear else { return };
        if catch_unwind(AssertUnwindSafe(|| hear(proposed))).is_err() {
            tracing::error!(application = %self.namespace, "what hears proposals panicked");
        }
    }

    /// What service discovery says of it.
    pub(super) fn features(&self) -> impl Iterator<Item = &str> {
        let proposals = self.hear.is_some().then_some(propose::NS);
        std::iter::once(&self.namespace).chain(&self.transports).map(String::as_str).chain(proposals)
    }
}

/// Somebody asks for a session. It was acknowledged; it is to be accepted or terminated.
#[derive(Debug)]
pub struct Invitation {
    /// The session.
    pub session: JingleSession,
    /// What becomes of it.
    pub events: SessionEvents,
    /// What else was said when it was asked for, such as how contents belong together.
    pub others: Vec<Stanza>,
    /// The id of a session with the same contact that this one goes on with (XEP-0353 §4.2), and that has ended by
    /// [`Migrated`](crate::jingle::Ending::Migrated): the user has taken that one, and is not to be asked again.
    pub resumes: Option<String>,
}
