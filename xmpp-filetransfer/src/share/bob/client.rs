//! Bits of binary in a client: offered to whoever asks, asked for and kept.
//!
//! ```
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}};
//! use xmpp_filetransfer::share::{Dimensions, bob::client::{self as bits, BitsClient}};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("romeo@localhost".parse()?, "secret");
//! accounts.set_password("juliet@localhost".parse()?, "secret");
//! let server = Server::builder("localhost").accounts(accounts).build()?;
//! let client = |name: &str| {
//!     let server = server.clone();
//!     Client::builder(name.parse().unwrap(), "secret").with(bits::client).pipe(move || server.connect_memory()).connect()
//! };
//! let ((romeo, _events), (juliet, _others)) = (client("romeo@localhost")?, client("juliet@localhost")?);
//! let there = romeo.online().await.ok_or("offline")?;
//! juliet.online().await;
//!
//! // For an offer of a file, or for what tells of one in a message.
//! let size = Dimensions { width: 64, height: 48 };
//! let thumbnail = romeo.bits()?.thumbnail("image/png", b"a small picture".to_vec(), size)?;
//! let picture = juliet.bits()?.picture(there.into(), &thumbnail).await?;
//! assert_eq!(picture.content.0, b"a small picture");
//! # Ok(()) }
//! ```

use super::{Bits, ContentId, MAX_BYTES, NotAContentId, shelf::Shelf};
use crate::share::{Dimensions, Thumbnail};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use xmpp_core::{
    client::{Client, ClientRegistrar, RequestError},
    extension::Target,
    jid::Jid,
    payload::Payload,
    stanza::{Condition, Iq, Message, StanzaError},
};

/// Data of one message that are kept.
const OF_A_MESSAGE: usize = 8;

/// The bounds of a client's bits of binary.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BitsSettings {
    /// Data that are offered at a time; the one that was not asked for the longest makes room for another.
    pub offered: usize,
    /// All of these together, in bytes.
    pub offered_bytes: usize,
    /// For how long others are told to keep what we offer.
    pub age: Duration,
    /// Data of others that are kept.
    pub kept: usize,
    /// All of these together, in bytes.
    pub kept_bytes: usize,
    /// For how long they are kept at most, whatever their sender says.
    pub kept_for: Duration,
    /// The most that is taken of others, in bytes. The document has 8 KiB (§2.1), which not everybody heeds.
    pub max_bytes: usize,
}

impl Default for BitsSettings {
    /// Offered: 256 of 1 MiB in all, for a day. Kept: 512 of 4 MiB in all, for a day. 64 KiB.
    fn default() -> BitsSettings {
        BitsSettings {
            offered: 256,
            offered_bytes: 1 << 20,
            age: Duration::from_secs(86_400),
            kept: 512,
            kept_bytes: 4 << 20,
            kept_for: Duration::from_secs(86_400),
            max_bytes: 64 << 10,
        }
    }
}

/// Bits of binary for a client, with the [usual settings](BitsSettings::default).
pub fn client(r: &mut ClientRegistrar) {
    client_with(BitsSettings::default())(r);
}

/// Bits of binary for a client. Named twice, the first settings hold.
pub fn client_with(settings: BitsSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| {
        if r.provided::<Part>().is_some() {
            return;
        }
        let part = Arc::new(Part {
            offered: Mutex::new(Shelf::new(settings.offered, settings.offered_bytes)),
            kept: Mutex::new(Shelf::new(settings.kept, settings.kept_bytes)),
            settings,
        });
        r.provide(Arc::clone(&part));
        r.iq_get::<Bits, _>(Target::Client, move |_, asked| {
            let cid = asked.cid.parse().map_err(|_| StanzaError::item_not_found())?;
            part.offered().get(&cid, Instant::now()).ok_or_else(StanzaError::item_not_found)
        });
    }
}

/// What the handles share.
#[derive(Debug)]
struct Part {
    settings: BitsSettings,
    offered: Mutex<Shelf>,
    kept: Mutex<Shelf>,
}

impl Part {
    fn offered(&self) -> MutexGuard<'_, Shelf> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Shelf> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is proved to be what its name says. By SHA-1, too (§2.4): it would take somebody who has made two contents of
    /// one name to deceive anybody with it.
    fn keep(&self, cid: ContentId, bits: &Bits) {
        let said = bits.max_age.map_or(Duration::MAX, Duration::from_secs);
        self.kept().put(cid, bits.clone(), Some(said.min(self.settings.kept_for)), Instant::now());
    }
}

/// The client was built without [`client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the client was built without bits of binary: ClientBuilder::with(xmpp_filetransfer::share::bob::client::client)"
)]
pub struct WithoutBits;

/// Why there are no such data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BitsError {
    /// Who was asked does not have them, or not any more.
    #[error("who was asked does not have these data")]
    NotFound,
    /// Who was asked has said no in another way, or nothing.
    #[error(transparent)]
    Request(Box<RequestError>),
    /// What refers to them is not their name.
    #[error(transparent)]
    Name(#[from] NotAContentId),
    /// Their name has a hash by a function that is not known here, which proves nothing.
    #[error("the hash function {0:?} is not known")]
    UnknownFunction(String),
    /// What came is not what its name says.
    #[error("what came is not what its name says")]
    Forged,
    /// What came, or is to be offered, has no type that is one; or it is no picture where one was asked for.
    #[error("{0:?} is not the type of such data")]
    Type(String),
    /// What came, or is to be offered, is too large.
    #[error("the data are too large: at most {limit} bytes")]
    TooLarge {
        /// What is taken, in bytes.
        limit: usize,
    },
}

