//! Typed payloads: what stands inside a stanza, as Rust values.
//!
//! A [`Payload`] reads itself from an [`ElementRef`] and writes itself to a [`Writer`]; mostly it is derived:
//!
//! ```
//! use xmpp_core::payload::{Payload, TextValue};
//!
//! #[derive(Payload)]
//! #[xml(name = "note", ns = "urn:example:note")]
//! struct Note {
//!     /// An attribute; `#[xml(attr = "type")]` gives it another name.
//!     #[xml(attr)]
//!     id: String,
//!     /// Optional things are `Option`s.
//!     #[xml(attr)]
//!     weight: Option<u32>,
//!     /// `default` reads absence as `Default::default()` (or `default = expression`) and leaves that value unwritten.
//!     #[xml(attr, default = Colour::White)]
//!     colour: Colour,
//!     /// `<title>…</title>` in the same namespace, or in the one given as `ns = "…"`. A `Vec` repeats.
//!     #[xml(child_text = "title")]
//!     title: Option<String>,
//!     /// Whether an empty `<sticky/>` is there.
//!     #[xml(flag = "sticky")]
//!     sticky: bool,
//!     /// Another payload; `#[xml(child)]` takes one.
//!     #[xml(children)]
//!     tags: Vec<Tag>,
//!     /// Children that nothing above took.
//!     #[xml(unknown)]
//!     others: Vec<xmpp_core::xml::Stanza>,
//! }
//!
//! #[derive(Payload)]
//! #[xml(name = "tag", ns = "urn:example:note")]
//! struct Tag(#[xml(text)] String);
//!
//! #[derive(TextValue, PartialEq)]
//! enum Colour {
//!     #[xml(value = "white")]
//!     White,
//!     #[xml(other)]
//!     Other(String),
//! }
//! ```
//!
//! An enum derives `Payload` when it is one of several elements: its variants carry `#[xml(name = "…")]` and fields as
//! above, or hold another payload; `#[xml(unknown)]` marks the variant that keeps any other element as it is.
//!
//! Reading ignores attributes and children that it does not know, and is strict about those it knows: a bad value, a
//! missing required part or a second occurrence of a single child is a [`PayloadError`] that names element and field.

pub mod archive;
pub mod bind;
pub mod caps;
pub mod chat_state;
pub mod client_state;
pub mod clients;
pub mod delay;
pub mod disco;
pub mod fallback;
pub mod form;
pub mod forward;
pub mod hash;
pub mod hints;
pub mod last;
pub mod oob;
pub mod ping;
pub mod receipts;
pub mod rsm;
pub mod stanza_id;
pub mod time;
pub mod version;

mod datetime;
#[cfg(feature = "minidom")]
mod dom;
mod error;
mod value;

#[cfg(any(test, fuzzing))]
pub mod table;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub mod support;

pub use datetime::{DateTime, TimeZone};
#[cfg(feature = "minidom")]
pub use dom::Dom;
pub use error::{PayloadError, PayloadProblem};
pub use value::{Base64, TextValue, ValueError};
pub use xmpp_core_derive::{Payload, TextValue};

use crate::xml::{ElementRef, Writer};

/// A typed element. See the [module](self) for deriving it.
pub trait Payload: Sized {
    /// The element's local name.
    const NAME: &'static str;
    /// The element's namespace.
    const NS: &'static str;
    /// Every (name, namespace) that it reads; more than one for an enum of elements, none when only trying tells.
    const NAMES: &'static [(&'static str, &'static str)] = &[(Self::NAME, Self::NS)];

    /// Whether `el` is such an element, by name and namespace.
    fn matches(el: ElementRef<'_>) -> bool {
        el.is(Self::NAME, Self::NS)
    }
    /// Reads it.
    fn read(el: ElementRef<'_>) -> Result<Self, PayloadError>;
    /// Reads an element that [`matches`](Self::matches) said yes to.
    #[doc(hidden)]
    fn read_matched(el: ElementRef<'_>) -> Result<Self, PayloadError> {
        Self::read(el)
    }
    /// Writes it as one element.
    fn write(&self, w: &mut Writer);
}

impl<T: Payload> Payload for Box<T> {
    const NAME: &'static str = T::NAME;
    const NS: &'static str = T::NS;
    const NAMES: &'static [(&'static str, &'static str)] = T::NAMES;
    fn matches(el: ElementRef<'_>) -> bool {
        T::matches(el)
    }
    fn read(el: ElementRef<'_>) -> Result<Self, PayloadError> {
        T::read(el).map(Box::new)
    }
    fn read_matched(el: ElementRef<'_>) -> Result<Self, PayloadError> {
        T::read_matched(el).map(Box::new)
    }
    fn write(&self, w: &mut Writer) {
        T::write(self, w);
    }
}
