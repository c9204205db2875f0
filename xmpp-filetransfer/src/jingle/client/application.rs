//! What sessions are for.

use super::{JingleSession, SessionEvents};
use crate::jingle::{Content, JingleError};
use xmpp_core::{jid::FullJid, xml::Stanza};

type Take = Box<dyn Fn(Invitation) + Send + Sync>;
type Admit = Box<dyn Fn(&FullJid, &[Content]) -> Result<(), JingleError> + Send + Sync>;

/// An application that takes sessions, by the namespace of its descriptions.
pub struct Application {
    pub(super) namespace: String,
    pub(super) transports: Vec<String>,
    pub(super) infos: Vec<String>,
    pub(super) exclusive: bool,
    pub(super) admit: Option<Admit>,
    pub(super) take: Take,
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

    /// What service discovery says of it.
    pub(super) fn features(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.namespace).chain(&self.transports).map(String::as_str)
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
}
