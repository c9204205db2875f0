//! Rooms inside a server, over stores that fail, hang, and are found again.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

mod archive;
mod crowd;
mod discovery;
mod face;
mod makers;
mod presence;
mod setup;
mod stores;
