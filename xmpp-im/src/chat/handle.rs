//! A chat, and what is sent in it.

use super::{
    ChatEvent, ChatEventKind,
    state::{State, Understands},
};
use crate::message::{
    attention::Attention,
    correction::Replace,
    fallback::Fallback,
    marker::{Markable, Marker},
    oob::OutOfBand,
    reactions::Reactions,
    reference::Reference,
    reply::{self, Reply},
    retraction,
    spoiler::Spoiler,
};
use std::sync::Arc;
use tokio::sync::watch;
use xmpp_core::{
    client::{Client, Handover, Receipt, SendError},
    jid::{BareJid, Jid},
    payload::{Payload, chat_state::ChatState, hints::Hint, receipts::ReceiptRequest},
    stanza::{Condition, Message, MessageBuilder, generate_id},
};

/// A chat with somebody. Cheap to make and to clone. Messages go to the bare address: all clients of the contact see
/// them.
#[derive(Clone, Debug)]
pub struct Chat {
    client: Client,
    state: Arc<State>,
    with: BareJid,
}

/// How far a sent message has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The client has taken it over.
    #[default]
    Sent,
    /// The connection was lost before the server said that it has it: it may never arrive. The application learns of it by
    /// [`Event::Unacknowledged`](xmpp_core::client::Event) too, and can send it again.
    Doubtful,
    /// The server has it (XEP-0198): it will be delivered, kept, or come back.
    Accepted,
    /// It has arrived (XEP-0184).
    Delivered,
    /// It has been displayed (XEP-0333).
    Displayed,
    /// It was not delivered.
    Failed(Condition),
}

impl Progress {
    /// Things go forward only.
    pub(super) fn replaces(&self, now: &Progress) -> bool {
        let rank = |progress: &Progress| match progress {
            Progress::Sent => 0,
            Progress::Doubtful => 1,
            Progress::Accepted => 2,
            Progress::Failed(_) => 3,
            Progress::Delivered => 4,
            Progress::Displayed => 5,
        };
        rank(self) > rank(now)
    }
}

impl From<Handover> for Progress {
    fn from(handover: Handover) -> Progress {
        match handover {
            Handover::Acknowledged => Progress::Accepted,
            Handover::Doubtful | Handover::Unsent => Progress::Doubtful,
            _ => Progress::Sent,
        }
    }
}

/// A message that was sent.
#[derive(Debug)]
pub struct Sent {
    id: String,
    told: Progress,
    /// What the other side says.
    progress: watch::Receiver<Progress>,
    /// What the server says; `None` when it has said it.
    receipt: Option<Receipt>,
    /// What it said.
    handover: Handover,
    /// The other side will not be heard any more.
    forgotten: bool,
}

impl Sent {
    fn new(id: String, progress: watch::Receiver<Progress>, receipt: Receipt) -> Sent {
        let handover = Handover::Waiting;
        Sent { id, told: Progress::Sent, progress, receipt: Some(receipt), handover, forgotten: false }
    }

    /// Its id, by which it can be corrected or retracted.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How far it has come, as far as is known.
    pub fn progress(&self) -> Progress {
        let handover = self.receipt.as_ref().map_or(self.handover, Receipt::now).into();
        let progress = self.progress.borrow();
        if progress.replaces(&handover) { progress.clone() } else { handover }
    }

    /// Waits until there is news of it; `None` when there will be none: the client has ended, or too many messages
    /// were sent since. Where the server acknowledges what it gets (XEP-0198), the first news is that it has it, unless others
    /// are faster. The other side may never say anything, so give it a time. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Progress> {
        loop {
            let now = self.progress();
            if now != self.told {
                self.told = now.clone();
                return Some(now);
            }
            match &mut self.receipt {
                None if self.forgotten => return None,
                None => self.forgotten = self.progress.changed().await.is_err(),
                Some(receipt) => tokio::select! {
                    handover = receipt.settled() => (self.handover, self.receipt) = (handover, None),
                    changed = self.progress.changed(), if !self.forgotten => self.forgotten = changed.is_err(),
                },
            }
        }
    }
}

impl Chat {
    pub(super) fn new(client: Client, state: Arc<State>, with: BareJid) -> Self {
        Chat { client, state, with }
    }

    /// With whom.
    pub fn with(&self) -> &BareJid {
        &self.with
    }

