//! In-band bytestreams (XEP-0047): bytes within stanzas, where nothing better is to be had.
//!
//! [`Blocks`] is one stream without I/O: what is written becomes numbered blocks, what comes is put in order, judged and read.
//! In a client (feature `client`) [`open`] and [`expect`] make it an [`IbbStream`], which reads and writes like a connection:
//!
//! ```
//! # #[cfg(not(all(feature = "client", feature = "server")))]
//! # fn main() {}
//! # #[cfg(all(feature = "client", feature = "server"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}};
//! use xmpp_filetransfer::ibb::{self, Opening};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("romeo@localhost".parse()?, "secret");
//! accounts.set_password("juliet@localhost".parse()?, "secret");
//! let server = Server::builder("localhost").accounts(accounts).build()?;
//! let client = |name: &str| {
//!     let server = server.clone();
//!     let builder = Client::builder(name.parse().unwrap(), "secret").with(ibb::client);
//!     builder.pipe(move || server.connect_memory()).connect()
//! };
//! let ((romeo, _events), (juliet, _others)) = (client("romeo@localhost")?, client("juliet@localhost")?);
//! let (from, to) = (romeo.online().await.unwrap(), juliet.online().await.unwrap());
//!
//! let expected = ibb::expect(&juliet, from, "i781hf64", 4096)?;
//! let mut sending = ibb::open(&romeo, to, "i781hf64", Opening::default()).await?;
//! let mut receiving = expected.stream().await?;
//! tokio::spawn(async move {
//!     sending.write_all(b"Wilt thou be gone? it is not yet near day").await?;
//!     sending.shutdown().await
//! });
//! let mut said = String::new();
//! receiving.read_to_string(&mut said).await?;
//! assert!(said.ends_with("not yet near day"));
//! # Ok(()) }
//! ```
//!
//! Jingle names the stream and its blocks in a [`Transport`] (XEP-0261), and then opens it in the same way.

mod blocks;
#[cfg(feature = "client")]
mod client;
mod payload;

pub use blocks::{Acknowledge, Blocks, IbbError, IbbLimits, Output, Reading};
#[cfg(feature = "client")]
pub use client::{
    Expected, IbbOffer, IbbOffers, IbbSettings, IbbStream, Opening, client, client_with, expect, listen, open,
};
pub use payload::{Carrier, Close, Data, Open, Transport, is_sid};

/// `http://jabber.org/protocol/ibb`.
pub const NS: &str = "http://jabber.org/protocol/ibb";
/// `urn:xmpp:jingle:transports:ibb:1`.
pub const JINGLE_NS: &str = "urn:xmpp:jingle:transports:ibb:1";
/// The size of a block that XEP-0047 §5 recommends, in bytes.
pub const BLOCK_SIZE: u16 = 4096;
