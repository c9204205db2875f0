//! AES-256 in Galois/Counter Mode (NIST SP 800-38D), piece by piece: a file of any length in a few hundred bytes.

use super::{AesGcmLink, IV_BYTES, KEY_BYTES};
use aes::Aes256;
use ctr::{
    Ctr32BE,
    cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher},
};
use ghash::{GHash, universal_hash::UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The longest file that one key and vector can encrypt, in bytes (SP 800-38D §5.2.1.1).
pub const MAX_BYTES: u64 = (1 << 36) - 32;

/// The octets of a block, and of the tag.
const BLOCK: usize = 16;

/// The file is longer than one key and vector can encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is longer than can be encrypted: at most {MAX_BYTES} bytes")]
pub struct TooLong;

/// This is not what was encrypted with this key: it was changed, cut off, or continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is not what was encrypted with this key")]
pub struct Forged;

/// What both directions have.
pub(super) struct Gcm {
    stream: Ctr32BE<Aes256>,
    /// What the hash is hidden with.
    mask: Zeroizing<[u8; BLOCK]>,
    hash: GHash,
    /// Octets of the cipher text that are no whole block yet.
    rest: Vec<u8>,
    pub(super) length: u64,
}

impl Gcm {
    fn new(key: &[u8; KEY_BYTES], iv: &[u8]) -> Gcm {
        let cipher = Aes256::new(key.into());
        let mut hash_key = ghash::Key::default();
        cipher.encrypt_block(&mut hash_key);
        let hash = GHash::new(&hash_key);
        hash_key.zeroize();
        let mut stream = Ctr32BE::<Aes256>::new(key.into(), &first_block(&hash, iv).into());
        let mut mask = Zeroizing::new([0; BLOCK]);
        stream.apply_keystream(mask.as_mut_slice());
        Gcm { stream, mask, hash, rest: Vec::with_capacity(BLOCK), length: 0 }
    }

    fn apply(&mut self, octets: &mut [u8]) -> Result<(), TooLong> {
        self.stream.try_apply_keystream(octets).map_err(|_| TooLong)
    }

    /// Hashes what comes next of the cipher text.
    fn hash(&mut self, mut octets: &[u8]) -> Result<(), TooLong> {
        self.length = self.length.saturating_add(octets.len() as u64);
        if self.length > MAX_BYTES {
            return Err(TooLong);
        }
        if !self.rest.is_empty() {
            let (begin, others) = octets.split_at((BLOCK - self.rest.len()).min(octets.len()));
            self.rest.extend_from_slice(begin);
            octets = others;
            if self.rest.len() == BLOCK {
                self.hash.update_padded(&self.rest);
                self.rest.clear();
            }
        }
        let (whole, rest) = octets.split_at(octets.len() - octets.len() % BLOCK);
        self.hash.update_padded(whole);
        self.rest.extend_from_slice(rest);
        Ok(())
    }

    fn tag(mut self) -> [u8; BLOCK] {
        self.hash.update_padded(&self.rest);
        self.hash.update_padded(&lengths(self.length));
        let mut tag: [u8; BLOCK] = self.hash.finalize().into();
        tag.iter_mut().zip(self.mask.iter()).for_each(|(tag, mask)| *tag ^= mask);
        tag
    }
}

/// The last block of what is hashed: there are no other data, and so many octets (§6.4).
fn lengths(octets: u64) -> [u8; BLOCK] {
    (u128::from(octets) * 8).to_be_bytes()
}

/// The first counter (SP 800-38D §7.1, step 2).
fn first_block(hash: &GHash, iv: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    if iv.len() == IV_BYTES {
        block.iter_mut().zip(iv.iter().chain(&[0, 0, 0, 1])).for_each(|(octet, from)| *octet = *from);
        return block;
    }
    let mut hash = hash.clone();
    hash.update_padded(iv);
    hash.update_padded(&lengths(iv.len() as u64));
    hash.finalize().into()
}

/// Encrypts a file.
///
/// ```
/// use xmpp_filetransfer::share::aesgcm::{AesGcmLink, Opener, Sealer};
///
/// let (key, iv) = ([7; 32], [9; 12]);
/// let mut sealer = Sealer::new(&key, &iv);
/// let mut file = b"Wilt thou be gone?".to_vec();
/// sealer.seal(&mut file)?;
/// file.extend(sealer.tag());
///
/// let link = AesGcmLink::new("https://files.example.org/1/letter.txt", iv, key)?;
/// let (mut opener, mut plain) = (Opener::new(&link), Vec::new());
/// opener.open(&file, &mut plain)?;
/// opener.finish()?;
/// assert_eq!(plain, b"Wilt thou be gone?");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sealer(pub(super) Gcm);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("length", &self.0.length).finish_non_exhaustive()
    }
}

impl Sealer {
    /// With this key and vector, which must never have encrypted another file.
    pub fn new(key: &[u8; KEY_BYTES], iv: &[u8; IV_BYTES]) -> Sealer {
        Sealer(Gcm::new(key, iv))
    }

    /// Encrypts what comes next, in its place.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn seal(&mut self, octets: &mut [u8]) -> Result<(), TooLong> {
        self.0.apply(octets)?;
        self.0.hash(octets)
    }

    /// What stands at the end of the encrypted file (XEP-0454 §3).
    pub fn tag(self) -> [u8; 16] {
        self.0.tag()
    }
}

/// Decrypts a file. What it yields is worth nothing before [`finish`](Self::finish) has said that all of it is genuine.
pub struct Opener {
    gcm: Gcm,
    /// The last octets that came, which may be the tag.
    tail: Vec<u8>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("length", &self.gcm.length).finish_non_exhaustive()
    }
}

impl Opener {
    /// For the file of this link.
    pub fn new(link: &AesGcmLink) -> Opener {
        Opener { gcm: Gcm::new(link.key(), link.iv()), tail: Vec::with_capacity(2 * BLOCK) }
    }

    /// Decrypts what comes next, to the end of `plain`. The last 16 octets are held back.
    ///
    /// # Errors
    /// [`Forged`] for what is longer than anybody can have encrypted.
    pub fn open(&mut self, octets: &[u8], plain: &mut Vec<u8>) -> Result<(), Forged> {
        let ready = (self.tail.len() + octets.len()).saturating_sub(BLOCK);
        let (old, start) = (ready.min(self.tail.len()), plain.len());
        let (fresh, held) = octets.split_at(ready - old);
        plain.extend(self.tail.drain(..old));
        plain.extend_from_slice(fresh);
        self.tail.extend_from_slice(held);
        let text = plain.get_mut(start..).unwrap_or_default();
        self.gcm.hash(text).and_then(|()| self.gcm.apply(text)).map_err(|_| Forged)
    }

    /// Says whether all that came is what was encrypted with this key.
    ///
    /// # Errors
    /// [`Forged`] if not: what was decrypted has to be thrown away.
    pub fn finish(self) -> Result<(), Forged> {
        let Opener { gcm, tail } = self;
        match tail.len() == BLOCK && bool::from(gcm.tag().ct_eq(&tail)) {
            true => Ok(()),
            false => Err(Forged),
        }
    }
}
