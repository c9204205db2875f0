//! Files from one device to another over [`xmpp_core`], by every road: Jingle (XEP-0166, XEP-0234) over SOCKS5 (XEP-0260) and
//! in-band (XEP-0261), stream initiation (XEP-0095, XEP-0096) for older peers, and HTTP upload (XEP-0363). For both ends: what
//! clients do, and what a server offers to them. The signalling of calls is here as data, since it shares Jingle.

pub mod call;
#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "server"))]
mod duplex;
pub mod file;
pub mod ibb;
pub mod jingle;
#[cfg(feature = "server")]
pub mod proxy65;
pub mod share;
pub mod si;
pub mod socks5;
pub mod upload;

#[cfg(any(feature = "client", feature = "server"))]
pub use duplex::{ByteStream, Duplex};
