//! What a message means: the rules that make corrections, retractions and copies safe.

use super::{ChatEvent, ChatEventKind, Content, Source, recent::Recent};
use crate::message::{
    attention::Attention, correction::Replace, encryption::Encryption, fallback, marker, oob::OutOfBand,
    reactions::Reactions, reference::Reference, reply, retraction,
};
use crate::message::{marker::Marker, reply::Reply, spoiler::Spoiler};
use std::hash::{BuildHasher, RandomState};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{Payload, chat_state::ChatState, delay::Delay, receipts::Received, stanza_id::StanzaId},
    stanza::{Message, MessageType},
};

/// Ids longer than this are not remembered.
const LONGEST_ID: usize = 256;
/// So many attachments, and so many references, of one message are read.
const MOST_PARTS: usize = 32;
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

/// Who wrote what, of the latest messages.
#[derive(Debug)]
pub(super) struct Reading {
    keys: RandomState,
    /// By chat and id of a message: its author, and whether this client sent it.
    authors: Recent<(u64, bool)>,
    /// By identifier in our archive: whether the application has taken what it tells.
    seen: Recent<bool>,
}

/// Both ends of a message, seen from the account.
pub(super) struct Ends {
    pub(super) chat: BareJid,
    pub(super) author: Jid,
    pub(super) is_mine: bool,
}

impl Reading {
    pub(super) fn new(most: usize) -> Self {
        Reading { keys: RandomState::new(), authors: Recent::new(most), seen: Recent::new(most) }
    }

    /// What the message `id` in a chat is remembered by.
    pub(super) fn key(&self, chat: &str, id: &str) -> Option<u64> {
        (!id.is_empty() && id.len() <= LONGEST_ID).then(|| self.keys.hash_one((chat, id)))
    }

    /// This client sends a message.
    pub(super) fn sent(&mut self, chat: &str, own: &str, id: &str) {
        if let Some(key) = self.key(chat, id) {
            let author = self.keys.hash_one(own);
            self.authors.add(key, (author, true));
        }
    }

    /// What has been told may not have been heard.
    pub(super) fn forget_archive(&mut self) {
        self.seen.clear();
    }

    /// Whether what has this identifier in our archive has not been there before.
    fn is_new(&mut self, archive_id: &str, taken: bool) -> bool {
        archive_id.len() > LONGEST_ID || self.seen.add(self.keys.hash_one(archive_id), taken)
    }

    /// The application has it.
    pub(super) fn taken(&mut self, archive_id: &str) {
        if let Some(taken) = self.seen.get_mut(self.keys.hash_one(archive_id)) {
            *taken = true;
        }
    }

    /// Whether the application still has to take what was told of it.
    pub(super) fn is_waiting(&self, archive_id: &str) -> bool {
        self.seen.get(self.keys.hash_one(archive_id)) == Some(&false)
    }

    /// Whether `author` may change the message `id`: nobody else is known to have written it (XEP-0308 §4, XEP-0424
    /// §5).
    fn may_change(&self, chat: &str, author: &Jid, id: &str) -> bool {
        let Some(key) = self.key(chat, id) else { return false };
        self.authors.get(key).is_none_or(|(known, _)| *known == self.keys.hash_one(author.as_str()))
    }

    /// What a message means, which is nothing if it does not belong to a chat; `None` if it has been read before.
    pub(super) fn read(
        &mut self,
        own: &BareJid,
        message: &Message,
        source: Source,
        archive_id: Option<String>,
    ) -> Option<Vec<ChatEvent>> {
        let Some(ends) = ends(own, message) else { return Some(Vec::new()) };
        let archive_id = archive_id.or_else(|| archive_id_of(own, message));
        // What is read in the archive is handed over at once, the rest as events that wait to be taken.
        if archive_id.as_deref().is_some_and(|id| !self.is_new(id, source == Source::Archive)) {
            return None;
        }
        let chat = ends.chat.as_str();
        let id = message.id().map(std::borrow::Cow::into_owned);
        if source == Source::Archive && ends.is_mine && self.sent_here(chat, id.as_deref()) {
            return None;
        }
        let mut kinds = self.kinds(&ends, message, id.as_deref(), source);
        if source == Source::Archive {
            // What somebody was doing then.
            kinds.retain(|kind| !matches!(kind, ChatEventKind::State(_)));
        }
        if let Some(id) = archive_id.as_deref().filter(|_| kinds.is_empty()) {
            self.taken(id);
        }
        let time = delay(own, message);
        let event = |kind| ChatEvent {
            chat: ends.chat.clone().into(),
            author: ends.author.clone(),
            is_mine: ends.is_mine,
            source,
            id: id.clone(),
            archive_id: archive_id.clone(),
            time,
            kind,
            message: message.clone(),
        };
        Some(kinds.into_iter().map(event).collect())
    }

    fn sent_here(&self, chat: &str, id: Option<&str>) -> bool {
        let key = id.and_then(|id| self.key(chat, id));
        key.and_then(|key| self.authors.get(key)).is_some_and(|(_, here)| *here)
    }

