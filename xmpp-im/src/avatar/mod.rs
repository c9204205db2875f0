//! Avatars that are photos in vCards (XEP-0153): whose photo is new is told in presence by its hash, and the photo comes
//! out of the vCard once, by that hash.
//!
//! A server has no part in it for its users: it keeps the vCard and passes the presence on as it is. Rooms (XEP-0486) tell of
//! their photos themselves.

#[cfg(feature = "client")]
mod cache;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod own;

#[cfg(feature = "client")]
pub use client::{AvatarError, AvatarEvent, AvatarEvents, Avatars, client};

use sha1::{Digest as _, Sha1};
use std::fmt::Write as _;
use xmpp_core::{
    payload::{Base64, TextValue as _},
    xml::{ElementRef, Writer},
};

use crate::vcard::{self, VCard};

/// `vcard-temp:x:update`.
pub const NS: &str = "vcard-temp:x:update";

/// The most bytes of a photo to publish (§4.3). Of others larger ones are taken, as they fit into a stanza.
pub const MAX_BYTES: usize = 8 * 1024;

/// A photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avatar {
    /// Its SHA-1, in lower-case hexadecimal digits.
    pub hash: String,
    /// The image.
    pub data: Vec<u8>,
}

impl Avatar {
    /// An image, with its hash.
    pub fn new(data: Vec<u8>) -> Avatar {
        let hash = Sha1::digest(&data).iter().fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        Avatar { hash, data }
    }

    /// Its media type, by how it begins, whatever the vCard says (§4.4): PNG, GIF, JPEG or WebP.
    pub fn media_type(&self) -> Option<&'static str> {
        match self.data.as_slice() {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
            [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
            _ => None,
        }
    }

    /// The photo of a vCard, if it has one that can be read.
    pub fn of(card: &VCard) -> Option<Avatar> {
        Avatar::of_photo(card.element().child("PHOTO", vcard::NS)?)
    }

    /// One photo of a vCard that may have several, or its logo, if that can be read.
    pub fn of_photo(photo: ElementRef<'_>) -> Option<Avatar> {
        let value = photo.child("BINVAL", vcard::NS)?;
        let data = Base64::from_text(&value.text()).ok()?.0;
        (!data.is_empty()).then(|| Avatar::new(data))
    }
}

/// What presence says of a photo (§3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// Whether there is one is not known yet.
    #[default]
    Unready,
    /// There is none.
    Nothing,
    /// There is one, with this hash in lower case.
    Photo(String),
}

impl Update {
    /// What a presence says, if it says anything. A hash that is none says nothing that is known.
    pub fn read(presence: ElementRef<'_>) -> Option<Update> {
        let Some(photo) = presence.child("x", NS)?.child("photo", NS) else { return Some(Update::Unready) };
        let hash = photo.text().trim().to_ascii_lowercase();
        match hash.len() {
            0 => Some(Update::Nothing),
            40 if hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => Some(Update::Photo(hash)),
            _ => Some(Update::Unready),
        }
    }

    /// Writes it into a presence.
    pub fn write(&self, out: &mut Writer) {
        out.open("x", NS);
        match self {
            Update::Unready => {}
            Update::Nothing => out.text_element("photo", NS, ""),
            Update::Photo(hash) => out.text_element("photo", NS, hash),
        }
        out.close();
    }
}

/// A vCard with this photo instead of the one it has, or with none; its other fields stay.
pub fn with_photo(card: &VCard, photo: Option<&Avatar>) -> VCard {
    VCard::write_with(|out| {
        for field in card.element().children().filter(|field| field.name() != "PHOTO" || field.ns() != vcard::NS) {
            out.element(field);
        }
        if let Some(photo) = photo {
            out.open("PHOTO", vcard::NS);
            if let Some(media_type) = photo.media_type() {
                out.text_element("TYPE", vcard::NS, media_type);
            }
            out.text_element("BINVAL", vcard::NS, &Base64(photo.data.clone()).to_text());
            out.close();
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::{Stanza, XmlLimits};

    fn update(inside: &str) -> Option<Update> {
        let text = format!("<presence xmlns='jabber:client'>{inside}</presence>");
        Update::read(Stanza::document(&text, &XmlLimits::default()).unwrap().root())
    }

    #[test]
    fn xep0153_3_2_an_update_says_nothing_no_photo_or_a_hash() {
        let x = |inside: &str| update(&format!("<x xmlns='vcard-temp:x:update'>{inside}</x>"));
        let hash = "01b87fcd030b72895ff8e88db57ec525450f000d";
        assert_eq!(update(""), None);
        assert_eq!(x(""), Some(Update::Unready));
        assert_eq!(x("<photo/>"), Some(Update::Nothing));
        assert_eq!(x(&format!("<photo> {}\n</photo>", hash.to_uppercase())), Some(Update::Photo(hash.to_owned())));
        for wrong in ["x", &hash[1..], &format!("{}g", &hash[1..]), &format!("{hash}0")] {
            assert_eq!(x(&format!("<photo>{wrong}</photo>")), Some(Update::Unready), "{wrong}");
        }
        for one in [Update::Unready, Update::Nothing, Update::Photo(hash.to_owned())] {
            let mut out = Writer::new("jabber:client");
            one.write(&mut out);
            assert_eq!(update(&String::from_utf8(out.finish()).unwrap()), Some(one));
        }
    }

    #[test]
    fn xep0153_4_1_a_photo_takes_the_place_of_the_old_one_and_of_nothing_else() {
        let photo = Avatar::new(b"\x89PNG\r\n\x1a\nnot much of a picture".to_vec());
        assert_eq!((photo.hash.len(), photo.media_type()), (40, Some("image/png")));
        let card = VCard::write_with(|out| out.text_element("FN", vcard::NS, "Juliet"));
        let with = with_photo(&card, Some(&photo));
        assert_eq!(Avatar::of(&with), Some(photo.clone()));
        let other = Avatar::new(b"GIF89a".to_vec());
        let again = with_photo(&with, Some(&other));
        assert_eq!((Avatar::of(&again), again.text("FN").as_deref()), (Some(other), Some("Juliet")));
        let without = with_photo(&again, None);
        assert_eq!((Avatar::of(&without), without.text("FN").as_deref()), (None, Some("Juliet")));
    }

    #[test]
    fn xep0153_4_4_white_space_counts_not_and_nonsense_is_no_photo() {
        let photo = |inside: &str| {
            Avatar::of(&VCard::write_with(|out| {
                out.open("PHOTO", vcard::NS);
                out.text_element("BINVAL", vcard::NS, inside);
                out.close();
            }))
        };
        assert_eq!(photo("R0lG\r\n ODlh\t").map(|photo| photo.data), Some(b"GIF89a".to_vec()));
        assert_eq!((photo(""), photo(" \n"), photo("R0lG!")), (None, None, None));
    }
}
