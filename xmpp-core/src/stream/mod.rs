//! The negotiation of a stream (RFC 6120 §4 to §7), both roles, as state machines without I/O.
//!
//! [`Initiator`] is the client's end, [`Acceptor`] the server's; [`ComponentInitiator`] and [`ComponentAcceptor`] are the
//! ends of a component's stream (XEP-0114), and [`s2s`] has those of streams between servers. A driver feeds them scanner
//! events and carries out
//! the [`Step`]s or [`Task`]s they ask for, in order. Neither owns a socket, a clock or a source of randomness.

mod acceptor;
pub mod bosh;
mod component;
mod error;
mod features;
pub mod framing;
mod header;
mod initiator;
mod limits;
pub mod management;
pub mod s2s;
mod sasl2;
mod sasl_xml;
mod tokens;
mod unacked;

pub use acceptor::{
    Accepted, Acceptor, AcceptorConfig, BindRequest, Bound, Entropy, Login, NewcomerOffer, Phase, ResumeError, Resumed,
    Task,
};
pub use component::{
    ComponentAcceptor, ComponentInitiator, ComponentSecrets, ComponentStep, ComponentTask, component_handshake,
};
pub use error::{OtherHost, StreamCondition, StreamError};
#[cfg(feature = "client")]
pub(crate) use features::CSI;
pub use features::Features;
pub use header::{Header, STREAM_END};
pub use initiator::{
    Established, FastToken, Initiator, InitiatorConfig, NegotiationError, Resumption, Sasl2Offer, Sasl2Options, Step,
    TlsPolicy,
};
pub use limits::StreamLimits;
pub use sasl2::UserAgent;
pub use tokens::{ClientRecord, ClientTokens, Token};
