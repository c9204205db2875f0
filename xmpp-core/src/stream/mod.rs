//! The negotiation of a stream (RFC 6120 §4 to §7), both roles, as state machines without I/O.
//!
//! [`Initiator`] is the client's end, [`Acceptor`] the server's; [`s2s`] has those of streams between servers. A driver feeds them scanner events and carries out
//! the [`Step`]s or [`Task`]s they ask for, in order. Neither owns a socket, a clock or a source of randomness.

mod acceptor;
mod error;
mod features;
mod header;
mod initiator;
pub mod s2s;
mod sasl_xml;

pub use acceptor::{Accepted, Acceptor, AcceptorConfig, Entropy, Phase, Task};
pub use error::{OtherHost, StreamCondition, StreamError};
pub use features::Features;
pub use header::{Header, STREAM_END};
pub use initiator::{Established, Initiator, InitiatorConfig, NegotiationError, Step, TlsPolicy};
