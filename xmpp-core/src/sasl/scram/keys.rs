//! The keys of SCRAM (RFC 5802 §3) and how they are derived, kept and checked.

use std::fmt;

use ::hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::super::{Hash, prepare_password};

/// The length of a salt in bytes. Salts of one length keep an unknown user's fake salt from standing out.
pub const SALT_LENGTH: usize = 16;

const LONGEST: usize = 64;

/// A digest of any of the three hashes, on the stack.
pub(in crate::sasl) struct Digest {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Digest {
    fn new(from: &[u8]) -> Digest {
        let length = from.len().min(LONGEST);
        let mut bytes = [0; LONGEST];
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        Digest { bytes, length }
    }
}

impl std::ops::Deref for Digest {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

pub(in crate::sasl) fn digest(hash: Hash, data: &[u8]) -> Digest {
    match hash {
        Hash::Sha1 => Digest::new(&Sha1::digest(data)),
        Hash::Sha256 => Digest::new(&Sha256::digest(data)),
        Hash::Sha512 => Digest::new(&Sha512::digest(data)),
    }
}

pub(in crate::sasl) fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Digest {
    fn run<M: Mac + ::hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Digest {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §2)")]
        let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of every length");
        for part in parts {
            mac.update(part);
        }
        Digest::new(&mac.finalize().into_bytes())
    }
    match hash {
        Hash::Sha1 => run::<Hmac<Sha1>>(key, parts),
        Hash::Sha256 => run::<Hmac<Sha256>>(key, parts),
        Hash::Sha512 => run::<Hmac<Sha512>>(key, parts),
    }
}

fn salted_password(hash: Hash, password: &[u8], salt: &[u8], iterations: u32) -> Digest {
    let mut out = Zeroizing::new([0; LONGEST]);
    let out = out.get_mut(..hash.length()).unwrap_or_default();
    match hash {
        Hash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, out),
        Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, out),
        Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, out),
    }
    Digest::new(out)
}

/// ClientProof (RFC 5802 §3).
pub(in crate::sasl) fn proof(keys: &ScramKeys, auth_message: &[&[u8]]) -> Vec<u8> {
    let stored_key = digest(keys.hash, &keys.client_key);
    let signature = hmac(keys.hash, &stored_key, auth_message);
    keys.client_key.iter().zip(signature.iter()).map(|(key, signature)| key ^ signature).collect()
}

/// Whether a ClientProof comes from the owner of the credentials, in constant time.
pub(in crate::sasl) fn verify_proof(credentials: &ScramCredentials, auth_message: &[&[u8]], proof: &[u8]) -> bool {
    let hash = credentials.hash;
    let signature = hmac(hash, &credentials.stored_key, auth_message);
    let mut client_key = Digest::new(proof);
    for (key, signature) in client_key.bytes.iter_mut().zip(signature.iter()) {
        *key ^= signature;
    }
    proof.len() == hash.length() && bool::from(digest(hash, &client_key).ct_eq(&credentials.stored_key))
}

/// What a client needs for logging in without its password, as long as the server keeps salt and iterations. Worth
/// caching: it saves PBKDF2, and needs the same care as a password for this one server.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The hash.
    pub hash: Hash,
    /// The salt, raw bytes.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// ClientKey, as long as a digest.
    pub client_key: Vec<u8>,
    /// ServerKey, as long as a digest.
    pub server_key: Vec<u8>,
}

impl ScramKeys {
    /// Derives them from a password. Blocks for the time of `iterations` hashes: milliseconds.
    pub fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> ScramKeys {
        let salted = salted_password(hash, prepare_password(password).as_bytes(), salt, iterations);
        Self::from_salted(hash, &salted, salt, iterations)
    }

    fn from_salted(hash: Hash, salted: &[u8], salt: &[u8], iterations: u32) -> ScramKeys {
        ScramKeys {
            hash,
            salt: salt.to_vec(),
            iterations,
            client_key: hmac(hash, salted, &[b"Client Key"]).to_vec(),
            server_key: hmac(hash, salted, &[b"Server Key"]).to_vec(),
        }
    }

    /// What a server keeps of them.
    pub fn credentials(&self) -> ScramCredentials {
        ScramCredentials {
            hash: self.hash,
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: digest(self.hash, &self.client_key).to_vec(),
            server_key: self.server_key.clone(),
        }
    }
}

