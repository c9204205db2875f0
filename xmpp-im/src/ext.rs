//! The handles of a client's extensions.

use crate::{avatar::Avatars, caps::Capabilities, presence::ClientPresence, roster::ClientRoster};
use xmpp_core::client::Client;

/// The handles of what a client was built with; `None` where it was built without.
///
/// ```no_run
/// use xmpp_core::client::Client;
/// use xmpp_im::{ClientExt, caps, presence, roster};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Client::builder("juliet@example.org".parse()?, "secret");
/// let builder = builder.with(roster::client).with(presence::client).with(caps::client("https://chat.example.org"));
/// let (client, events) = builder.connect()?;
/// assert!(client.roster().is_some() && client.presence().is_some() && client.caps().is_some());
/// # drop(events);
/// # Ok(()) }
/// ```
pub trait ClientExt {
    /// The roster, of [`roster::client`](crate::roster::client()).
    fn roster(&self) -> Option<ClientRoster>;
    /// Presence, of [`presence::client`](crate::presence::client()).
    fn presence(&self) -> Option<ClientPresence>;
    /// What others can do, of [`caps::client`](crate::caps::client()).
    fn caps(&self) -> Option<Capabilities>;
    /// Photos, of [`avatar::client`](crate::avatar::client()).
    fn avatars(&self) -> Option<Avatars>;
}

impl ClientExt for Client {
    fn roster(&self) -> Option<ClientRoster> {
        ClientRoster::of(self)
    }

    fn presence(&self) -> Option<ClientPresence> {
        ClientPresence::of(self)
    }

    fn caps(&self) -> Option<Capabilities> {
        Capabilities::handle(self)
    }

    fn avatars(&self) -> Option<Avatars> {
        Avatars::handle(self)
    }
}
