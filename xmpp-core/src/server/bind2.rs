//! Sessions bound while their client logs in (XEP-0386): the resource, and the features that extensions enable.

use super::{Server, ServerRegistrar, SessionFlag, StreamCondition, StreamError, client_state, session::Session};
use crate::{
    BoxFuture,
    jid::{BareJid, FullJid},
    payload::Payload as _,
    stanza::Condition,
    stream::{
        BindRequest,
        management::{self, Enable, Failed},
    },
    xml::{ElementRef, Writer},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The namespace of what a `<bound/>` holds.
const BIND2: &str = "urn:xmpp:bind:0";

/// A feature is enabled for a session that is being bound.
pub struct Binding<'a> {
    server: &'a Server,
    session: &'a Session,
    jid: &'a FullJid,
    element: ElementRef<'a>,
    answer: &'a mut Writer,
}

impl std::fmt::Debug for Binding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding").field("jid", self.jid).field("element", &self.element.name()).finish_non_exhaustive()
    }
}

impl Binding<'_> {
    /// The server.
    pub fn server(&self) -> &Server {
        self.server
    }

    /// The session's full address. It can be reached already.
    pub fn jid(&self) -> &FullJid {
        self.jid
    }

    /// Sets or clears a flag of the session.
    pub fn set_flag(&self, flag: SessionFlag, on: bool) {
        self.session.set_flag(flag, on);
    }

    /// What the client sent: an element of the feature's namespace.
    pub fn element(&self) -> ElementRef<'_> {
        self.element
    }

    /// Where the answer is written, if there is one: it becomes part of `<bound/>`.
    pub fn answer(&mut self) -> &mut Writer {
        self.answer
    }
}

