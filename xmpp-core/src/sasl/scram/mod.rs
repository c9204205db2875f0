//! SCRAM (RFC 5802, RFC 7677): the keys and the messages, which both roles share.

mod keys;
pub(super) mod message;
mod nonce;

pub use keys::{DeriveJob, SALT_LENGTH, ScramCredentials, ScramKeys, UpgradeJob};
pub(super) use keys::{digest, hmac, proof, verify_proof};
pub use nonce::Nonce;

use super::Hash;

/// The hash of what a server announced, against downgrades (XEP-0474 §6.1): mechanisms and, if XEP-0440 was used, binding
/// types, sorted by bytes. The separators can't occur in XML, so no list can pose as another.
pub(super) fn announcement_hash<'a>(
    hash: Hash,
    mechanisms: impl Iterator<Item = &'a str>,
    bindings: Option<impl Iterator<Item = &'a str>>,
) -> Vec<u8> {
    let mut text = sorted(mechanisms);
    if let Some(bindings) = bindings {
        text.push('\u{1f}');
        text.push_str(&sorted(bindings));
    }
    digest(hash, text.as_bytes()).to_vec()
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.join("\u{1e}")
}
