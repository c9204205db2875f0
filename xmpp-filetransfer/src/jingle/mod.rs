//! Sessions between two clients for any purpose (XEP-0166).
//!
//! [`Session`] is one end of a session as a pure machine: what comes from the peer goes in and events come out, what the
//! application wants becomes a [`Jingle`] to send. It knows neither applications nor transports: their elements pass through
//! it as they are.
//!
//! ```
//! use xmpp_core::{jid::FullJid, xml::{Stanza, XmlLimits}};
//! use xmpp_filetransfer::jingle::{Content, Event, Reason, Senders, Session, SessionLimits};
//!
//! let element = |xml: &str| Stanza::parse(xml, "", &XmlLimits::authenticated());
//! let romeo: FullJid = "romeo@montague.lit/orchard".parse()?;
//! let juliet: FullJid = "juliet@capulet.lit/balcony".parse()?;
//! let offer = Content::initial("letter")
//!     .with_senders(Senders::Initiator)
//!     .with_description(element("<description xmlns='urn:example:letter'/>")?)
//!     .with_transport(element("<transport xmlns='urn:example:nurse'/>")?);
//!
//! let (mut his, sent) = Session::initiate("a73sj", romeo.clone(), juliet.clone(), vec![offer], SessionLimits::default())?;
//! let mut hers = Session::incoming(&sent.jingle, juliet, romeo, SessionLimits::default())?;
//! his.answered(sent.id, Ok(()));
//!
//! let contents = hers.offered();
//! let accept = hers.accept(contents)?;
//! assert!(matches!(&his.receive(&accept.jingle)?[..], [Event::Accepted { .. }]));
//! assert!(his.is_active() && hers.is_active());
//! hers.answered(accept.id, Ok(()));
//!
//! let end = his.terminate(Reason::success())?;
//! assert!(matches!(&hers.receive(&end.jingle)?[..], [Event::Ended { .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "client")]
pub mod client;
mod error;
mod payload;
pub mod propose;
mod reason;
mod session;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]
mod tests;

pub use error::{JingleCondition, JingleError};
pub use payload::{Action, Content, ContentId, Creator, Jingle, Senders};
pub use reason::{Reason, ReasonCondition};
pub use session::{
    Ending, Event, Misuse, Phase, Sent, SentId, Session, SessionContent, SessionLimits, Winner, tie_break,
};

/// `urn:xmpp:jingle:1`.
pub const NS: &str = "urn:xmpp:jingle:1";
/// `urn:xmpp:jingle:errors:1`.
pub const ERRORS: &str = "urn:xmpp:jingle:errors:1";
