//! Listening sockets that a service manager hands over (`LISTEN_FDS`, sd_listen_fds(3)). It keeps them while one process
//! of the server ends and the next one starts, so that nobody who connects in between is refused.

use crate::Outcome;
use std::net::{SocketAddr, TcpListener};

/// The sockets that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Handed(Vec<TcpListener>);

impl Handed {
    /// What the environment says; nothing where it says nothing.
    #[cfg(unix)]
    pub(crate) fn from_environment() -> Outcome<Handed> {
        let mut given = listenfd::ListenFd::from_env();
        let taken = (0..given.len()).map(|index| given.take_tcp_listener(index));
        let taken = taken.collect::<Result<Vec<_>, _>>();
        let taken = taken.map_err(|error| format!("a socket that was handed over is not one for TCP: {error}"))?;
        Ok(Handed(taken.into_iter().flatten().collect()))
    }

    #[cfg(not(unix))]
    pub(crate) fn from_environment() -> Outcome<Handed> {
        Ok(Handed::default())
    }

    /// The socket that listens at this address, which then need not be bound.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let index = self.0.iter().position(|one| one.local_addr().is_ok_and(|bound| bound == address))?;
        Some(self.0.swap_remove(index))
    }

    /// All must have been taken: a socket without a server behind it would keep people waiting for ever.
    pub(crate) fn finish(self) -> Outcome<()> {
        match self.0.first() {
            None => Ok(()),
            Some(left) => {
                let address = left.local_addr()?;
                Err(format!("a socket for {address} was handed over, and [listen] does not name that address").into())
            }
        }
    }
}
