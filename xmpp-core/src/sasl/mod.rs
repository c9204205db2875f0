//! SASL mechanisms for both ends of a stream (RFC 4422 as profiled by RFC 6120 §6).
//!
//! Everything here is a state machine over bytes: no XML, no base64 framing, no sockets, clock or randomness. Nonces
//! and channel bindings are handed in; PBKDF2, which takes milliseconds, is handed out as a [`DeriveJob`] (client) or a
//! [`ServerStep::CheckPassword`] (server) so that a driver can run it where it blocks nobody.
//!
//! A client calls [`ClientSasl::choose`], then [`start`](ClientSasl::start),
//! [`challenge`](ClientSasl::challenge) and [`success`](ClientSasl::success). A server keeps one [`ServerSasl`] per
//! stream and answers each [`ServerStep`]. [`encode_payload`] and [`decode_payload`] are the base64 rules of RFC 6120
//! §6.4 for whoever writes the XML.

mod binding;
mod client;
mod failure;
mod mechanism;
mod payload;
mod prep;
mod scram;
mod server;
mod token;

#[cfg(test)]
mod tests;

pub use binding::{BindingType, ChannelBindings};
#[cfg(feature = "sasl")]
pub use client::ForeignMechanism;
pub use client::{
    ChooseError, ClientMechanism, ClientPolicy, ClientSasl, ClientStep, ClientSuccess, Credentials, Offer, SaslError,
};
pub use failure::{SaslCondition, SaslFailure};
pub use mechanism::{Hash, Mechanism};
pub use payload::{PayloadError, decode_payload, encode_payload};
pub use prep::{PrepareError, prepare_password, prepare_username};
pub use scram::message::SyntaxError as ScramSyntaxError;
pub use scram::{DeriveJob, Nonce, SALT_LENGTH, ScramCredentials, ScramKeys, UpgradeJob};
pub use server::{Authenticated, Identity, ServerPolicy, ServerSasl, ServerStep};
pub use token::TokenProof;

/// The longest message either side accepts, in bytes before base64. RFC 4616 asks for names of 255 bytes; nothing in
/// use comes near this.
pub const MAX_MESSAGE: usize = 8192;
