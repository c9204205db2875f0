//! A room's vCard and photo (XEP-0486).

use super::{Muc, Room, RoomEvent, state::State};
use xmpp_core::{
    client::RequestError,
    jid::BareJid,
    stanza::{Condition, Iq, Presence},
};
use xmpp_im::{
    avatar::{Avatar, AvatarError, Update, with_photo},
    vcard::{self, VCard},
};

/// The most bytes of a photo that is set here: with it a vCard is not larger than what services and streams usually take.
const PHOTO: usize = 64 * 1024;

impl Muc {
    /// A room's vCard, whether we are in it or not; `None` if it has none.
    ///
    /// # Errors
    /// Those of [`Client::query`](xmpp_core::client::Client::query): `service-unavailable` where rooms have no vCards.
    pub async fn vcard(&self, room: &BareJid) -> Result<Option<VCard>, RequestError> {
        match vcard::get(&self.client, Some(room)).await {
            Ok(card) => Ok(Some(card)),
            Err(RequestError::Refused(error)) if error.condition == Condition::ItemNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A room's photo, whether we are in it or not; `None` if it has none. [`RoomInfo::avatar_hashes`](super::RoomInfo) tells
    /// before whether it is one that is known already.
    ///
    /// # Errors
    /// As [`vcard`](Self::vcard).
    pub async fn avatar(&self, room: &BareJid) -> Result<Option<Avatar>, RequestError> {
        Ok(self.vcard(room).await?.as_ref().and_then(Avatar::of))
    }
}

impl Room {
    /// The hash of the room's photo, as far as the room has told it; [`RoomEvent::Avatar`] tells when it changes.
    pub fn avatar_hash(&self) -> Option<String> {
        self.inner.seat.state().avatar.clone()
    }

    /// The room's photo; `None` if it has none.
    ///
    /// # Errors
    /// As [`vcard`](Self::vcard).
    pub async fn avatar(&self) -> Result<Option<Avatar>, RequestError> {
        Ok(self.vcard().await?.as_ref().and_then(Avatar::of))
    }

    /// The room's vCard; `None` if it has none.
    ///
    /// # Errors
    /// `service-unavailable` where rooms have no vCards.
    pub async fn vcard(&self) -> Result<Option<VCard>, RequestError> {
        self.inner.muc().vcard(self.jid()).await
    }

    /// Puts another vCard in the place of the room's, whole. An empty one takes it away.
    ///
    /// # Errors
    /// `forbidden` for who does not own the room, `not-acceptable` for one that is too large.
    pub async fn set_vcard(&self, card: &VCard) -> Result<(), RequestError> {
        self.client().request(Iq::set(self.jid().clone()).payload(card)).await.map(|_| ())
    }

    /// Gives the room a photo, or takes it away; the other fields of its vCard stay.
    ///
    /// # Errors
    /// [`AvatarError::TooLarge`] beyond 64 KiB, [`AvatarError::UnknownType`]; or as [`set_vcard`](Self::set_vcard).
    pub async fn set_avatar(&self, image: Option<Vec<u8>>) -> Result<(), AvatarError> {
        let photo = image.map(Avatar::new);
        if let Some(photo) = &photo {
            if photo.data.len() > PHOTO {
                return Err(AvatarError::TooLarge(photo.data.len()));
            }
            if photo.media_type().is_none() {
                return Err(AvatarError::UnknownType);
            }
        }
        let card = self.vcard().await?.unwrap_or_else(VCard::empty);
        Ok(self.set_vcard(&with_photo(&card, photo.as_ref())).await?)
    }
}

impl State {
    /// A presence of the room itself; whether it said something of its photo (§5.2).
    pub(super) fn of_the_photo(&mut self, presence: &Presence) -> bool {
        let hash = match Update::read(presence.stanza().root()) {
            Some(Update::Photo(hash)) => Some(hash),
            Some(Update::Nothing) => None,
            Some(Update::Unready) | None => return false,
        };
        self.avatar_is(hash);
        true
    }

    pub(super) fn avatar_is(&mut self, hash: Option<String>) {
        if self.avatar != hash {
            self.avatar.clone_from(&hash);
            self.tell(RoomEvent::Avatar(hash));
        }
    }
}
