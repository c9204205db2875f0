//! Extensions of a client, and what they get besides iq handlers: hooks on what comes in, parts that handles are made of, the
//! start of sessions, and what goes along with presence.

use super::{Client, unacknowledged};
use crate::{
    extension::Registrar,
    jid::FullJid,
    stanza::AnyStanza,
    stream::Features,
    xml::{Writer, ns},
};
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::Arc,
};

pub(super) type SessionHook = Box<dyn Fn(&SessionStart<'_>, &Client) + Send + Sync>;
pub(super) type PresencePart = Box<dyn Fn(&mut Writer) + Send + Sync>;

/// A session has begun, or goes on over a new connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionStart<'a> {
    /// Our address in it.
    pub jid: &'a FullJid,
    /// It goes on (XEP-0198 §5): all that was enabled in it still is.
    pub resumed: bool,
    /// What the server offered to the authenticated stream.
    pub features: &'a Features,
}

/// What extensions have left with a client.
#[derive(Default)]
pub(super) struct Parts {
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    presence: Vec<PresencePart>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("parts", &self.by_type.len()).finish_non_exhaustive()
    }
}

impl Parts {
    pub(super) fn add<T: Any + Send + Sync>(&mut self, part: Arc<T>) {
        self.by_type.insert(TypeId::of::<T>(), part);
    }

    pub(super) fn add_to_presence(&mut self, part: PresencePart) {
        self.presence.push(part);
    }

    fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.by_type.get(&TypeId::of::<T>())?).downcast().ok()
    }

    /// Presence as it is sent: what says that we are available tells more about us.
    pub(super) fn complete(&self, stanza: Vec<u8>) -> Vec<u8> {
        if self.presence.is_empty() || !stanza.starts_with(b"<presence") {
            return stanza;
        }
        let Some(presence) = unacknowledged::parse(&stanza) else { return stanza };
        if presence.root().attr("type").is_some() {
            return stanza;
        }
        let parts = |out: &mut Writer| self.presence.iter().for_each(|part| part(out));
        let mut out = Vec::with_capacity(stanza.len() + 256);
        presence.rewrite(ns::CLIENT).append(&parts).write(&mut out);
        out
    }
}

/// Something that a client is extended with: a function or closure over a [`ClientRegistrar`], or over the plain
/// [`Registrar`] that servers have too. `M` only tells the two apart.
pub trait Extension<M> {
    /// Registers what the extension handles.
    fn register(self, registrar: &mut ClientRegistrar);
}

/// Marks extensions of clients.
#[derive(Debug)]
pub struct ForClient;
/// Marks extensions of either end.
#[derive(Debug)]
pub struct ForBoth;

impl<F: FnOnce(&mut ClientRegistrar)> Extension<ForClient> for F {
    fn register(self, registrar: &mut ClientRegistrar) {
        self(registrar);
    }
}

impl<F: FnOnce(&mut Registrar)> Extension<ForBoth> for F {
    fn register(self, registrar: &mut ClientRegistrar) {
        self(registrar);
    }
}

/// What becomes of an incoming stanza behind an extension's hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On to the next hook, and at last to the application.
    Continue,
    /// The extension has taken it.
    Handled,
}

pub(super) type Hook = Box<dyn Fn(&AnyStanza, &Client) -> Flow + Send + Sync>;

/// Where a client's extension registers: everything a [`Registrar`] takes, and hooks on what comes in.
#[derive(Default)]
pub struct ClientRegistrar {
    pub(super) registrar: Registrar,
    pub(super) hooks: Vec<Hook>,
    pub(super) session_hooks: Vec<SessionHook>,
    pub(super) parts: Parts,
    /// What is enabled while the session is bound, each with the name of its feature.
    pub(super) bind_features: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for ClientRegistrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientRegistrar").field("hooks", &self.hooks.len()).finish_non_exhaustive()
    }
}

impl Deref for ClientRegistrar {
    type Target = Registrar;
    fn deref(&self) -> &Registrar {
        &self.registrar
    }
}

impl DerefMut for ClientRegistrar {
    fn deref_mut(&mut self) -> &mut Registrar {
        &mut self.registrar
    }
}

impl ClientRegistrar {
    /// Enables a feature of each new session while it is bound (XEP-0386), where the server names the feature there:
    /// `write` writes the element that asks for it. It saves a round trip, and where the server does not, the extension
    /// has to ask as usual.
    pub fn bind_feature(&mut self, feature: &str, write: impl FnOnce(&mut Writer)) {
        let mut out = Writer::new("urn:xmpp:bind:0");
        write(&mut out);
        self.bind_features.push((feature.to_owned(), out.finish()));
    }

    /// Shows every incoming message and presence to `hook`, in order, before the application sees it. It must not
    /// block.
    pub fn incoming(&mut self, hook: impl Fn(&AnyStanza, &Client) -> Flow + Send + Sync + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Leaves something of the extension's with the client: the state that a handle of its type works with
    /// ([`Client::part`]). There is one of each type.
    pub fn provide<T: Any + Send + Sync>(&mut self, part: Arc<T>) {
        self.parts.add(part);
    }

    /// What an extension that was named before has left, so that two that need the same share it.
    pub fn provided<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.parts.get()
    }

    /// Calls `hook` when a session begins or goes on, before the application learns of it. It must not block; what takes
    /// time it spawns, with a clone of the client, which keeps the client alive as long.
    pub fn on_session(&mut self, hook: impl Fn(&SessionStart<'_>, &Client) + Send + Sync + 'static) {
        self.session_hooks.push(Box::new(hook));
    }

    /// Adds what `write` writes to all presence that says that we are available, whomever it is sent to.
    pub fn with_presence(&mut self, write: impl Fn(&mut Writer) + Send + Sync + 'static) {
        self.parts.add_to_presence(Box::new(write));
    }
}

impl Client {
    /// What an extension has left ([`ClientRegistrar::provide`]); `None` if the client was built without it.
    pub fn part<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.shared.parts.get()
    }
}
