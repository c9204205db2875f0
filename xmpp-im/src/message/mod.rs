//! What messages consist of: the payloads of instant messaging, each in a module of its own, and what is done with
//! bodies.
//!
//! | module | what | document |
//! |---|---|---|
//! | [`attention`] | asks the reader to look at once | XEP-0224 |
//! | [`characters`] | counting characters in bodies | XEP-0426 |
//! | [`colour`] | the colour of a name, the same in all clients | XEP-0392 |
//! | [`correction`] | a message that takes the place of another | XEP-0308 |
//! | [`encryption`] | says how a message is encrypted | XEP-0380 |
//! | [`fallback`] | texts for those who don't understand the rest | XEP-0428 |
//! | [`marker`] | how far the reader has come | XEP-0333 |
//! | [`me`] | what the sender does | XEP-0245 |
//! | [`nick`] | what the sender wants to be called | XEP-0172 |
//! | [`oob`] | where something can be fetched | XEP-0066 |
//! | [`reactions`] | emoji at another message | XEP-0444 |
//! | [`reference`](mod@reference) | mentions of people, references to data | XEP-0372 |
//! | [`reply`] | replies to another message | XEP-0461 |
//! | [`retraction`] | takes a message back | XEP-0424 |
//! | [`spoiler`] | bodies to be shown on demand | XEP-0382 |
//! | [`styling`] | bold, italics, code and quotations | XEP-0393 |
//!
//! Receipts, chat states, hints and identifiers are in [`xmpp_core::payload`]. None of this is safe by itself: who may
//! correct what, and whom to tell that a message was received, the client side of `chat` knows.

pub mod attention;
pub mod characters;
pub mod colour;
pub mod correction;
pub mod encryption;
pub mod fallback;
pub mod marker;
pub mod me;
pub mod nick;
pub mod reactions;
pub mod reference;
pub mod reply;
pub mod retraction;
pub mod spoiler;
pub mod styling;

pub use xmpp_core::payload::oob;

#[cfg(test)]
mod tests;
