//! A handle that does not keep the client alive.

use super::{Client, Shared, desk::Command};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;

/// A handle to a client that ends when the last [`Client`] is dropped: for what an extension keeps as long as the client
/// lives.
#[derive(Clone, Debug)]
pub struct WeakClient {
    commands: mpsc::WeakSender<Command>,
    shared: Weak<Shared>,
}

impl Client {
    /// A handle that does not keep the client alive.
    pub fn downgrade(&self) -> WeakClient {
        WeakClient { commands: self.commands.downgrade(), shared: Arc::downgrade(&self.shared) }
    }
}

impl WeakClient {
    /// The client, unless it has ended.
    pub fn upgrade(&self) -> Option<Client> {
        Some(Client { commands: self.commands.upgrade()?, shared: self.shared.upgrade()? })
    }
}
