//! Binding while the client logs in (XEP-0386).

use super::{Accepted, Acceptor, Stage, State, Task};
use crate::{
    jid::{BareJid, FullJid},
    stanza::StanzaError,
    stream::sasl2::BIND2,
    xml::{ElementRef, Stanza},
};

/// What a client asks of a session that is bound while it logs in (XEP-0386 §3.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BindRequest {
    /// The account.
    pub user: BareJid,
    /// What the resource is to begin with.
    pub tag: Option<String>,
    /// The client, if it has said which installation it is.
    pub client: Option<String>,
    pub(super) request: Stanza,
}

impl BindRequest {
    /// The features that are to be enabled.
    pub fn features(&self) -> impl Iterator<Item = ElementRef<'_>> {
        let bind = self.request.root().child("bind", BIND2);
        bind.into_iter().flat_map(|bind| bind.children()).filter(|child| child.ns() != BIND2)
    }
}

/// A session that was bound while its client logged in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bound {
    /// Its full address.
    pub jid: FullJid,
    /// What the features say, as a [`Writer`](crate::xml::Writer) of the namespace `urn:xmpp:bind:0` has written it.
    pub features: Vec<u8>,
    /// Whether stream management is among them: it is then not offered any more.
    pub managed: bool,
}

impl Bound {
    /// A session with this address, and what its features say: elements as a [`Writer`](crate::xml::Writer) of the content namespace
    /// `urn:xmpp:bind:0` writes them.
    pub fn new(jid: FullJid, features: Vec<u8>) -> Bound {
        Bound { jid, features, managed: false }
    }
}

impl Acceptor {
    /// The answer to [`Task::Bind2`]. A refusal leaves the client authenticated: it may bind as of old.
    pub fn bound2(&mut self, bound: Result<Bound, StanzaError>) -> Vec<Task> {
        let (Some(Stage::Binding), Some((user, mechanism))) = (self.sasl2.as_ref().map(|run| &run.stage), &self.user)
        else {
            return Vec::new();
        };
        let (user, mechanism) = (user.clone(), *mechanism);
        let bound = match bound {
            Ok(bound) => bound,
            Err(_) => return self.sasl2_success(user.as_str(), None),
        };
        let user_agent = self.sasl2.as_ref().and_then(|run| run.request.agent.clone());
        let mut tasks = self.sasl2_success(bound.jid.as_str(), Some(&bound));
        let accepted = Accepted { user_agent, ..self.accepted(bound.jid, mechanism) };
        self.state = State::Bound;
        tasks.push(Task::Accepted(Box::new(accepted)));
        tasks
    }
}
