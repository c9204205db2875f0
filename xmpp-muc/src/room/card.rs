//! A room's vCard, and the photo in it (XEP-0486).

use super::{Change, Delivery, Effects, Incoming, Kept, Plan, Recipients, Room};
use crate::payload::StatusCode;
use xmpp_core::{
    jid::Jid,
    stanza::StanzaError,
    xml::{ElementRef, Stanza, Writer, ns},
};
use xmpp_im::{
    avatar::{Avatar, Update},
    vcard::{self, VCard},
};

/// Photos in one vCard: the same image in several formats.
const PHOTOS: usize = 4;

/// A vCard of a room.
#[derive(Clone, Debug)]
pub struct Card {
    element: Stanza,
    hashes: Vec<String>,
}

impl PartialEq for Card {
    fn eq(&self, other: &Card) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Card {}

impl Card {
    /// As it was stored.
    pub fn restore(element: Stanza) -> Card {
        let photos = element.root().children().filter(|field| field.is("PHOTO", vcard::NS));
        let hashes = photos.filter_map(|photo| Some(Avatar::of_photo(photo)?.hash)).take(PHOTOS).collect();
        Card { element, hashes }
    }

    /// The vCard as a document of its own.
    pub fn as_str(&self) -> &str {
        self.element.as_str()
    }
    /// The vCard.
    pub fn element(&self) -> ElementRef<'_> {
        self.element.root()
    }
    /// The hashes of its photos (XEP-0153), which are the same image in several formats.
    pub fn hashes(&self) -> &[String] {
        &self.hashes
    }

    /// A vCard that somebody wants the room to have; `None` for an empty one, which is none.
    fn judge(card: &VCard, most: usize) -> Result<Option<Card>, StanzaError> {
        let refused = |why: &str| StanzaError::not_acceptable().with_text(why);
        if card.element().children().next().is_none() {
            return Ok(None);
        }
        let mut out = Writer::new("");
        out.element(card.element());
        let element = out.into_stanza();
        if element.as_str().len() > most {
            return Err(refused("the vCard is too large for a room"));
        }
        let mut photos = 0;
        for field in element.root().children() {
            let is_image = field.is("PHOTO", vcard::NS) || field.is("LOGO", vcard::NS);
            if is_image {
                photos += 1;
                check_image(field)?;
            } else if holds_data(field) {
                return Err(refused("a room has images in its vCard, and nothing else that is played or opened"));
            }
        }
        if photos > PHOTOS {
            return Err(refused("too many images"));
        }
        Ok(Some(Card::restore(element)))
    }
}

fn holds_data(field: ElementRef<'_>) -> bool {
    field.children().any(|part| matches!(part.name(), "BINVAL" | "EXTVAL") || holds_data(part))
}

/// What clients show as an image is one, by its first bytes, and of a kind in which nothing runs; nothing is fetched from
/// elsewhere, where it would be seen who looks at the room.
fn check_image(field: ElementRef<'_>) -> Result<(), StanzaError> {
    let refused = |why: &str| StanzaError::not_acceptable().with_text(why);
    let avatar = Avatar::of_photo(field).ok_or_else(|| refused("the image is missing, or not in base64"))?;
    let is = avatar.media_type().ok_or_else(|| refused("the image is neither PNG nor GIF, JPEG or WebP"))?;
    let says = field.child("TYPE", vcard::NS).map(|kind| kind.text().trim().to_ascii_lowercase());
    match says.as_deref() {
        None | Some("" | "image/jpg" | "jpeg" | "png" | "gif") => {}
        Some(says) if says == is => {}
        Some(_) => return Err(refused("the image is of another type than it says")),
    }
    match field.child("EXTVAL", vcard::NS) {
        Some(_) => Err(refused("an image is in the vCard, not elsewhere")),
        None => Ok(()),
    }
}

impl Room {
    /// The room's vCard, for whoever may know that there is such a room.
    ///
    /// # Errors
    /// `item-not-found` if it has none.
    pub fn card(&self, from: &Jid) -> Result<&Card, StanzaError> {
        self.check_open_to(from)?;
        self.card.as_ref().ok_or_else(|| StanzaError::item_not_found().with_text("the room has no vCard"))
    }

    /// The hashes of the room's photo, in as many formats as there are; none if it has no photo.
    pub fn avatar_hashes(&self) -> &[String] {
        self.card.as_ref().map(Card::hashes).unwrap_or_default()
    }

    /// Judges another vCard for the room.
    ///
    /// # Errors
    /// `forbidden` for who does not own the room; `not-acceptable` for one that is too large, or has something in it that is
    /// no image.
    pub fn set_card(&self, input: Incoming<'_>, card: &VCard) -> Result<Plan, StanzaError> {
        self.check_owner(input.from)?;
        let card = Card::judge(card, self.limits.card_bytes)?;
        if card == self.card {
            return Ok(Plan::default());
        }
        Ok(Plan { changes: vec![Change::Card(card.clone())], kept: vec![Kept::Card(card)] })
    }

    pub(super) fn show_card(&mut self, card: Option<Card>, effects: &mut Effects) {
        let had = self.avatar_hashes().to_vec();
        self.card = card;
        let codes = [StatusCode::CONFIGURATION_CHANGED];
        effects.then.push(Delivery { from: self.jid.clone().into(), to: self.all(), stanza: self.notice(&codes) });
        if had != self.avatar_hashes() {
            effects.then.push(self.show_avatar(self.all()));
        }
    }

    /// The presence of the room itself, by which clients learn of its photo without asking (XEP-0486 §5.2).
    pub(super) fn show_avatar(&self, to: Recipients) -> Delivery {
        let mut out = Writer::new(ns::CLIENT);
        out.open("presence", ns::CLIENT);
        out.attr("from", self.jid.as_str());
        match self.avatar_hashes().first() {
            Some(hash) => Update::Photo(hash.clone()).write(&mut out),
            None => Update::Nothing.write(&mut out),
        }
        out.close();
        Delivery { from: self.jid.clone().into(), to, stanza: out.into_stanza() }
    }
}
