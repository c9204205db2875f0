//! vCards (XEP-0054, "vcard-temp"): what users tell the world of themselves.
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
//! use xmpp_im::{account_xml::MemoryAccountXml, vcard};
//!
//! builder.with(vcard::server(MemoryAccountXml::new(), vcard::MAX_BYTES))
//! # }
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{get, set};
#[cfg(feature = "server")]
pub use server::{MAX_BYTES, server};

use std::borrow::Cow;
use xmpp_core::{
    payload::{Payload, PayloadError},
    xml::{ElementRef, Stanza, Writer},
};

/// `vcard-temp`.
pub const NS: &str = "vcard-temp";

/// A vCard as it is on the wire: its fields are many, and most are seldom used.
#[derive(Clone, Debug)]
pub struct VCard(Stanza);

impl VCard {
    /// An empty one: what asks for one, too.
    pub fn empty() -> VCard {
        VCard::write_with(|_| {})
    }

    /// A vCard whose fields `write` writes, in [`NS`].
    ///
    /// ```
    /// use xmpp_im::vcard::{NS, VCard};
    ///
    /// let card = VCard::write_with(|out| out.text_element("FN", NS, "Juliet Capulet"));
    /// assert_eq!(card.text("FN").as_deref(), Some("Juliet Capulet"));
    /// ```
    pub fn write_with(write: impl FnOnce(&mut Writer)) -> VCard {
        let mut out = Writer::new("");
        out.open("vCard", NS);
        write(&mut out);
        out.close();
        VCard(out.into_stanza())
    }

    /// The whole element.
    pub fn element(&self) -> ElementRef<'_> {
        self.0.root()
    }

    /// The text of a field: `FN`, `NICKNAME`, `DESC`, …
    pub fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        self.0.root().child(field, NS).map(|field| field.text())
    }
}

impl Payload for VCard {
    const NAME: &'static str = "vCard";
    const NS: &'static str = NS;

    fn read(el: ElementRef<'_>) -> Result<Self, PayloadError> {
        Ok(VCard(el.to_stanza()))
    }
    fn write(&self, w: &mut Writer) {
        w.element(self.0.root());
    }
}
