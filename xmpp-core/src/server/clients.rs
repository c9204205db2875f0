//! Which clients have access to an account, and how it is taken away from them (XEP-0494).

use super::{Server, ServerCell, TokensError, session::Role, session::Session};
use crate::{
    extension::{IqContext, Registrar, Target},
    jid::{BareJid, Jid},
    payload::{
        DateTime,
        clients::{
            AccessAgent, AccessAuth, AccessKind, ClientAccess, Clients, ClientsQuery, PasswordResetRequired,
            Permission, PermissionStatus, Revoke,
        },
    },
    sasl::Mechanism,
    stanza::StanzaError,
    stream::{ClientRecord, ClientTokens, Login, StreamCondition, StreamError, Token},
    xml::{Writer, ns},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// How the client of a session has logged in.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The installation, if it has said which it is.
    pub(super) client: Option<String>,
    software: Option<String>,
    device: Option<String>,
    mechanism: Mechanism,
    /// The generation of the password that it has shown to know, if that is known.
    generation: Option<u64>,
    /// Seconds since 1970 (UTC).
    since: u64,
    /// A random one, by which this login is told from others.
    number: u64,
}

impl Origin {
    pub(super) fn new(login: Login) -> Origin {
        let agent = login.user_agent.unwrap_or_default();
        Origin {
            client: agent.id,
            software: agent.software,
            device: agent.device,
            mechanism: login.mechanism,
            generation: login.generation,
            since: now(),
            number: u64::from_ne_bytes(crate::random::bytes()),
        }
    }

    /// What it says of the client, while the account's password is of this generation.
    fn record(&self, generation: u64) -> ClientRecord {
        let current = self.generation.is_none_or(|own| own == generation);
        ClientRecord {
            first_seen: self.since,
            last_seen: self.since,
            software: self.software.clone(),
            device: self.device.clone(),
            password: self.mechanism.proves_password() && current,
            certificate: self.mechanism == Mechanism::External,
        }
    }
}

/// Why a client keeps its access.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The account has no such client.
    #[error("the account has no such client")]
    Unknown,
    /// The client has the password: only a new one keeps it out.
    #[error("the client has the password: only a new one keeps it out")]
    Password,
    /// The client has a certificate, which only its authority can revoke.
    #[error("the client has a certificate, which only its authority can revoke")]
    Certificate,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] TokensError),
}

impl From<RevokeError> for StanzaError {
    fn from(error: RevokeError) -> StanzaError {
        match error {
            RevokeError::Unknown => StanzaError::item_not_found(),
            RevokeError::Password => StanzaError::service_unavailable().with_application(&PasswordResetRequired),
            RevokeError::Certificate => StanzaError::service_unavailable().with_text(error.to_string()),
            RevokeError::Store(error) => {
                tracing::error!(%error, "clients");
                StanzaError::internal_server_error()
            }
        }
    }
}

/// One client: what is stored of it, and its sessions.
struct Known {
    id: String,
    client: Option<String>,
    stored: ClientTokens,
    record: Option<ClientRecord>,
    sessions: Vec<Arc<Session>>,
}

impl Known {
    fn access(self, now: u64) -> ClientAccess {
        let time = |seconds: u64| i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_unix(seconds, 0));
        let connected = !self.sessions.is_empty();
        let record = self.record.unwrap_or_default();
        let issued = [&self.stored.current, &self.stored.fresh].into_iter().flatten().map(|token| token.issued).min();
        let first = if record.first_seen == 0 { issued.unwrap_or_default() } else { record.first_seen };
        let last = if connected { now } else { record.last_seen };
        let agent = AccessAgent { software: record.software, uri: None, device: record.device };
        let mut auth = AccessAuth { password: record.password, fast: good(&self.stored, now), ..AccessAuth::default() };
        if record.certificate {
            let mut out = Writer::new(ns::CLIENT);
            out.text_element("mechanism", ns::SASL, Mechanism::External.name());
            auth.others.push(out.into_stanza());
        }
        ClientAccess {
            connected,
            id: self.id,
            kind: if connected || record.last_seen > 0 { AccessKind::Session } else { AccessKind::Access },
            first_seen: time(first).filter(|_| first > 0),
            last_seen: time(last).filter(|_| last > 0),
            auth,
            permission: Permission { status: PermissionStatus::Unrestricted, details: Vec::new() },
            user_agent: Some(agent).filter(|agent| agent.software.is_some() || agent.device.is_some()),
        }
    }
}

/// Whether one of the tokens can be used.
fn good(tokens: &ClientTokens, now: u64) -> bool {
    let live = |token: &Token| token.expiry > now;
    tokens.current.as_ref().is_some_and(live) || tokens.fresh.as_ref().is_some_and(live)
}

impl Server {
    /// The clients that have access to an account (XEP-0494 §3.1): those that have tokens, those that have presented the
    /// password and said which installation they are, and those that are connected. The account's owner asks for the
    /// same by [`Client::access_list`](crate::client::Client::access_list).
    ///
    /// # Errors
    /// When the store of tokens fails.
    pub async fn access_list(&self, account: &BareJid) -> Result<Vec<ClientAccess>, TokensError> {
        let now = now();
        Ok(self.known_clients(account, now).await?.into_iter().map(|known| known.access(now)).collect())
    }

    /// Takes the access of a client away (XEP-0494 §3.2): its tokens are forgotten, and its sessions end with
    /// `not-authorized`. `id` is that of the list.
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing has changed.
    pub async fn revoke_access(&self, account: &BareJid, id: &str) -> Result<(), RevokeError> {
        self.revoke(account, id, |_| {}).await
    }

