//! Stanza identifiers (RFC 6120 §8.1.3).

use base64::Engine;
use std::hash::{BuildHasher, Hasher, RandomState};

/// An identifier that nobody can guess: 128 random bits, 22 characters of base64url. An answer that carries it comes
/// from someone who saw the question.
pub fn generate_id() -> String {
    let mut bytes = [0u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // The standard library seeds its hasher from the same source, or from what it has instead.
        for half in bytes.chunks_mut(8) {
            half.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
        }
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
