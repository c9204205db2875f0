//! A client's avatars: its own in its presence, and those of others when they are wanted.

use super::{
    Avatar, MAX_BYTES, Update,
    cache::Cache,
    own::{Next, Own},
    with_photo,
};
use crate::{
    ClientExt as _,
    vcard::{self, VCard},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::broadcast;
use xmpp_core::{
    client::{Client, ClientRegistrar, Flow, RequestError, SendError},
    jid::BareJid,
    stanza::{AnyStanza, Condition, Presence, PresenceType},
};

/// So many events wait for a slow listener before the oldest are lost to it.
const EVENTS: usize = 512;
/// So long one waits for the answer to another's question before one asks somebody else.
const PATIENCE: Duration = Duration::from_secs(10);
/// Contacts whose hash is remembered.
const CONTACTS: usize = 4_096;
/// Marks presence of a room's occupants (XEP-0045 §7.2), whose vCards are at other addresses.
const OCCUPANT: &str = "http://jabber.org/protocol/muc#user";

/// Why there is no avatar, or none is published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AvatarError {
    /// The vCard was not had, or not stored.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It is stored, and not told in presence: there was no session for that.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The photo of the vCard has another hash than the presence said, or there is none.
    #[error("the photo is not the one that was announced")]
    Mismatch,
    /// It has more than [`MAX_BYTES`].
    #[error("a photo of {0} bytes is too large to be published")]
    TooLarge(usize),
    /// It is neither PNG nor GIF, JPEG or WebP.
    #[error("this is no image of a kind that others show")]
    UnknownType,
}

/// Something that was heard of avatars.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AvatarEvent {
    /// A contact has another photo, with this hash, or has none any more.
    Changed(BareJid, Option<String>),
    /// Our own presence tells another photo, or none.
    Own(Option<String>),
    /// The listener was too slow, and so many events are lost to it.
    Missed(u64),
}

/// What the handles share.
#[derive(Debug)]
pub(crate) struct Part {
    state: Mutex<State>,
    /// Photos that somebody asks for, by hash: who waits finds what the other has got.
    asking: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    events: broadcast::Sender<AvatarEvent>,
}

#[derive(Debug, Default)]
struct State {
    own: Own,
    /// Somebody looks at our vCard; and is to look again.
    looking: bool,
    again: bool,
    contacts: HashMap<BareJid, Option<String>>,
    cache: Cache,
}

