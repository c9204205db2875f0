//! Files told of in messages: metadata, sources and thumbnails.
