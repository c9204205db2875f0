//! XML that is kept for an account by its name: what vCards and private storage have in common on a server.

mod store;

pub use store::{AccountXmlStore, Kept, MemoryAccountXml, Quota, Shelf, XmlName, conformance};

use xmpp_core::{
    stanza::StanzaError,
    xml::{ElementRef, Stanza, Writer, XmlLimits},
};

/// An element as it is kept: a document of its own.
pub(crate) fn to_text(element: ElementRef<'_>) -> Result<String, StanzaError> {
    let mut out = Writer::new("");
    out.element(element);
    String::from_utf8(out.finish()).map_err(|_| StanzaError::internal_server_error())
}

/// A kept element. What was stored had been read from a stream: it is bounded already.
pub(crate) fn from_text(text: &str) -> Result<Stanza, StanzaError> {
    Stanza::document(text, &XmlLimits::unbounded()).map_err(|error| {
        tracing::error!(%error, "a stored element cannot be read");
        StanzaError::internal_server_error()
    })
}

/// What is told to who wants to keep more than there is room for.
pub(crate) fn refusal(kept: Kept) -> Result<(), StanzaError> {
    match kept {
        Kept::Yes => Ok(()),
        Kept::TooBig => Err(StanzaError::not_acceptable().with_text("this is larger than what is kept for an account")),
        Kept::NoRoom => Err(StanzaError::resource_constraint().with_text("no more is kept for this account")),
    }
}