/// Tells the account's photo in presence, and hears of those of others. Needs [`presence::client`](crate::presence::client).
/// [`ClientExt::avatars`](crate::ClientExt::avatars) gives the handle.
pub fn client(r: &mut ClientRegistrar) {
    let events = broadcast::Sender::new(EVENTS);
    let part = Arc::new(Part { state: Mutex::default(), asking: Mutex::default(), events });
    r.provide(Arc::clone(&part));
    let (told, heard) = (Arc::clone(&part), Arc::clone(&part));
    r.with_presence(move |out| told.lock().own.says.write(out));
    r.incoming(move |stanza, client| {
        if let AnyStanza::Presence(presence) = stanza {
            heard.hear(presence, client);
        }
        Flow::Continue
    });
    r.on_session(move |start, client| {
        if !start.resumed {
            let mut state = part.lock();
            state.own = Own::default();
            state.contacts.clear();
            drop(state);
            part.act(Next::Look, client);
        }
    });
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(self: &Arc<Self>, presence: &Presence, client: &Client) {
        let root = presence.stanza().root();
        let gone = presence.type_() == PresenceType::Unavailable;
        if !(gone || presence.type_() == PresenceType::Available) || root.child("x", OCCUPANT).is_some() {
            return;
        }
        let Some(from) = presence.from().and_then(|from| from.clone().into_full().ok()) else { return };
        let Some(own) = client.jid() else { return };
        let update = Update::read(root);
        if from.to_bare() != own.to_bare() {
            if !gone {
                self.contact(from.to_bare(), update);
            }
        } else if from != own {
            let next = match gone {
                true => self.lock().own.left(&from),
                false => self.lock().own.hear(from, update.as_ref()),
            };
            self.act(next, client);
        }
    }

    fn contact(&self, contact: BareJid, update: Option<Update>) {
        let hash = match update {
            Some(Update::Photo(hash)) => Some(hash),
            Some(Update::Nothing) => None,
            Some(Update::Unready) | None => return,
        };
        let mut state = self.lock();
        let known = state.contacts.get(&contact);
        if known == Some(&hash) || (known.is_none() && state.contacts.len() >= CONTACTS) {
            return;
        }
        state.contacts.insert(contact.clone(), hash.clone());
        drop(state);
        let _ = self.events.send(AvatarEvent::Changed(contact, hash));
    }

    fn act(self: &Arc<Self>, next: Next, client: &Client) {
        if next == Next::Nothing {
            return;
        }
        let mut look = next != Next::Announce;
        if look {
            let mut state = self.lock();
            let already = std::mem::replace(&mut state.looking, true);
            state.again |= already;
            look = !already;
        }
        let (part, client) = (Arc::clone(self), client.clone());
        tokio::spawn(async move {
            if next != Next::Look {
                part.announce(&client).await;
            }
            if look {
                part.look(&client).await;
            }
        });
    }

    /// Says what is to be said now, if anything of our presence is said.
    async fn announce(&self, client: &Client) {
        let _ = self.events.send(AvatarEvent::Own(self.own_hash()));
        if let Some(presence) = client.presence() {
            let _ = presence.announce().await;
        }
    }

    /// Looks at our vCard, and once more if something has happened meanwhile.
    async fn look(&self, client: &Client) {
        loop {
            let session = client.jid();
            let found = match own_card(client).await {
                Ok(card) => Avatar::of(&card).map_or(Update::Nothing, |photo| {
                    let photo = Arc::new(photo);
                    self.lock().cache.put(&photo);
                    Update::Photo(photo.hash.clone())
                }),
                // As long as it is not known nothing is told.
                Err(error) => {
                    tracing::debug!(%error, "our vCard cannot be had");
                    Update::Unready
                }
            };
            let next = {
                let mut state = self.lock();
                let again = std::mem::take(&mut state.again);
                state.looking = again;
                match again {
                    true => None,
                    // What is found in an old session is of no use.
                    false if client.jid() != session => Some(Next::Nothing),
                    false => Some(state.own.found(found)),
                }
            };
            match next {
                None => {}
                Some(Next::Announce) => return self.announce(client).await,
                Some(_) => return,
            }
        }
    }

    fn published(&self, update: Update, photo: Option<Avatar>) {
        let mut state = self.lock();
        state.own.published(update);
        // Who looks right now may have seen the old one.
        state.again |= state.looking;
        if let Some(photo) = photo {
            state.cache.put(&Arc::new(photo));
        }
    }

    fn own_hash(&self) -> Option<String> {
        match &self.lock().own.says {
            Update::Photo(hash) => Some(hash.clone()),
            Update::Nothing | Update::Unready => None,
        }
    }
}

/// Our vCard, an empty one if there is none.
async fn own_card(client: &Client) -> Result<VCard, RequestError> {
    match vcard::get(client, None).await {
        Err(RequestError::Refused(error)) if error.condition == Condition::ItemNotFound => Ok(VCard::empty()),
        answer => answer,
    }
}

/// The account's photo, and those of others. Cheap to clone.
///
/// ```no_run
/// use xmpp_core::client::Client;
/// use xmpp_im::{ClientExt, avatar::{self, AvatarEvent}, presence::{self, OwnPresence}};
///
/// # async fn run(image: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Client::builder("juliet@example.org".parse()?, "secret");
/// let (client, events) = builder.with(presence::client).with(avatar::client).connect()?;
/// let avatars = client.avatars().ok_or("built without avatars")?;
/// let mut news = avatars.watch();
/// client.presence().ok_or("built without presence")?.set(OwnPresence::default()).await?;
/// avatars.publish(image).await?;
/// while let Some(event) = news.next().await {
///     if let AvatarEvent::Changed(contact, Some(_)) = event
///         && let Some(photo) = avatars.of(&contact).await?
///     {
///         println!("{contact}: {} bytes, {:?}", photo.data.len(), photo.media_type());
///     }
/// }
/// # drop(events);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Avatars {
    client: Client,
    part: Arc<Part>,
}

