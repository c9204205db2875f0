//! SCRAM (RFC 5802, RFC 7677): the client's side with its keys kept, and the server's sums for comparison.
//!
//! The load generator must not spend its time on PBKDF2, so keys are derived once for each password, salt and count.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::process::Cpu;

/// More than any sane server asks for; a typo in a configuration shall not look like a slow server.
const MOST_ITERATIONS: u32 = 500_000;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => Sha1::digest(data).to_vec(),
            Hash::Sha256 => Sha256::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length (RFC 2104 section 2), so the error can't occur.
        match self {
            Hash::Sha1 => {
                Hmac::<Sha1>::new_from_slice(key).map(|m| m.chain_update(data).finalize().into_bytes().to_vec())
            }
            Hash::Sha256 => {
                Hmac::<Sha256>::new_from_slice(key).map(|m| m.chain_update(data).finalize().into_bytes().to_vec())
            }
        }
        .unwrap_or_default()
    }

    fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Hash::Sha1 => pbkdf2::pbkdf2_hmac_array::<Sha1, 20>(password.as_bytes(), salt, iterations).to_vec(),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, iterations).to_vec(),
        }
    }
}

#[derive(Clone)]
struct ClientKeys {
    client: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl ClientKeys {
    fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> ClientKeys {
        let salted = hash.salted_password(password, salt, iterations);
        let client = hash.hmac(&salted, b"Client Key");
        let stored = hash.digest(&client);
        ClientKeys { client, stored, server: hash.hmac(&salted, b"Server Key") }
    }
}

/// The keys derived so far, shared by all sessions of a run.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<HashMap<DerivedFrom, ClientKeys>>);

/// Hash, password, salt, iterations.
type DerivedFrom = (Hash, String, Vec<u8>, u32);

impl KeyCache {
    fn keys(&self, hash: Hash, password: &str, salt: Vec<u8>, iterations: u32) -> ClientKeys {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry((hash, password.to_owned(), salt, iterations))
            .or_insert_with_key(|(hash, password, salt, iterations)| {
                ClientKeys::derive(*hash, password, salt, *iterations)
            })
            .clone()
    }
}

/// One exchange, from the client-first message on.
pub(crate) struct Exchange {
    hash: Hash,
    first_bare: String,
    nonce: String,
    server_signature: Vec<u8>,
}

impl Exchange {
    /// `user` is a plain ASCII name here: accounts are made for the load, so there is nothing to escape.
    pub(crate) fn new(hash: Hash, user: &str, nonce: String) -> Exchange {
        Exchange { hash, first_bare: format!("n={user},r={nonce}"), nonce, server_signature: Vec::new() }
    }

    pub(crate) fn first(&self) -> String {
        STANDARD.encode(format!("n,,{}", self.first_bare))
    }

    /// Answers the server-first message, both in base64.
    pub(crate) fn answer(&mut self, challenge: &str, password: &str, keys: &KeyCache) -> Result<String> {
        let wrong = || Error::Server("its SCRAM challenge is malformed".to_owned());
        let challenge = STANDARD.decode(challenge).ok().and_then(|c| String::from_utf8(c).ok()).ok_or_else(wrong)?;
        let field = |name: &str| challenge.split(',').find_map(|f| f.strip_prefix(name)).ok_or_else(wrong);
        let nonce = field("r=")?;
        let salt = STANDARD.decode(field("s=")?).map_err(|_| wrong())?;
        let iterations: u32 = field("i=")?.parse().map_err(|_| wrong())?;
        if !nonce.starts_with(&self.nonce) || iterations > MOST_ITERATIONS {
            return Err(wrong());
        }
        let keys = keys.keys(self.hash, password, salt, iterations);
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.first_bare);
        let proof = xor(&keys.client, &self.hash.hmac(&keys.stored, message.as_bytes()));
        self.server_signature = self.hash.hmac(&keys.server, message.as_bytes());
        Ok(STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof))))
    }

    /// Checks the server's signature in `success`, in base64.
    pub(crate) fn verify(&self, success: &str) -> Result<()> {
        let expected = STANDARD.encode(format!("v={}", STANDARD.encode(&self.server_signature)));
        if success == expected { Ok(()) } else { Err(Error::Server("its SCRAM signature is wrong".to_owned())) }
    }
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// CPU microseconds of the sums in SCRAM-SHA-256, nothing around them.
pub(crate) struct Bare {
    /// What a server with StoredKey and ServerKey does for a login: two HMACs, one hash, one comparison.
    pub(crate) verify: f64,
    /// The same and PBKDF2 with 4,096 iterations: what the whole of SCRAM costs where the password is met.
    pub(crate) derive: f64,
}

impl Bare {
    /// Measures for about `time`, by this process's CPU time: it does nothing else meanwhile.
    pub(crate) fn measure(time: Duration) -> Result<Bare> {
        let hash = Hash::Sha256;
        let keys = ClientKeys::derive(hash, "secret", b"0123456789abcdef", 4096);
        let message = [b'x'; 200];
        let proof = xor(&keys.client, &hash.hmac(&keys.stored, &message));
        let verify = average(time / 2, || {
            let signature = hash.hmac(black_box(&keys.stored), black_box(&message));
            let client = xor(black_box(&proof), &signature);
            let granted = hash.digest(&client) == keys.stored;
            black_box((granted, hash.hmac(black_box(&keys.server), black_box(&message))));
        })?;
        let derive = average(time / 2, || {
            black_box(ClientKeys::derive(hash, black_box("secret"), black_box(b"0123456789abcdef"), 4096));
        })?;
        Ok(Bare { verify, derive: derive + verify })
    }
}

/// CPU microseconds of one `work`.
fn average(time: Duration, mut work: impl FnMut()) -> Result<f64> {
    let (start, before) = (Instant::now(), Cpu::of(std::process::id())?);
    let mut done = 0u32;
    while start.elapsed() < time || done == 0 {
        for _ in 0..8 {
            work();
        }
        done += 8;
    }
    Ok(Cpu::of(std::process::id())?.micros_since(&before) / f64::from(done))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exchange(hash: Hash, server_first: &str, nonce: &str, proof: &str, signature: &str) {
        let keys = KeyCache::default();
        let mut exchange = Exchange::new(hash, "user", nonce.to_owned());
        for _ in 0..2 {
            let answer = exchange.answer(&STANDARD.encode(server_first), "pencil", &keys).unwrap();
            let answer = String::from_utf8(STANDARD.decode(answer).unwrap()).unwrap();
            assert!(answer.ends_with(&format!(",p={proof}")), "{answer}");
        }
        exchange.verify(&STANDARD.encode(format!("v={signature}"))).unwrap();
        assert!(exchange.verify(&STANDARD.encode("v=AAAA")).is_err());
        assert_eq!(keys.0.lock().unwrap().len(), 1, "the second login derives nothing");
    }

    #[test]
    fn rfc5802_5_example_exchange() {
        exchange(
            Hash::Sha1,
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "fyko+d2lbbFgONRv9qkxdawL",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
    }

    #[test]
    fn rfc7677_3_example_exchange() {
        exchange(
            Hash::Sha256,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "rOprNGfwEbeRWgbNEkqO",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    #[test]
    fn rfc5802_5_1_foreign_nonce_is_refused() {
        let mut exchange = Exchange::new(Hash::Sha256, "user", "mine".to_owned());
        let challenge = STANDARD.encode("r=theirs,s=QSXCR+Q6sek8bf92,i=4096");
        assert!(exchange.answer(&challenge, "pencil", &KeyCache::default()).is_err());
    }
}