pub(super) type BindFeature = (String, Box<dyn Fn(&mut Binding<'_>) + Send + Sync>);
pub(super) type BoundInfo = Box<dyn Fn(Server, FullJid) -> BoxFuture<'static, Vec<u8>> + Send + Sync>;

impl ServerRegistrar {
    /// Offers a feature that a client may enable while it binds (XEP-0386 §3.1), by its namespace or name in service
    /// discovery. `enable` is called once for each element of that namespace, for a session that is entered and has
    /// sent nothing yet. It must not block.
    ///
    /// ```
    /// use xmpp_core::server::{Binding, ServerRegistrar};
    ///
    /// fn mood_lamp(registrar: &mut ServerRegistrar) {
    ///     registrar.bind_feature("urn:example:lamp", |binding: &mut Binding<'_>| {
    ///         if binding.element().name() == "light" {
    ///             binding.answer().open("lit", "urn:example:lamp");
    ///             binding.answer().close();
    ///         }
    ///     });
    /// }
    /// ```
    pub fn bind_feature(&mut self, namespace: &str, enable: impl Fn(&mut Binding<'_>) + Send + Sync + 'static) {
        self.bind_features.push((namespace.to_owned(), Box::new(enable)));
    }

    /// Tells every session that is bound by Bind 2 something, such as the state of its archive (XEP-0386 §3.2): elements
    /// as a [`Writer`] of the content namespace `urn:xmpp:bind:0` writes them, or nothing.
    pub fn bound_info<F>(&mut self, info: impl Fn(Server, FullJid) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Vec<u8>> + Send + 'static,
    {
        self.bound_info.push(Box::new(move |server, jid| Box::pin(info(server, jid))));
    }
}

impl Server {
    /// The names of the features that Bind 2 enables.
    pub(super) fn bind_feature_names(&self) -> Vec<String> {
        let own = [management::NS, client_state::NS].map(str::to_owned);
        let extensions = self.inner().bind_features.iter().map(|(name, _)| name.clone());
        let mut names: Vec<String> = own.into_iter().chain(extensions).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A resource for this client: `tag/stable`, where the second part is the same at each login of one installation,
    /// and does not tell its id (XEP-0386 §3.2.1). A tag that cannot stand in a resource is left out.
    pub(super) fn resource_for(&self, request: &BindRequest) -> Option<(FullJid, Option<String>)> {
        let stable = request.client.as_deref().map(|client| self.stable_part(&request.user, client));
        let made = stable.clone().unwrap_or_else(crate::random::token);
        let tagged = request.tag.as_deref().and_then(|tag| request.user.with_resource(&format!("{tag}/{made}")).ok());
        let jid = tagged.or_else(|| request.user.with_resource(&made).ok())?;
        Some((jid, stable))
    }

    fn stable_part(&self, user: &BareJid, client: &str) -> String {
        self.opaque("resource", user, client)
    }

    /// A name for something of a user's, always the same, from which it cannot be told.
    pub(super) fn opaque(&self, kind: &str, user: &BareJid, what: &str) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §2)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.inner().secret).expect("HMAC takes keys of every length");
        for part in [kind, user.as_str(), what] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        let mac = mac.finalize().into_bytes();
        mac.iter()
            .take(16)
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
            .map(|byte| char::from(*byte))
            .collect()
    }

    /// Ends what is left of the same client (XEP-0386 §3.2).
    pub(super) fn end_older(&self, session: &Arc<Session>, stable: &str) {
        let own = session.jid();
        for old in self.inner().directory.sessions(own.bare_str()) {
            let same = old.jid().resource().is_some_and(|resource| {
                resource.rsplit_once('/').map_or(resource, |(_, made)| made) == stable
                    && Some(resource) != own.resource()
            });
            if same {
                let error =
                    StreamError::new(StreamCondition::Conflict).with_text("the same client has logged in again");
                self.session_ended(&old);
                old.close(Some(&error));
                self.reap(&old);
            }
        }
    }

    /// Enables the features of core that a client asked for, before anybody can reach the session; what they answer.
    pub(super) fn enable_own(&self, session: &Session, request: &BindRequest) -> Vec<u8> {
        let mut out = Vec::new();
        for element in request.features() {
            match (element.ns(), element.name()) {
                (management::NS, "enable") => out.extend(self.enable_management(session, element)),
                // XEP-0386 §3.2: the session begins in that state.
                (client_state::NS, "inactive") => session.set_inactive(true, self.limits()),
                _ => {}
            }
        }
        out
    }

    /// Enables the features that a client asked for and extensions provide; what they answer.
    pub(super) fn enable_features(&self, session: &Session, jid: &FullJid, request: &BindRequest) -> Vec<u8> {
        let mut out = Vec::new();
        for element in request.features() {
            for (_, enable) in self.inner().bind_features.iter().filter(|(namespace, _)| namespace == element.ns()) {
                let mut answer = Writer::new(BIND2);
                let mut binding = Binding { server: self, session, jid, element, answer: &mut answer };
                match catch_unwind(AssertUnwindSafe(|| enable(&mut binding))) {
                    Ok(()) => out.extend(answer.finish()),
                    Err(_) => tracing::error!("a feature panicked at the binding; the session goes on without it"),
                }
            }
        }
        out
    }

    /// Stream management from the first stanza on (XEP-0198 §8.1).
    fn enable_management(&self, session: &Session, element: ElementRef<'_>) -> Vec<u8> {
        let wish = Enable::read(element).map_err(|_| Condition::BadRequest);
        let mut answer = Writer::new(BIND2);
        match wish.and_then(|wish| session.enable(&wish, self.limits(), false)) {
            Ok(enabled) => enabled.write(&mut answer),
            Err(condition) => Failed::new(condition).write(&mut answer),
        }
        answer.finish()
    }

    /// What every session is told.
    pub(super) async fn gather_bound_info(&self, jid: &FullJid) -> Vec<u8> {
        let mut out = Vec::new();
        let limits = self.limits();
        let patience = limits.handler.min(limits.phase / 2);
        for info in &self.inner().bound_info {
            // In a task of its own, so that a panic in it is nobody else's.
            let telling = tokio::spawn(info(self.clone(), jid.clone()));
            match tokio::time::timeout(patience, telling).await {
                Ok(Ok(told)) => out.extend(told),
                Ok(Err(error)) => tracing::error!(%error, "what a session is told at its binding failed"),
                Err(_) => tracing::error!("what a session is told at its binding takes too long"),
            }
        }
        out
    }
}