impl Drop for ScramKeys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// PBKDF2 to be run, off the reactor.
pub struct DeriveJob {
    pub(in crate::sasl) hash: Hash,
    pub(in crate::sasl) password: Zeroizing<String>,
    pub(in crate::sasl) salt: Vec<u8>,
    pub(in crate::sasl) iterations: u32,
}

impl DeriveJob {
    /// Runs it. Blocks: milliseconds, and at [`ClientPolicy`](super::super::ClientPolicy)'s upper bound about a second.
    pub fn run(self) -> ScramKeys {
        ScramKeys::derive(self.hash, &self.password, &self.salt, self.iterations)
    }

    /// The hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// PBKDF2 iterations, which tell how long it takes.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

/// A salted password to be derived for a server that wants to offer a stronger mechanism (XEP-0480), off the reactor.
pub struct UpgradeJob {
    pub(in crate::sasl) hash: Hash,
    pub(in crate::sasl) password: Zeroizing<String>,
    pub(in crate::sasl) salt: Vec<u8>,
    pub(in crate::sasl) iterations: u32,
}

impl UpgradeJob {
    /// Runs it. Blocks like [`DeriveJob::run`]. What it returns is as good as the password for this server.
    pub fn run(self) -> Zeroizing<Vec<u8>> {
        let password = prepare_password(&self.password);
        Zeroizing::new(salted_password(self.hash, password.as_bytes(), &self.salt, self.iterations).to_vec())
    }
}

impl fmt::Debug for UpgradeJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeJob")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DeriveJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeriveJob")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// What a server keeps of a password (RFC 5802 §3). Whoever steals it can't log in with it, only pose as the server or
/// guess passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredentials {
    /// The hash.
    pub hash: Hash,
    /// The salt, [`SALT_LENGTH`] random bytes where we made it.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations, at least 4096. The same for all accounts, or the number tells who exists.
    pub iterations: u32,
    /// StoredKey, as long as a digest.
    pub stored_key: Vec<u8>,
    /// ServerKey, as long as a digest.
    pub server_key: Vec<u8>,
}

impl ScramCredentials {
    /// Derives them from a password. Blocks for the time of `iterations` hashes: milliseconds.
    pub fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> ScramCredentials {
        ScramKeys::derive(hash, password, salt, iterations).credentials()
    }

    /// From what a client has derived with this salt and these iterations (SaltedPassword; XEP-0480 §3); `None` if it is
    /// not as long as a digest.
    pub fn from_salted_password(hash: Hash, salted: &[u8], salt: &[u8], iterations: u32) -> Option<ScramCredentials> {
        let right = salted.len() == hash.length();
        right.then(|| ScramKeys::from_salted(hash, salted, salt, iterations).credentials())
    }

    /// Whether this is the password, for PLAIN. Blocks like [`derive`](Self::derive); compares in constant time.
    pub fn verify_password(&self, password: &str) -> bool {
        let given = Self::derive(self.hash, password, &self.salt, self.iterations);
        // Both compared always: which of them differs is nobody's business.
        bool::from(given.stored_key.ct_eq(&self.stored_key) & given.server_key.ct_eq(&self.server_key))
    }

    /// Credentials for a user who doesn't exist: always the same salt for the same name, and a password that nobody has
    /// (RFC 5802 §9). `secret` is the server's own, random and lasting as long as its accounts.
    pub fn fake(secret: &[u8], username: &str, hash: Hash, iterations: u32) -> ScramCredentials {
        // One HMAC, since it is paid for at every login: half of it is shown as the salt, of the other half nobody ever
        // learns anything, so it may stand for both keys.
        let mac = hmac(Hash::Sha256, secret, &[&[hash as u8], username.as_bytes()]);
        let (salt, hidden) = mac.split_at_checked(SALT_LENGTH).unwrap_or_default();
        let key: Vec<u8> = hidden.iter().copied().cycle().take(hash.length()).collect();
        ScramCredentials { hash, salt: salt.to_vec(), iterations, stored_key: key.clone(), server_key: key }
    }
}

impl Drop for ScramCredentials {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for ScramCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredentials")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}
