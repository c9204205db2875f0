//! `aesgcm:` links (XEP-0454): a file in a store that cannot read it, with its key in the part of the link that no server
//! sees. Such a link belongs into encrypted messages only, and is never shown as something to click (§6).
//!
//! ```
//! use xmpp_filetransfer::share::aesgcm::{AesGcmLink, EncryptedMedia};
//!
//! let link = AesGcmLink::new("https://files.example.org/1/photo.jpg", [7; 12], [9; 32])?;
//! let text = link.to_string();
//! assert!(text.starts_with("aesgcm://files.example.org/1/photo.jpg#070707"));
//! let media = EncryptedMedia::read(&text)?;
//! assert_eq!((media.link.url(), media.link.key()), ("https://files.example.org/1/photo.jpg", &[9; 32]));
//! # Ok::<(), xmpp_filetransfer::share::aesgcm::NotALink>(())
//! ```
//!
//! With the feature `encryption` files are encrypted and decrypted here, too, piece by piece, and by a client's uploads while
//! they go up and come down.

#[cfg(feature = "encryption")]
mod cipher;
#[cfg(all(test, feature = "encryption"))]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(feature = "encryption")]
pub use cipher::{Forged, MAX_BYTES, Opener, Sealer, TooLong};

use std::fmt::Write as _;
use zeroize::{Zeroize, Zeroizing};

/// The octets of an initialisation vector that we make (§3).
pub const IV_BYTES: usize = 12;
/// The octets of a key.
pub const KEY_BYTES: usize = 32;
/// What encryption adds at a file's end, in bytes (§5).
pub const TAG_BYTES: u64 = 16;

/// The longest link that is read, in bytes.
const MAX_LINK: usize = 4 * 1024;
/// The octets of an initialisation vector that older clients make.
const OLD_IV_BYTES: usize = 16;

/// Where an encrypted file is, and the key to it.
#[derive(Clone, PartialEq, Eq)]
pub struct AesGcmLink {
    url: String,
    iv: Vec<u8>,
    key: [u8; KEY_BYTES],
}

/// The key is nobody's business who reads a log.
impl std::fmt::Debug for AesGcmLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AesGcmLink").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Drop for AesGcmLink {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// This is no link to an encrypted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a link to an encrypted file: {0}")]
pub struct NotALink(&'static str);

impl AesGcmLink {
    /// A link to what lies, encrypted, at an address of HTTPS.
    ///
    /// # Errors
    /// [`NotALink`] for any other address (§3: nothing else may become such a link), or one that has a fragment of its own.
    pub fn new(url: &str, iv: [u8; IV_BYTES], key: [u8; KEY_BYTES]) -> Result<AesGcmLink, NotALink> {
        check(url)?;
        Ok(AesGcmLink { url: url.to_owned(), iv: iv.to_vec(), key })
    }

    /// Reads a link.
    ///
    /// # Errors
    /// [`NotALink`] for whatever is not exactly one.
    pub fn parse(text: &str) -> Result<AesGcmLink, NotALink> {
        if text.len() > MAX_LINK {
            return Err(NotALink("it is too long"));
        }
        let rest = text.strip_prefix("aesgcm://").ok_or(NotALink("its scheme is another one"))?;
        let (place, secret) = rest.split_once('#').ok_or(NotALink("it has no key"))?;
        let url = format!("https://{place}");
        check(&url)?;
        let secret = octets(secret).map(Zeroizing::new).ok_or(NotALink("its key is not in hexadecimal digits"))?;
        let length = secret.len().checked_sub(KEY_BYTES);
        let iv = length.filter(|length| matches!(*length, IV_BYTES | OLD_IV_BYTES));
        let (iv, key) = secret.split_at_checked(iv.ok_or(NotALink("its key has another length"))?).unwrap_or_default();
        let key = key.try_into().map_err(|_| NotALink("its key has another length"))?;
        Ok(AesGcmLink { url, iv: iv.to_vec(), key })
    }

    /// Where the encrypted file is fetched. It has no key in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The initialisation vector: 12 octets, or the 16 of older clients.
    pub fn iv(&self) -> &[u8] {
        &self.iv
    }

    /// The key.
    pub fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }
}

/// The link as it goes into an encrypted message.
impl std::fmt::Display for AesGcmLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.url.strip_prefix("https://").unwrap_or_default();
        write!(f, "aesgcm://{place}#")?;
        self.iv.iter().chain(&self.key).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What an encrypted message says that shares a file: a link, and a small picture maybe (§4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedMedia {
    /// Where it is.
    pub link: AesGcmLink,
    /// A picture in JPEG, as base64.
    pub thumbnail: Option<String>,
}

impl EncryptedMedia {
    /// Reads the body of an encrypted message. Strict, as §4.1 asks: a link, or a link, one line feed and a `data:` address
    /// of a JPEG; anything else is a message like others.
    ///
    /// # Errors
    /// [`NotALink`].
    pub fn read(body: &str) -> Result<EncryptedMedia, NotALink> {
        let (link, thumbnail) = match body.split_once('\n') {
            None => (body, None),
            Some((link, rest)) => {
                let picture =
                    rest.strip_prefix("data:image/jpeg,").or_else(|| rest.strip_prefix("data:image/jpeg;base64,"));
                let picture = picture.ok_or(NotALink("what follows it is no picture"))?;
                let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
                if picture.is_empty() || !picture.bytes().all(digit) {
                    return Err(NotALink("what follows it is no picture"));
                }
                (link, Some(picture.to_owned()))
            }
        };
        Ok(EncryptedMedia { link: AesGcmLink::parse(link)?, thumbnail })
    }

    /// The body that says it.
    pub fn body(&self) -> String {
        let mut body = self.link.to_string();
        if let Some(picture) = &self.thumbnail {
            // Writing into a String does not fail.
            let _ = write!(body, "\ndata:image/jpeg,{picture}");
        }
        body
    }
}

/// An address of HTTPS with a host, without blanks, user or fragment.
fn check(url: &str) -> Result<(), NotALink> {
    let rest = url.strip_prefix("https://").ok_or(NotALink("its address is not of HTTPS"))?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() || host.contains(['@', '\\']) {
        return Err(NotALink("its address has no host, or a user"));
    }
    match rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>')) {
        true => Ok(()),
        false => Err(NotALink("its address has characters that no address has")),
    }
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}