    fn kinds(&mut self, ends: &Ends, message: &Message, id: Option<&str>, source: Source) -> Vec<ChatEventKind> {
        let chat = ends.chat.as_str();
        if message.type_() == MessageType::Error {
            let failed = id.zip(message.error()).filter(|_| !ends.is_mine && self.sent_here(chat, id));
            return failed.map(|(id, error)| ChatEventKind::Failed { id: id.to_owned(), error }).into_iter().collect();
        }
        let mut kinds = Vec::new();
        let told = told(message);
        if let Some(Ok(state)) = message.payload::<ChatState>() {
            kinds.push(ChatEventKind::State(state));
        }
        if let Some(Ok(Received { id })) = message.payload() {
            kinds.push(ChatEventKind::Delivered { id });
        }
        kinds.extend(told);
        if let Some(Ok(reactions)) = message.payload::<Reactions>() {
            kinds.push(ChatEventKind::Reacted { id: reactions.id.clone(), reactions: reactions.sensible() });
            return kinds;
        }
        if let Some(Ok(retraction::Retract { id })) = message.payload() {
            if self.may_change(chat, &ends.author, &id) {
                kinds.push(ChatEventKind::Retracted { id });
            }
            return kinds;
        }
        // Only an archive puts it in the place of a message; whoever else sends it could name a message of ours.
        if let (Source::Archive, Some(id), Some(Ok(retraction::Retracted { .. }))) = (source, id, message.payload()) {
            if self.may_change(chat, &ends.author, id) {
                kinds.push(ChatEventKind::Retracted { id: id.to_owned() });
            }
            return kinds;
        }
        let Some(content) = content(message) else { return kinds };
        let replaced = message.payload::<Replace>().and_then(Result::ok).map(|replace| replace.id);
        match replaced.filter(|id| self.may_change(chat, &ends.author, id)) {
            Some(id) => kinds.push(ChatEventKind::Corrected { id, content }),
            None => {
                if let Some(key) = id.and_then(|id| self.key(chat, id)) {
                    let author = self.keys.hash_one(ends.author.as_str());
                    self.authors.add(key, (author, false));
                }
                kinds.push(ChatEventKind::New(content));
            }
        }
        kinds
    }
}

fn told(message: &Message) -> Option<ChatEventKind> {
    match message.payload::<Marker>()?.ok()? {
        Marker::Received { id } => Some(ChatEventKind::Delivered { id }),
        Marker::Displayed { id } | Marker::Acknowledged { id } => Some(ChatEventKind::Displayed { id }),
    }
}

/// Whose message it is; `None` if it is of a room, or a headline.
pub(super) fn ends(own: &BareJid, message: &Message) -> Option<Ends> {
    if matches!(message.type_(), MessageType::Groupchat | MessageType::Headline) {
        return None;
    }
    let from = message.from()?;
    if from.bare_str() == own.as_str() {
        let chat = message.to().map_or_else(|| own.clone(), Jid::to_bare);
        return Some(Ends { chat, author: own.clone().into(), is_mine: true });
    }
    // An occupant of a room writes in private: others have the same bare address (XEP-0045 §7.5).
    let is_occupant = from.resource().is_some() && message.payloads().any(|el| el.is("x", MUC_USER));
    let author = if is_occupant { from.clone() } else { from.to_bare().into() };
    Some(Ends { chat: from.to_bare(), author, is_mine: false })
}

fn archive_id_of(own: &BareJid, message: &Message) -> Option<String> {
    let mut ids = message.payloads().filter(|el| StanzaId::matches(*el)).filter_map(|el| StanzaId::read(el).ok());
    ids.find(|id| id.by.as_str() == own.as_str()).map(|id| id.id)
}

/// When our own server received it; what others claim does not count.
fn delay(own: &BareJid, message: &Message) -> Option<xmpp_core::payload::DateTime> {
    let mut delays = message.payloads().filter(|el| Delay::matches(*el)).filter_map(|el| Delay::read(el).ok());
    let ours = |by: &Jid| by.as_str() == own.as_str() || by.as_str() == own.domain();
    delays.find(|delay| delay.from.as_ref().is_some_and(ours)).map(|delay| delay.stamp)
}

/// What a message says; `None` if it says nothing to people.
fn content(message: &Message) -> Option<Content> {
    let body = fallback::stripped_body(message, &[reply::NS]);
    let attachments = parts::<OutOfBand>(message);
    let attention = message.payload::<Attention>().is_some();
    let encryption = message.payload::<Encryption>().and_then(Result::ok);
    if body.is_none() && attachments.is_empty() && !attention && encryption.is_none() {
        return None;
    }
    Some(Content {
        body: body.unwrap_or_default(),
        reply: message.payload::<Reply>().and_then(Result::ok),
        attachments,
        references: parts::<Reference>(message),
        spoiler: message.payload::<Spoiler>().and_then(Result::ok),
        encryption,
        attention,
        markable: message.payload::<marker::Markable>().is_some(),
    })
}

fn parts<T: Payload>(message: &Message) -> Vec<T> {
    let parts = message.payloads().filter(|el| T::matches(*el)).take(MOST_PARTS);
    parts.filter_map(|el| T::read(el).ok()).collect()
}
