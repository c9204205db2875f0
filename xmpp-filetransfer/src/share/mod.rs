//! Files told of in messages: metadata, sources and thumbnails.

pub mod oob;
