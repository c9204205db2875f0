//! XMPP core (RFC 6120): the wire, addresses, stanzas, streams, and the two ends that speak them.
//!
//! Who writes a bot or a client starts at `client`, who embeds a server at `server`, and who adds a protocol to either
//! at `extension`. Below them:
//!
//! - [`xml`] reads and writes the wire: an incremental scanner, stanzas as text with an index, a writer.
//! - [`jid`] is addresses, [`stanza`] messages, presence and iqs, [`payload`] the typed elements inside them.
//! - [`sasl`] and [`stream`] are the negotiation of a stream as state machines without I/O, for both roles.
//! - `net` is DNS, TCP and TLS on tokio.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `client` (default) | `client`, and with it `net` and `extension` |
//! | `server` | `server`, and with it `net` and `extension` |
//! | `dns` (default) | look-ups of SRV records and addresses by the machine's name servers |
//! | `https` | `net::https`, a small client of HTTPS |
//! | `minidom` (default), `jid` | conversions from and to the types of those crates |
//! | `sasl` | mechanisms of the `sasl` crate as client mechanisms |
//! | `codec` | the scanner as a `tokio_util` codec |
//! | `self-signed` | certificates of one's own making |

// Derived code names this crate from outside and from inside alike.
extern crate self as xmpp_core;

#[cfg(any(feature = "client", feature = "server"))]
pub mod extension;
pub mod jid;
pub mod payload;
pub mod sasl;
pub mod stanza;
pub mod stream;
pub mod xml;

mod printable;
#[cfg(any(feature = "client", feature = "server"))]
mod random;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "server")]
pub mod server;

/// A boxed future, for traits that are used as objects.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