impl Avatars {
    pub(crate) fn handle(client: &Client) -> Option<Avatars> {
        Some(Avatars { client: client.clone(), part: client.part::<Part>()? })
    }

    /// The hash of the photo that our presence tells, if it tells one.
    pub fn own(&self) -> Option<String> {
        self.part.own_hash()
    }

    /// The hash of a contact's photo, as presence has told it in this session.
    pub fn hash(&self, contact: &BareJid) -> Option<String> {
        self.part.lock().contacts.get(contact).cloned().flatten()
    }

    /// The contact's photo that presence has told of; `None` if it has told of none. What has come once, of whomever, is
    /// not asked for again as long as there is room for it. Cancel-safe.
    ///
    /// # Errors
    /// [`AvatarError::Request`], [`AvatarError::Mismatch`].
    pub async fn of(&self, contact: &BareJid) -> Result<Option<Arc<Avatar>>, AvatarError> {
        let Some(hash) = self.hash(contact) else { return Ok(None) };
        let turns = || self.part.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = Arc::clone(turns().entry(hash.clone()).or_default());
        let answer = {
            // Whoever asked first may be waiting for a contact who never answers; another may.
            let _turn = tokio::time::timeout(PATIENCE, turn.lock()).await;
            let kept = self.part.lock().cache.get(&hash);
            match kept {
                Some(photo) => Ok(photo),
                None => self.fetch(contact, &hash).await,
            }
        };
        drop(turn);
        // Nobody waits whose turn is held by the table alone.
        turns().retain(|_, turn| Arc::strong_count(turn) > 1);
        answer.map(Some)
    }

    async fn fetch(&self, contact: &BareJid, hash: &str) -> Result<Arc<Avatar>, AvatarError> {
        let card = vcard::get(&self.client, Some(contact)).await?;
        let photo = Avatar::of(&card).map(Arc::new).filter(|photo| photo.hash == hash);
        let photo = photo.ok_or(AvatarError::Mismatch)?;
        self.part.lock().cache.put(&photo);
        Ok(photo)
    }

    /// Puts a photo into our vCard, whose other fields stay, and tells it in presence. One that is told already is not
    /// put there again. If the future is dropped, whether it is stored is not known.
    ///
    /// # Errors
    /// [`AvatarError`], but for `Mismatch`.
    pub async fn publish(&self, image: Vec<u8>) -> Result<(), AvatarError> {
        if image.len() > MAX_BYTES {
            return Err(AvatarError::TooLarge(image.len()));
        }
        let photo = Avatar::new(image);
        if photo.media_type().is_none() {
            return Err(AvatarError::UnknownType);
        }
        if self.own().as_ref() == Some(&photo.hash) {
            return Ok(());
        }
        self.store(Some(photo)).await
    }

    /// Takes the photo out of our vCard, and tells in presence that there is none.
    ///
    /// # Errors
    /// [`AvatarError::Request`], [`AvatarError::Send`].
    pub async fn remove(&self) -> Result<(), AvatarError> {
        self.store(None).await
    }

    async fn store(&self, photo: Option<Avatar>) -> Result<(), AvatarError> {
        let card = own_card(&self.client).await?;
        vcard::set(&self.client, &with_photo(&card, photo.as_ref())).await?;
        let update = photo.as_ref().map_or(Update::Nothing, |photo| Update::Photo(photo.hash.clone()));
        let hash = photo.as_ref().map(|photo| photo.hash.clone());
        self.part.published(update, photo);
        let _ = self.part.events.send(AvatarEvent::Own(hash));
        match self.client.presence() {
            Some(presence) => Ok(presence.announce().await?),
            None => Ok(()),
        }
    }

    /// What is heard from now on.
    pub fn watch(&self) -> AvatarEvents {
        AvatarEvents { receiver: self.part.events.subscribe() }
    }
}

/// What is heard of avatars, in order. See [`Avatars::watch`].
#[derive(Debug)]
pub struct AvatarEvents {
    receiver: broadcast::Receiver<AvatarEvent>,
}

impl AvatarEvents {
    /// The next event; `None` when the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<AvatarEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(AvatarEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
