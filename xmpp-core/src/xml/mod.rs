//! Restricted XML (RFC 6120 §11): an incremental scanner, stanzas as bytes plus an index, a writer.

mod build;
mod chars;
#[cfg(feature = "codec")]
pub mod codec;
mod element;
mod error;
mod escape;
mod header;
mod limits;
#[cfg(feature = "minidom")]
mod minidom;
pub mod ns;
mod pool;
mod rewrite;
mod scanner;
mod seek;
mod stanza;
mod tape;
mod words;
mod writer;

pub use element::{Attribute, Attributes, Children, ElementRef, Node, Nodes};
pub use error::XmlError;
pub use limits::XmlLimits;
pub use rewrite::Rewrite;
#[cfg(feature = "server")]
pub(crate) use rewrite::quoted;
pub use scanner::{Event, Scanner, StreamHeader};
pub use stanza::Stanza;
pub use writer::Writer;

#[cfg(test)]
mod tests;