    /// Sends a text. Cancel-safe as [`Client::send`] is, and so for all that sends here.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn send(&self, body: impl Into<String>) -> Result<Sent, SendError> {
        self.message(body).send().await
    }

    /// A text to which more is to be added.
    pub fn message(&self, body: impl Into<String>) -> ChatMessage {
        let id = generate_id();
        let rest = self.plain().id(id.clone());
        ChatMessage { chat: self.clone(), id, body: body.into(), rest }
    }

    /// Replaces the text of a message of ours, by the id of its first version (XEP-0308).
    pub async fn correct(&self, id: &str, body: impl Into<String>) -> Result<Sent, SendError> {
        self.message(body).with(Replace { id: id.to_owned() }).send().await
    }

    /// Takes a message of ours back (XEP-0424). Nobody can be made to forget it.
    pub async fn retract(&self, id: &str) -> Result<(), SendError> {
        let retract = retraction::Retract { id: id.to_owned() };
        let message = self.plain().body(retraction::FALLBACK).payload(&retract);
        self.client.send(message.payload(&Fallback::whole(retraction::NS)).payload(&Hint::Store)).await
    }

    /// Reacts to a message of either side: these are all our reactions to it from now on (XEP-0444).
    pub async fn react<S: Into<String>>(
        &self,
        id: &str,
        reactions: impl IntoIterator<Item = S>,
    ) -> Result<(), SendError> {
        let reactions = Reactions { id: id.to_owned(), reactions: reactions.into_iter().map(Into::into).collect() };
        let reactions = Reactions { id: id.to_owned(), reactions: reactions.sensible() };
        self.client.send(self.plain().payload(&reactions).payload(&Hint::Store)).await
    }

    /// Says what we are doing, if the other side has shown that it cares, and has not just been told (XEP-0085 §5).
    /// Whether it was said.
    pub async fn set_state(&self, state: ChatState) -> Result<bool, SendError> {
        if !self.may_tell(Some(state)) {
            return Ok(false);
        }
        self.client.send(self.plain().payload(&state)).await.map(|()| true)
    }

    /// Says that all up to this message has been displayed, if its author wants to know (XEP-0333 §4). Whether it was
    /// said.
    pub async fn mark_displayed(&self, event: &ChatEvent) -> Result<bool, SendError> {
        let markable = match &event.kind {
            ChatEventKind::New(content) | ChatEventKind::Corrected { content, .. } => content.markable,
            _ => false,
        };
        let Some(id) = event.id.clone().filter(|_| markable && !event.is_mine) else { return Ok(false) };
        let marker = Marker::Displayed { id };
        self.client.send(self.plain().payload(&marker).payload(&Hint::Store)).await.map(|()| true)
    }

    fn plain(&self) -> MessageBuilder {
        Message::chat(Jid::from(self.with.clone()))
    }

    /// Whether this state is to be said now; `None` is that of a message with a body.
    fn may_tell(&self, standalone: Option<ChatState>) -> bool {
        if !self.state.settings.states {
            return false;
        }
        let known = &mut *self.state.known();
        let Some(key) = known.reading.key(self.with.as_str(), "\0") else { return false };
        known.states.add(key, Default::default());
        let Some((understands, last)) = known.states.get_mut(key) else { return false };
        let may = match standalone {
            Some(state) => *understands == Understands::Yes && *last != Some(state),
            None => *understands != Understands::No,
        };
        if may {
            *last = Some(standalone.unwrap_or(ChatState::Active));
        }
        may
    }
}

/// A message in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct ChatMessage {
    chat: Chat,
    id: String,
    body: String,
    rest: MessageBuilder,
}

impl ChatMessage {
    /// Adds any payload.
    pub fn with(mut self, payload: impl Payload) -> Self {
        self.rest = self.rest.payload(&payload);
        self
    }

    /// It replies to what an event told of, with a quotation for those who don't know of replies (XEP-0461). Comes
    /// before [`mention`](Self::mention), because it moves what is in the body.
    pub fn reply_to(mut self, event: &ChatEvent) -> Self {
        let Some(id) = event.id.clone() else { return self };
        if let ChatEventKind::New(content) | ChatEventKind::Corrected { content, .. } = &event.kind {
            let (body, range) = reply::quote(&content.body, &self.body);
            self.body = body;
            self = self.with(reply::fallback(range));
        }
        self.with(Reply { to: event.message.from().cloned(), id })
    }

    /// Something can be fetched at this address (XEP-0066).
    pub fn attach(self, url: &str, desc: Option<&str>) -> Self {
        self.with(OutOfBand { url: url.to_owned(), desc: desc.map(str::to_owned) })
    }

    /// Mentions somebody wherever `name` first stands in the body (XEP-0372).
    pub fn mention(self, who: &BareJid, name: &str) -> Self {
        let Some(at) = self.body.find(name) else { return self };
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let begin = count(self.body.get(..at).unwrap_or_default());
        let end = begin.saturating_add(count(name));
        self.with(Reference::mention(who, begin, end))
    }

    /// It is not to be shown before the reader asks for it (XEP-0382).
    pub fn spoiler(self, hint: Option<&str>) -> Self {
        self.with(Spoiler { hint: hint.map(str::to_owned) })
    }

    /// It is to be looked at at once (XEP-0224).
    pub fn attention(self) -> Self {
        self.with(Attention)
    }

    /// Sends it, and asks to be told when it arrives and when it is displayed.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn send(self) -> Result<Sent, SendError> {
        let ChatMessage { chat, id, body, rest } = self;
        let mut message = rest.body(body).payload(&ReceiptRequest).payload(&Markable);
        if chat.may_tell(None) {
            message = message.payload(&ChatState::Active);
        }
        let progress = chat.state.follow(&chat.with, &id);
        let receipt = chat.client.send_followed(message).await?;
        Ok(Sent::new(id, progress, receipt))
    }
}
