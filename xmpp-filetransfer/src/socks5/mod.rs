//! SOCKS5 bytestreams (XEP-0065): a TCP connection between two clients, direct or through a relay.
//!
//! Without I/O: [`Accepting`] and [`Asking`] are the two ends of the handshake (RFC 1928), and [`Negotiation`] finds out with the
//! other side which of the candidates of Jingle is used (XEP-0260). In a client (feature `client`) [`gather`] and
//! [`Gathered::negotiate`] carry that out; [`offer`] and [`expect`] are the older way without Jingle:
//!
//! ```
//! # #[cfg(not(all(feature = "client", feature = "server")))]
//! # fn main() {}
//! # #[cfg(all(feature = "client", feature = "server"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}};
//! use xmpp_filetransfer::socks5::{self, Socks5Settings};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("romeo@localhost".parse()?, "secret");
//! accounts.set_password("juliet@localhost".parse()?, "secret");
//! let server = Server::builder("localhost").accounts(accounts).build()?;
//! let client = |name: &str| {
//!     let server = server.clone();
//!     let mut settings = Socks5Settings::default();
//!     settings.loopback = true; // Both are on this machine.
//!     let builder = Client::builder(name.parse().unwrap(), "secret").with(socks5::client_with(settings));
//!     builder.pipe(move || server.connect_memory()).connect()
//! };
//! let ((romeo, _events), (juliet, _others)) = (client("romeo@localhost")?, client("juliet@localhost")?);
//! let (from, to) = (romeo.online().await.unwrap(), juliet.online().await.unwrap());
//!
//! let expected = socks5::expect(&juliet, from, "vxf9n471bn46")?;
//! let (sending, receiving) = tokio::join!(socks5::offer(&romeo, to, "vxf9n471bn46"), expected.stream());
//! let (mut sending, mut receiving) = (sending?, receiving?);
//! sending.write_all(b"It is the lark that sings so out of tune").await?;
//! drop(sending);
//! let mut said = String::new();
//! receiving.read_to_string(&mut said).await?;
//! assert!(said.ends_with("out of tune"));
//! # Ok(()) }
//! ```
//!
//! Who connects tells its address to the other side, and so does who offers its own addresses. A client does either only for
//! streams that its user wants: it dials nothing before it was told to expect the stream.

#[cfg(feature = "client")]
mod client;
mod codec;
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) mod handshake;
mod hash;
mod jingle;
mod negotiation;
mod payload;

#[cfg(feature = "client")]
pub(crate) use client::offer_link;
#[cfg(feature = "client")]
pub use client::{
    Expected, Gathered, Socks5Error, Socks5Settings, client, client_with, expect, gather, may_dial, offer, proxies,
};
pub use codec::{Accepting, Asking, HandshakeError, Progress, Refusal, granted};
pub use hash::StreamHash;
pub use jingle::{Activated, Candidate, CandidateKind, CandidateUsed, Mode, Transport, priority};
pub use negotiation::{Action, Info, Link, Negotiation, NegotiationError};
pub use payload::{Query, Streamhost, StreamhostUsed};

/// `http://jabber.org/protocol/bytestreams`.
pub const NS: &str = "http://jabber.org/protocol/bytestreams";
/// `urn:xmpp:jingle:transports:s5b:1`.
pub const JINGLE_NS: &str = "urn:xmpp:jingle:transports:s5b:1";
