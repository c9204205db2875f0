//! What the measurements share.

pub mod mix;
