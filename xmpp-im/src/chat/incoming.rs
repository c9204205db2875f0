//! What comes in: chats, copies, pages of archives.

use super::{
    ChatEventKind, Source, reading,
    state::{Known, State, Understands},
};
use crate::carbons::Carbon;
use std::sync::Arc;
use xmpp_core::{
    client::{Client, Flow},
    jid::BareJid,
    payload::{
        Payload,
        archive::ArchiveResult,
        chat_state::ChatState,
        forward::Forwarded,
        receipts::{ReceiptRequest, Received},
    },
    stanza::{AnyStanza, Message, MessageBuilder, MessageType},
};

/// The end of a client is the end of this.
pub(super) struct Incoming(pub(super) Arc<State>);

impl Drop for Incoming {
    fn drop(&mut self) {
        self.0.ends();
    }
}

impl Incoming {
    pub(super) fn take(&self, stanza: &AnyStanza, client: &Client) -> Flow {
        let AnyStanza::Message(message) = stanza else { return Flow::Continue };
        let known = &mut *self.0.known();
        let Some(own) = known.own.clone() else { return Flow::Continue };
        if known.page_comes(&own, message) {
            return Flow::Handled;
        }
        if let Some(carbon) = message.payload::<Carbon>() {
            let inner = carbon.ok().and_then(|carbon| copied(&own, message, carbon));
            let Some(inner) = inner else {
                tracing::debug!(from = ?message.from(), "a copy that is forged or broken");
                return Flow::Handled;
            };
            known.read(&own, &inner, Source::Carbon);
            return Flow::Continue;
        }
        if known.read(&own, message, Source::Live) {
            self.confirm(&own, message, client);
        }
        Flow::Continue
    }

    /// Says that a message has arrived, to whom may know (XEP-0184 §5.3).
    fn confirm(&self, own: &BareJid, message: &Message, client: &Client) {
        let asks = message.payload::<ReceiptRequest>().is_some() && message.payload::<Received>().is_none();
        let (Some(id), Some(from)) = (message.id(), message.from()) else { return };
        let may = |ends: reading::Ends| !ends.is_mine && (self.0.settings.confirm)(&ends.chat);
        if !asks || message.type_() == MessageType::Error || !reading::ends(own, message).is_some_and(may) {
            return;
        }
        // Whoever floods us gets fewer.
        let Ok(permit) = Arc::clone(&self.0.confirmations).try_acquire_owned() else { return };
        let receipt = Received { id: id.into_owned() };
        let answer = MessageBuilder::new(Some(from.clone()), message.type_()).payload(&receipt);
        let client = client.clone();
        tokio::spawn(async move {
            let _ = client.send(answer).await;
            drop(permit);
        });
    }
}

/// The message in a copy, if it is one: from our own bare address, and of ours (XEP-0280 §11).
fn copied(own: &BareJid, message: &Message, carbon: Carbon) -> Option<Message> {
    if message.from()?.as_str() != own.as_str() {
        return None;
    }
    let ours = |jid: Option<&xmpp_core::jid::Jid>| jid.is_some_and(|jid| jid.bare_str() == own.as_str());
    let read = |forwarded: Forwarded| Message::from_stanza(forwarded.stanza?).ok();
    match carbon {
        Carbon::Received(forwarded) => read(forwarded).filter(|inner| ours(inner.to())),
        Carbon::Sent(forwarded) => read(forwarded).filter(|inner| ours(inner.from())),
    }
}

impl State {
    /// Whether this is of an archive's page, which is then all that is done with it.
    pub(crate) fn page_comes(&self, message: &Message) -> bool {
        let known = &mut *self.known();
        known.own.clone().is_some_and(|own| known.page_comes(&own, message))
    }
}

impl Known {
    fn page_comes(&mut self, own: &BareJid, message: &Message) -> bool {
        match message.payload::<ArchiveResult>() {
            None => return false,
            Some(Ok(result)) => self.archived(own, message, result),
            Some(Err(error)) => tracing::debug!(%error, "a broken message of an archive"),
        }
        true
    }

    /// A message of an archive counts for the query that it answers, from the archive that was asked (XEP-0313 §4.2).
    pub(super) fn archived(&mut self, own: &BareJid, message: &Message, result: ArchiveResult) {
        let Some(page) = result.queryid.as_ref().and_then(|id| self.pages.get_mut(id)) else {
            tracing::debug!(from = ?message.from(), "a message of an archive that was not asked for");
            return;
        };
        let genuine = match (message.from(), &page.archive) {
            (None, None) => true,
            (Some(from), None) => from.as_str() == own.as_str(),
            (from, Some(archive)) => from == Some(archive),
        };
        if !genuine {
            tracing::debug!(from = ?message.from(), "a message of an archive that is forged");
        } else if page.results.len() >= page.most {
            page.overflowed = true;
        } else {
            page.results.push(result);
        }
    }

    #[cfg(test)]
    pub(super) fn live(&mut self, own: &BareJid, message: &Message) {
        self.read(own, message, Source::Live);
    }

    /// Whether the message was new, or told of nothing.
    fn read(&mut self, own: &BareJid, message: &Message, source: Source) -> bool {
        if source == Source::Live {
            self.learn(own, message);
        }
        let events = self.reading.read(own, message, source, None).unwrap_or_default();
        let some =
            events.iter().any(|event| matches!(event.kind, ChatEventKind::New(_) | ChatEventKind::Corrected { .. }));
        events.into_iter().for_each(|event| self.tell(event));
        some
    }

    /// Whether somebody cares for chat states (XEP-0085 §5.1): the last of their messages shows it.
    fn learn(&mut self, own: &BareJid, message: &Message) {
        let Some(ends) = reading::ends(own, message).filter(|ends| !ends.is_mine) else { return };
        let states = message.payloads().any(|el| ChatState::matches(el));
        if message.type_() == MessageType::Error || !states && message.body().is_none() {
            return;
        }
        let understands = if states { Understands::Yes } else { Understands::No };
        if let Some(key) = self.reading.key(ends.chat.as_str(), "\0") {
            self.states.add(key, Default::default());
            if let Some(known) = self.states.get_mut(key) {
                known.0 = understands;
            }
        }
    }
}