impl From<RequestError> for BitsError {
    fn from(error: RequestError) -> BitsError {
        match error {
            RequestError::Refused(refused) if refused.condition == Condition::ItemNotFound => BitsError::NotFound,
            error => BitsError::Request(Box::new(error)),
        }
    }
}

/// What a client with bits of binary can do.
pub trait BitsClient {
    /// Its bits of binary.
    ///
    /// # Errors
    /// [`WithoutBits`] if the client was not built with them.
    fn bits(&self) -> Result<BitsOfBinary, WithoutBits>;
}

impl BitsClient for Client {
    fn bits(&self) -> Result<BitsOfBinary, WithoutBits> {
        Ok(BitsOfBinary { client: self.clone(), part: self.part().ok_or(WithoutBits)? })
    }
}

/// A client's bits of binary. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct BitsOfBinary {
    client: Client,
    part: Arc<Part>,
}

impl BitsOfBinary {
    /// Offers data to whoever asks for them by their name (§2.3), until there is no more room, and says the name. Who knows the
    /// content knows the name, and could find out that it is offered.
    ///
    /// # Errors
    /// [`BitsError::TooLarge`] for more than 8 KiB (§2.1), [`BitsError::Type`].
    pub fn offer(&self, media_type: &str, content: Vec<u8>) -> Result<ContentId, BitsError> {
        if content.len() > MAX_BYTES {
            return Err(BitsError::TooLarge { limit: MAX_BYTES });
        }
        if !is_type(media_type) {
            return Err(BitsError::Type(media_type.to_owned()));
        }
        let cid = ContentId::of(&content);
        let bits = Bits { max_age: Some(self.part.settings.age.as_secs()), ..Bits::new(media_type, content) };
        self.part.offered().put(cid.clone(), bits, None, Instant::now());
        Ok(cid)
    }

    /// Offers data no more, and says whether they were.
    pub fn withdraw(&self, cid: &ContentId) -> bool {
        self.part.offered().remove(cid)
    }

    /// Offers a small picture, and says what refers to it where a file is told of (XEP-0264).
    ///
    /// # Errors
    /// Those of [`offer`](Self::offer).
    pub fn thumbnail(&self, media_type: &str, content: Vec<u8>, size: Dimensions) -> Result<Thumbnail, BitsError> {
        let uri = self.offer(media_type, content)?.uri();
        let (width, height) = (Some(size.width), Some(size.height));
        Ok(Thumbnail { uri, media_type: Some(media_type.to_owned()), width, height })
    }

    /// The data of this name: those that are kept, or what `from` answers if its hash is right. Cancel-safe.
    ///
    /// # Errors
    /// See [`BitsError`].
    pub async fn get(&self, from: Jid, cid: &ContentId) -> Result<Bits, BitsError> {
        if let Some(kept) = self.part.kept().get(cid, Instant::now()) {
            return Ok(kept);
        }
        if !cid.is_known() {
            return Err(BitsError::UnknownFunction(cid.algo().to_owned()));
        }
        let limit = self.part.settings.max_bytes;
        let bits: Bits = self.client.query(Iq::get(from).payload(&Bits::request(cid))).await?;
        if bits.content.0.len() > limit {
            return Err(BitsError::TooLarge { limit });
        }
        if bits.cid.parse().ok().as_ref() != Some(cid) || !cid.names(&bits.content.0) {
            return Err(BitsError::Forged);
        }
        let type_ = bits.type_.as_deref().unwrap_or_default();
        if !is_type(type_) {
            return Err(BitsError::Type(type_.to_owned()));
        }
        self.part.keep(cid.clone(), &bits);
        Ok(bits)
    }

    /// The small picture that a thumbnail refers to by its `cid:` (XEP-0264 §3), from who has sent the thumbnail. That it is a
    /// picture is what its sender says; it is read with care.
    ///
    /// # Errors
    /// Those of [`get`](Self::get); [`BitsError::Name`] for addresses of other kinds.
    pub async fn picture(&self, from: Jid, thumbnail: &Thumbnail) -> Result<Bits, BitsError> {
        let bits = self.get(from, &ContentId::from_uri(&thumbnail.uri)?).await?;
        let type_ = bits.type_.as_deref().unwrap_or_default();
        match type_.get(..6).is_some_and(|type_| type_.eq_ignore_ascii_case("image/")) {
            true => Ok(bits),
            false => Err(BitsError::Type(type_.to_owned())),
        }
    }

    /// Keeps the data that a message brings along (§2.1), of those that are what their names say and are not too large. Says
    /// how many.
    pub fn keep(&self, message: &Message) -> usize {
        let brought = message.payloads().filter(|payload| Bits::matches(*payload)).take(OF_A_MESSAGE);
        let brought = brought.filter_map(|payload| Bits::read(payload).ok());
        let fits = |bits: &Bits| bits.content.0.len() <= self.part.settings.max_bytes && bits.is_genuine();
        let genuine = brought.filter(|bits| fits(bits) && bits.type_.as_deref().is_some_and(is_type));
        let named = genuine.filter_map(|bits| Some((bits.cid.parse().ok()?, bits)));
        named.map(|(cid, bits)| self.part.keep(cid, &bits)).count()
    }
}

/// Whether it looks like a media type (RFC 2045 §5.1).
fn is_type(text: &str) -> bool {
    let (type_, rest) = text.split_once('/').unwrap_or_default();
    let subtype = rest.split(';').next().unwrap_or_default().trim_end();
    let token = |text: &str| {
        let special = |byte: u8| b"()<>@,;:\\\"/[]?=".contains(&byte);
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !special(byte))
    };
    text.len() <= 255 && token(type_) && token(subtype)
}