    /// The same; `last` sees each session before it is ended.
    async fn revoke(&self, account: &BareJid, id: &str, last: impl Fn(&Session)) -> Result<(), RevokeError> {
        let known = self.known_clients(account, now()).await?;
        let known = known.into_iter().find(|known| known.id == id).ok_or(RevokeError::Unknown)?;
        match &known.record {
            Some(record) if record.password => return Err(RevokeError::Password),
            Some(record) if record.certificate => return Err(RevokeError::Certificate),
            _ => {}
        }
        if let (Some(client), Some(tokens)) = (&known.client, &self.inner().tokens) {
            tokens.forget(account, Some(client)).await?;
        }
        // Whoever logs in by such a token right now looks again after its session is entered, or is found here.
        self.inner().revocations.fetch_add(1, Ordering::SeqCst);
        let of_client = |session: &Arc<Session>| {
            known.client.is_some() && session.origin().is_some_and(|origin| origin.client == known.client)
        };
        let now_there = self.inner().directory.sessions(account.as_str());
        for session in
            now_there.iter().filter(|one| of_client(one) || known.sessions.iter().any(|old| Arc::ptr_eq(old, one)))
        {
            last(session);
            let error = StreamError::new(StreamCondition::NotAuthorized).with_text("the access was revoked");
            session.close(Some(&error));
            self.reap(session);
        }
        Ok(())
    }

    /// Whether a client that logs in by a token has one still, once it can be found in the directory.
    pub(super) async fn keeps_access(&self, account: &BareJid, client: &str, seen: u64) -> bool {
        let inner = self.inner();
        if inner.revocations.load(Ordering::SeqCst) == seen {
            return true;
        }
        let Some(tokens) = &inner.tokens else { return true };
        tokens.load(account, client).await.is_ok_and(|stored| stored.has_tokens())
    }

    async fn known_clients(&self, account: &BareJid, now: u64) -> Result<Vec<Known>, TokensError> {
        let inner = self.inner();
        let mut known: Vec<Known> = Vec::new();
        let mut generation = 0;
        if let Some(tokens) = &inner.tokens {
            generation = tokens.generation(account).await?;
            for (client, stored) in tokens.clients(account).await? {
                let record = stored.record.clone();
                let id = self.opaque("client", account, &client);
                known.push(Known { id, client: Some(client), stored, record, sessions: Vec::new() });
            }
        }
        for session in inner.directory.sessions(account.as_str()) {
            // One that is being closed has no access any more.
            if session.role() != Role::Client || !session.is_open() {
                continue;
            }
            let origin = session.origin();
            let record = origin.as_ref().map(|origin| origin.record(generation));
            let client = origin.as_ref().and_then(|origin| origin.client.clone());
            let same = known.iter_mut().find(|one| client.is_some() && one.client == client);
            match (same, record) {
                (Some(known), record) => {
                    if let (Some(known), Some(record)) = (&mut known.record, &record) {
                        known.password |= record.password;
                        known.certificate |= record.certificate;
                    }
                    known.record = known.record.take().or(record);
                    known.sessions.push(session);
                }
                (None, record) => {
                    let id = match &client {
                        Some(client) => self.opaque("client", account, client),
                        // The next session by that address is another.
                        None => self.opaque(
                            "session",
                            account,
                            &format!("{} {}", session.jid(), origin.as_ref().map_or(0, |origin| origin.number)),
                        ),
                    };
                    known.push(Known { id, client, stored: ClientTokens::default(), record, sessions: vec![session] });
                }
            }
        }
        let memory = self.limits().client_memory.as_secs();
        known.retain(|known| {
            let record = known.record.as_ref().filter(|record| record.password || record.certificate);
            let remembered = record.is_some_and(|record| now.saturating_sub(record.last_seen) <= memory);
            !known.sessions.is_empty() || good(&known.stored, now) || remembered
        });
        Ok(known)
    }
}

/// Lets the owner of an account see and end the access of clients.
pub(super) fn client_access(r: &mut Registrar, server: ServerCell) {
    let revoking = server.clone();
    r.iq_get_async::<ClientsQuery, _, _>(Target::OwnAccount, move |cx, _| {
        let server = server.get();
        async move {
            let (server, account) = server.zip(owner(&cx)).ok_or_else(StanzaError::forbidden)?;
            let clients = server.access_list(&account).await;
            clients.map(|clients| Clients { clients }).map_err(|error| RevokeError::Store(error).into())
        }
    });
    r.iq_set_async::<Revoke, _, _>(Target::OwnAccount, move |cx, revoke| {
        let server = revoking.get();
        async move {
            let (server, account) = server.zip(owner(&cx)).ok_or_else(StanzaError::forbidden)?;
            // Who revokes its own access hears so before its session ends.
            let answer = |session: &Session| {
                if cx.from.as_ref() == Some(session.jid()) {
                    let id = cx.stanza.root().attr("id").unwrap_or_default();
                    let mut out = Writer::new(ns::CLIENT);
                    out.open("iq", ns::CLIENT);
                    out.attr("type", "result");
                    out.attr("id", &id);
                    out.attr("to", session.jid().as_str());
                    out.close();
                    let out = out.finish();
                    session.push(server.limits(), |bytes| bytes.extend_from_slice(&out));
                }
            };
            Ok(server.revoke(&account, &revoke.id, answer).await?)
        }
    });
}

/// The account of who asks: nobody else's is ever looked at, whatever the request is addressed to.
fn owner(cx: &IqContext) -> Option<BareJid> {
    cx.from.as_ref().map(Jid::to_bare)
}

/// Seconds since 1970 (UTC).
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
