//! A client's rooms, over an embedded service.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod enter;
mod face;
mod govern;
mod setup;
mod stay;
mod talk;
