//! Entity capabilities: what software can do, told as a hash in presence (XEP-0115, and XEP-0390, which is called caps 2).
//!
//! Both ends compute the hash from what is registered. A client that asks what another can do asks once for each hash:
//!
//! ```no_run
//! use xmpp_core::client::Client;
//! use xmpp_im::{ClientExt, caps};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Client::builder("juliet@example.org".parse()?, "secret").with(caps::client("https://chat.example.org"));
//! let (client, events) = builder.connect()?;
//! let romeo = "romeo@example.net/orchard".parse::<xmpp_core::jid::FullJid>()?;
//! let can = client.caps().ok_or("built without capabilities")?.of(&romeo).await?;
//! println!("{}", can.has_feature("urn:xmpp:receipts"));
//! # drop(events);
//! # Ok(()) }
//! ```
//!
//! The hash function SHA3-256 is not among those that are computed here; of a set that names it another one is taken.

#[cfg(feature = "client")]
mod cache;
#[cfg(feature = "client")]
mod client;
mod input;
#[cfg(any(feature = "client", feature = "server"))]
mod own;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{Capabilities, client};
pub use input::{IllFormed, hash_input, verification_input};
#[cfg(feature = "server")]
pub use server::server;

use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};
use xmpp_core::payload::{Base64, Payload, TextValue as _, disco::DiscoInfo, hash::Hash};

/// The namespace of XEP-0115.
pub const NS: &str = "http://jabber.org/protocol/caps";
/// The namespace of XEP-0390.
pub const NS_2: &str = "urn:xmpp:caps";
/// What the nodes of XEP-0390 begin with (§4.3).
pub const NODE_2: &str = "urn:xmpp:caps#";

/// The hashes of what the sender's software can do, in presence and in stream features (XEP-0390 §6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "c", ns = NS_2)]
pub struct CapsHashes {
    /// One for each hash function.
    #[xml(children)]
    pub hashes: Vec<Hash>,
}

/// A hash of these bytes by a function's name (XEP-0300): `sha-1`, `sha-256` or `sha-512`; `None` for others.
pub fn digest(function: &str, input: &[u8]) -> Option<Vec<u8>> {
    match function {
        "sha-1" => Some(Sha1::digest(input).to_vec()),
        "sha-256" => Some(Sha256::digest(input).to_vec()),
        "sha-512" => Some(Sha512::digest(input).to_vec()),
        _ => None,
    }
}

/// The verification string of XEP-0115 §5.1 with this hash function, in base64; `None` if the function is unknown.
///
/// # Errors
/// [`IllFormed`], for an answer that must not be believed (§5.4).
///
/// ```
/// use xmpp_core::payload::disco::{DiscoInfo, Identity};
///
/// let mut info = DiscoInfo::default();
/// info.identities.push(Identity::new("client", "pc", Some("Exodus 0.9.1".into())));
/// for feature in ["caps", "disco#info", "disco#items", "muc"] {
///     info.features.push(format!("http://jabber.org/protocol/{feature}").as_str().into());
/// }
/// assert_eq!(xmpp_im::caps::ver(&info, "sha-1")?.as_deref(), Some("QgayPKawpkPSDYmwT/WM94uAlu0="));
/// # Ok::<(), xmpp_im::caps::IllFormed>(())
/// ```
pub fn ver(info: &DiscoInfo, function: &str) -> Result<Option<String>, IllFormed> {
    Ok(digest(function, verification_input(info)?.as_bytes()).map(|hash| base64(&hash)))
}

/// The node to ask for what a hash of XEP-0390 stands for (§4.3).
pub fn hash_node(hash: &Hash) -> String {
    format!("{NODE_2}{}.{}", hash.algo, base64(&hash.value.0))
}

fn base64(bytes: &[u8]) -> String {
    Base64(bytes.to_vec()).to_text().into_owned()
}
