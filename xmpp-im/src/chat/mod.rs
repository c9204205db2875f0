//! Chats as people think of them, on the client: what is sent can be followed, what comes in is told as it is meant,
//! and what other clients of the account do is seen as well (XEP-0280, with XEP-0085, 0184, 0308, 0333, 0424, 0444,
//! 0461).
//!
//! ```no_run
//! use xmpp_core::client::Client;
//! use xmpp_im::chat::{self, ChatClient, ChatEventKind, ChatSettings};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = ChatSettings::default().confirm_to(|contact| contact.domain() == "example.org");
//! let builder = Client::builder("juliet@example.org".parse()?, "secret").with(chat::client(settings));
//! let (client, mut events) = builder.connect()?;
//! let mut chats = client.chats()?;
//! // The events of the connection are of little interest now, but have to be taken.
//! let connection = async move { while events.next().await.is_some() {} };
//! let conversation = async move {
//!     client.chat("romeo@example.net".parse()?)?.send("Wherefore art thou?").await?;
//!     while let Some(event) = chats.next().await {
//!         if let ChatEventKind::New(content) = &event.kind {
//!             println!("{}: {}", event.author, content.body);
//!         }
//!     }
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let (_, result) = tokio::join!(connection, conversation);
//! # result }
//! ```
//!
//! What counts: corrections and retractions of the author alone; copies and archived messages from the own account
//! alone, and what only looks like them goes no further. Messages in rooms are no chats.

mod event;
mod handle;
mod incoming;
mod reading;
mod recent;
mod state;
#[cfg(test)]
mod tests;

pub use event::{ChatEvent, ChatEventKind, Content, Source};
pub use handle::{Chat, ChatMessage, Progress, Sent};
pub use state::{ChatEvents, ChatSettings};
pub(crate) use state::{History, Page, State};

use crate::{
    archive::Archive,
    carbons,
    message::{correction, marker, reactions, reply, retraction},
};
use incoming::Incoming;
use std::sync::Arc;
use xmpp_core::{
    client::{Client, ClientRegistrar},
    extension::Target,
    jid::BareJid,
    payload::{Payload, receipts},
    stanza::Iq,
};

/// The client was built without [`client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was built without chats: ClientBuilder::with(xmpp_im::chat::client(…))")]
pub struct WithoutChats;

/// What a client with chats can do.
pub trait ChatClient {
    /// The chat with somebody.
    ///
    /// # Errors
    /// [`WithoutChats`] if the client was not built with them; so for the others.
    fn chat(&self, with: BareJid) -> Result<Chat, WithoutChats>;
    /// What happens in all chats, from now on; the first call gets it from the beginning.
    fn chats(&self) -> Result<ChatEvents, WithoutChats>;
    /// The account's archive; [`archive::client`](crate::archive::client()) is enough for it.
    fn archive(&self) -> Result<Archive, WithoutChats>;
}

impl ChatClient for Client {
    fn chat(&self, with: BareJid) -> Result<Chat, WithoutChats> {
        Ok(Chat::new(self.clone(), State::of_chats(self).ok_or(WithoutChats)?, with))
    }

    fn chats(&self) -> Result<ChatEvents, WithoutChats> {
        Ok(State::events(&State::of_chats(self).ok_or(WithoutChats)?))
    }

    fn archive(&self) -> Result<Archive, WithoutChats> {
        Ok(Archive::own(self.clone(), self.part::<State>().ok_or(WithoutChats)?))
    }
}

/// Chats for a client. Copies of what other clients of the account send and receive are asked for whenever a session
/// begins (XEP-0280 §4).
pub fn client(settings: ChatSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        for feature in [correction::NS, marker::NS, reactions::NS, reply::NS, retraction::NS, receipts::NS] {
            r.feature(Target::Client, feature);
        }
        if settings.states {
            r.feature(Target::Client, "http://jabber.org/protocol/chatstates");
        }
        let carbons = settings.carbons;
        let state = Arc::new(State::new(settings));
        r.provide(Arc::clone(&state));
        if carbons {
            r.bind_feature(carbons::NS, |out| carbons::Enable.write(out));
        }
        let starts = Arc::clone(&state);
        r.on_session(move |start, client| {
            if start.resumed {
                return;
            }
            starts.session_begins(start.jid.to_bare());
            if carbons {
                // Where it was enabled while binding, once more does no harm.
                let client = client.clone();
                tokio::spawn(async move {
                    if let Err(error) = client.request(Iq::set_own().payload(&carbons::Enable)).await {
                        tracing::debug!(%error, "no copies of what other clients send and receive");
                    }
                });
            }
        });
        let incoming = Incoming(state);
        r.incoming(move |stanza, client| incoming.take(stanza, client));
    }
}
