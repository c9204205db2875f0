//! Entropy, from the operating system.

/// Random bytes.
///
/// # Panics
/// When the operating system has no entropy to give: going on with guessable ids and nonces would be worse.
#[allow(clippy::expect_used)]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides entropy");
    bytes
}

#[cfg(any(test, feature = "server"))]
/// An unguessable token of 128 bits, in lower-case letters and digits.
#[cfg(feature = "server")]
pub(crate) fn token() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let number = u128::from_le_bytes(bytes());
    (0..26).map(|index| char::from(ALPHABET[(number >> (index * 5)) as usize & 31])).collect()
}

#[cfg(all(test, feature = "server"))]
mod tests {
    #[test]
    fn tokens_differ_and_have_128_bits() {
        let (one, two) = (super::token(), super::token());
        assert_ne!(one, two);
        assert_eq!(one.len(), 26);
    }
}
