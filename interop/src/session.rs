//! A session of our client, and waiting for what it sees.

use crate::check::Checked;
use std::time::Duration;
use xmpp_core::{
    client::{Client, ClientBuilder, ConnectionError, Event, Events},
    jid::{FullJid, Jid},
    sasl::Mechanism,
    stanza::{Message, Presence, PresenceType},
};

/// Online.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) jid: FullJid,
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) tls: Option<String>,
    events: Events,
}

impl Session {
    /// Logs in at the first attempt.
    pub(crate) async fn login(builder: ClientBuilder) -> Checked<Session> {
        let (client, mut events) = builder.connect()?;
        match events.next().await {
            Some(Event::Online { jid, mechanism, tls, .. }) => Ok(Session { client, jid, mechanism, tls, events }),
            other => Err(format!("not online but {other:?}").into()),
        }
    }

    /// The address, for a `to`.
    pub(crate) fn full(&self) -> Jid {
        self.jid.clone().into()
    }

    /// The account's address, for a `to`.
    pub(crate) fn bare(&self) -> Jid {
        self.jid.to_bare().into()
    }

    /// The first event that `wanted` makes something of; those before it are forgotten.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> Checked<T> {
        loop {
            let event = self.events.next().await.ok_or("the events have ended")?;
            if let Some(found) = wanted(event) {
                return Ok(found);
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Checked<Message> {
        self.until(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .await
    }

    /// Until `from` is available.
    pub(crate) async fn shown(&mut self, from: &Jid) -> Checked<Presence> {
        self.presence(from, PresenceType::Available).await
    }

    /// Until `from` is unavailable. A server may show a resource more than once before: ejabberd does so when the probe
    /// of a newcomer overtakes its broadcast.
    pub(crate) async fn gone(&mut self, from: &Jid) -> Checked<Presence> {
        self.presence(from, PresenceType::Unavailable).await
    }

    async fn presence(&mut self, from: &Jid, type_: PresenceType) -> Checked<Presence> {
        self.until(|event| match event {
            Event::Presence(presence) if presence.from() == Some(from) && presence.type_() == type_ => Some(presence),
            _ => None,
        })
        .await
    }

    /// The bodies that arrive before this one.
    pub(crate) async fn bodies_before(&mut self, last: &str) -> Checked<Vec<String>> {
        let mut bodies = Vec::new();
        loop {
            match self.message().await?.body() {
                Some(body) if body == last => return Ok(bodies),
                body => bodies.extend(body.map(|body| body.into_owned())),
            }
        }
    }

    /// Why the session ended for good: one offline event without another attempt, then nothing.
    pub(crate) async fn end(&mut self) -> Checked<ConnectionError> {
        let (error, retry) = self
            .until(|event| match event {
                Event::Offline { error, retry } => Some((error, retry)),
                _ => None,
            })
            .await?;
        ended(error, retry, &mut self.events).await
    }
}

/// Why there never was a session: the first event says it, no other attempt is announced, and nothing follows.
pub(crate) async fn refusal(builder: ClientBuilder) -> Checked<ConnectionError> {
    // The handle is kept: without one a client ends anyway.
    let (_client, mut events) = builder.connect()?;
    match events.next().await {
        Some(Event::Offline { error, retry }) => ended(error, retry, &mut events).await,
        other => Err(format!("not refused but {other:?}").into()),
    }
}

async fn ended(error: ConnectionError, retry: Option<Duration>, events: &mut Events) -> Checked<ConnectionError> {
    if let Some(retry) = retry {
        return Err(format!("tries again in {retry:?} after: {error}").into());
    }
    match events.next().await {
        None => Ok(error),
        Some(more) => Err(format!("after the last event came {more:?}").into()),
    }
}
