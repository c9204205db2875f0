//! Files told of in messages: metadata, sources and thumbnails. The bytes come later, by a road that the receiver picks:
//! [`sharing`] is the present way (XEP-0447), [`sims`] the one before it (XEP-0385), `aesgcm:` [links](aesgcm) are for files
//! whose store must not read them (XEP-0454), and [`bob`] carries what is small enough to come in a stanza (XEP-0231). What an incoming
//! message shares, in whichever of these ways, [`shared`] reads.

pub mod aesgcm;
pub mod bob;
pub mod metadata;
mod reading;
pub mod sharing;
pub mod sims;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use bob::{Bits, ContentId};
pub use metadata::{Dimensions, FileMetadata, Thumbnail};
pub use reading::{SharedFile, Told, shared};
pub use sharing::{Disposition, FileSharing, Source, Sources};
/// The address of a file beside a message's text (XEP-0066), for clients that know nothing of the others.
pub use xmpp_core::payload::oob::OutOfBand;
