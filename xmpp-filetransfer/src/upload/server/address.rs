//! Addresses that the service has signed: what it has not given out itself is told apart before anything is looked up.
//!
//! The address of a file is `/upload/LABEL/NAME`. The label is an id and, behind it, a tag over id and name: enough to turn
//! guesses away; what keeps the file private is the id. The address to put it to has everything besides that the slot was
//! granted for, and a signature over all of that and the token that goes along in a header.

use super::name;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::{fmt, io, io::Write as _, path::Path};
use subtle::{Choice, ConstantTimeEq as _};

/// Where files are mounted.
pub(super) const PATH: &str = "/upload/";

/// Letters of an id: 130 bits.
pub(super) const ID: usize = 26;
/// Letters of a tag: 80 bits.
const TAG: usize = 16;
/// Letters of an id of the time before addresses were signed.
pub(super) const OLD: usize = 32;

/// Letters and digits that ids, tags and tokens are made of: each stands for five bits.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// An unguessable word of so many letters.
pub(super) fn random<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| letter(*byte)).collect())
}

fn letter(bits: u8) -> char {
    ALPHABET.get(usize::from(bits & 31)).copied().map_or('a', char::from)
}

/// Whether this could be part of what [`random`] has made.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Octets as letters; five octets are eight letters.
fn letters(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0u32, 0);
    for octet in octets {
        bits = (bits << 8 | u32::from(*octet)) & 0xFFFF;
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(letter((bits >> held & 31) as u8));
        }
    }
    out
}

/// What addresses are signed with. All but the first are kept only so that older addresses stay good: one that is left out
/// takes the addresses of all files with it that were put while it was the first.
#[derive(Clone)]
pub struct SlotKeys {
    signs: Hmac<Sha256>,
    previous: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for SlotKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotKeys").field("previous", &self.previous.len()).finish_non_exhaustive()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // A longer key is hashed, a shorter one filled up, as RFC 2104 has it: this does not fail.
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

impl SlotKeys {
    /// Signs with this key: 32 random octets, or a longer secret.
    pub fn new(key: impl AsRef<[u8]>) -> SlotKeys {
        SlotKeys { signs: keyed(key.as_ref()), previous: Vec::new() }
    }

    /// Takes addresses too that were signed with this key.
    #[must_use]
    pub fn previous(mut self, key: impl AsRef<[u8]>) -> SlotKeys {
        self.previous.push(keyed(key.as_ref()));
        self
    }

    /// The key that is in a folder, which is made if it is missing.
    pub(super) fn of_folder(folder: &Path) -> io::Result<SlotKeys> {
        let path = folder.join("key");
        loop {
            match std::fs::read(&path) {
                Ok(key) if key.len() >= 32 => return Ok(SlotKeys::new(key)),
                Ok(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is no key", path.display())));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(folder, &path)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether one of the keys makes these letters of `said`. All are tried, and compared in constant time.
    fn have_signed(&self, said: &str, count: usize, parts: &[&[u8]]) -> bool {
        let keys = std::iter::once(&self.signs).chain(&self.previous);
        let is = |key| signature(key, count, parts).as_bytes().ct_eq(said.as_bytes());
        keys.map(is).fold(Choice::from(0), |any, one| any | one).into()
    }
}

/// Another process may make one at the same time, and one that ends halfway must leave no half key.
fn make_key(folder: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    let failed = |error: getrandom::Error| io::Error::other(error.to_string());
    getrandom::fill(&mut key).map_err(failed)?;
    let made = folder.join(format!("key.{}", random::<16>().map_err(failed)?));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&made)?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| std::fs::hard_link(&made, path));
    std::fs::remove_file(&made)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The first letters of the HMAC over all parts, each behind its length.
fn signature(key: &Hmac<Sha256>, count: usize, parts: &[&[u8]]) -> String {
    let mut mac = key.clone();
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let mut text = letters(&mac.finalize().into_bytes());
    text.truncate(count);
    text
}

/// What a slot was granted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) size: u64,
    pub(super) content_type: &'a str,
    /// Seconds since 1970.
    pub(super) until: u64,
    /// The hash of the token that goes along.
    pub(super) token: &'a [u8; 32],
}

/// Letters of the signature of a slot: 160 bits.
const SIGNATURE: usize = 32;

impl Granted<'_> {
    fn parts<R>(&self, then: impl FnOnce(&[&[u8]]) -> R) -> R {
        let (size, until) = (self.size.to_be_bytes(), self.until.to_be_bytes());
        let (id, name, content_type) = (self.id.as_bytes(), self.name.as_bytes(), self.content_type.as_bytes());
        then(&[b"put", id, name, &size, content_type, &until, self.token])
    }

    /// What stands behind the address of the file in the address to put it to.
    pub(super) fn query(&self, keys: &SlotKeys) -> String {
        let Granted { size, until, .. } = self;
        let signature = self.parts(|parts| signature(&keys.signs, SIGNATURE, parts));
        format!("?size={size}&type={}&until={until}&sign={signature}", name::encoded(self.content_type))
    }
}

/// What an address to put a file to says, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    size: u64,
    content_type: String,
    until: u64,
    sign: String,
}

impl Query {
    /// Reads what [`Granted::query`] has written, in whatever order.
    pub(super) fn read(query: &str) -> Option<Query> {
        let (mut size, mut content_type, mut until, mut sign) = (None, None, None, None);
        for part in query.split('&') {
            let (name, value) = part.split_once('=')?;
            let place = match name {
                "size" => &mut size,
                "type" => &mut content_type,
                "until" => &mut until,
                "sign" => &mut sign,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let content_type = name::decoded(content_type?)?;
        Some(Query { size: size?.parse().ok()?, content_type, until: until?.parse().ok()?, sign: sign?.to_owned() })
    }

    /// Whether it was given out for this file and this token; if so, until when.
    pub(super) fn signed(&self, keys: &SlotKeys, id: &str, name: &str, token: &[u8; 32]) -> Option<u64> {
        let granted = Granted { id, name, size: self.size, content_type: &self.content_type, until: self.until, token };
        granted.parts(|parts| keys.have_signed(&self.sign, SIGNATURE, parts)).then_some(self.until)
    }
}

/// The path of a file's address (§4: its name and ending stay).
pub(super) fn path(keys: &SlotKeys, id: &str, name: &str) -> String {
    let tag = if id.len() == OLD {
        String::new()
    } else {
        signature(&keys.signs, TAG, &[b"get", id.as_bytes(), name.as_bytes()])
    };
    format!("{PATH}{id}{tag}/{}", name::encoded(name))
}

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) id: &'a str,
    pub(super) name: String,
    /// It is of the time before addresses were signed.
    pub(super) old: bool,
}

/// Reads the path of an address; `None` if it was not given out here. The name may be encoded in other ways.
pub(super) fn named<'a>(keys: &SlotKeys, path: &'a str) -> Option<Named<'a>> {
    let (label, name) = path.strip_prefix(PATH)?.split_once('/')?;
    if !is_word(label) {
        return None;
    }
    let name = name::decoded(name)?;
    if label.len() == OLD {
        return Some(Named { id: label, name, old: true });
    }
    let (id, tag) = label.split_at_checked(ID)?;
    let signed = keys.have_signed(tag, TAG, &[b"get", id.as_bytes(), name.as_bytes()]);
    signed.then_some(Named { id, name, old: false })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "abcdefghijklmnopqrstuvwxyz";

    fn granted() -> Granted<'static> {
        Granted {
            id: EXAMPLE,
            name: "très cool.jpg",
            size: 23456,
            content_type: "image/jpeg",
            until: 99,
            token: &[7; 32],
        }
    }

    fn query(text: &str) -> Query {
        Query::read(text.strip_prefix('?').unwrap()).unwrap()
    }

    #[test]
    fn octets_become_letters() {
        // RFC 4648 §10.
        for (octets, is) in [("", ""), ("foobar", "mzxw6ytbo"), ("fooba", "mzxw6ytb")] {
            assert_eq!(letters(octets.as_bytes()), is);
        }
        assert_eq!(letters(&[0xFF; 10]), "7777777777777777");
    }

    #[test]
    fn a_link_is_good_as_it_was_given_out_and_not_otherwise() {
        let keys = SlotKeys::new([1; 32]);
        let link = path(&keys, EXAMPLE, "a b.jpg");
        assert_eq!(link.len(), "/upload/".len() + 42 + "/a%20b.jpg".len());
        let is = Named { id: EXAMPLE, name: "a b.jpg".to_owned(), old: false };
        assert_eq!(named(&keys, &link), Some(is.clone()));
        assert_eq!(named(&keys, &link.replace("a%20b", "%61 b")), Some(is), "however it is encoded");
        for other in [
            link.replace(".jpg", ".png"),
            link.replace("/abc", "/abd"),
            link.replacen('/', "//", 1),
            format!("{link}x"),
            link.replacen(EXAMPLE, &format!("{EXAMPLE}a"), 1),
            link.replacen(EXAMPLE, "", 1),
            format!("/upload/{EXAMPLE}/a%20b.jpg"),
            format!("/upload/{}/a%20b.jpg", "a".repeat(42)),
            "/upload//".to_owned(),
            format!("/upload/{}/a", "é".repeat(21)),
        ] {
            assert_eq!(named(&keys, &other), None, "{other}");
        }
        assert!(named(&SlotKeys::new([2; 32]), &link).is_none());
        // What is older bears no tag, and is told apart by its length.
        let old = format!("/upload/{}/a.txt", "a".repeat(OLD));
        assert!(named(&keys, &old).unwrap().old);
        assert_eq!(path(&keys, &"a".repeat(OLD), "a.txt"), old);
    }

    #[test]
    fn a_slot_is_for_all_that_was_granted_together() {
        let keys = SlotKeys::new([1; 32]);
        let good = granted().query(&keys);
        let signed = |text: &str, id: &str, name: &str, token: &[u8; 32]| query(text).signed(&keys, id, name, token);
        assert_eq!(signed(&good, EXAMPLE, "très cool.jpg", &[7; 32]), Some(99));
        assert_eq!(signed(&good, EXAMPLE, "tres cool.jpg", &[7; 32]), None);
        assert_eq!(signed(&good, &EXAMPLE.replace('a', "b"), "très cool.jpg", &[7; 32]), None);
        assert_eq!(signed(&good, EXAMPLE, "très cool.jpg", &[8; 32]), None);
        for (one, other) in [
            ("size=23456", "size=23457"),
            ("size=23456", "size=123456"),
            ("type=image%2Fjpeg", "type=text%2Fhtml"),
            ("type=image%2Fjpeg", "type="),
            ("until=99", "until=999"),
            ("sign=", "sign=a"),
        ] {
            assert!(good.contains(one), "{good}");
            assert_eq!(signed(&good.replace(one, other), EXAMPLE, "très cool.jpg", &[7; 32]), None, "{other}");
        }
        // The tag of a link signs no slot, nor does half a signature.
        let tag = signature(&keys.signs, TAG, &[b"get", EXAMPLE.as_bytes(), "très cool.jpg".as_bytes()]);
        let (rest, sign) = good.split_once("sign=").unwrap();
        for other in [&tag, &sign[..16], "", &sign[..31]] {
            assert_eq!(signed(&format!("{rest}sign={other}"), EXAMPLE, "très cool.jpg", &[7; 32]), None, "{other}");
        }
        for odd in ["", "size=1", "size=1&size=1&type=&until=1&sign=a", "size=1&type=&until=1&sign=a&x=y", "size=-1"] {
            assert_eq!(Query::read(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_earlier_key_is_good_as_long_as_it_is_named() {
        let (old, new) = (SlotKeys::new([1; 32]), SlotKeys::new([2; 32]));
        let both = new.clone().previous([1; 32]);
        let (link, slot) = (path(&old, EXAMPLE, "a"), Granted { name: "a", ..granted() }.query(&old));
        let good = |keys: &SlotKeys| {
            (named(keys, &link).is_some(), query(&slot).signed(keys, EXAMPLE, "a", &[7; 32]).is_some())
        };
        assert_eq!((good(&old), good(&both), good(&new)), ((true, true), (true, true), (false, false)));
        assert_eq!(path(&both, EXAMPLE, "a"), path(&new, EXAMPLE, "a"), "the first signs");
        assert!(!format!("{both:?}").contains('2'), "no key in logs");
    }

    #[test]
    fn a_folder_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let first = SlotKeys::of_folder(folder.path()).unwrap();
        let link = path(&first, EXAMPLE, "a");
        assert!(named(&SlotKeys::of_folder(folder.path()).unwrap(), &link).is_some());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "for its owner's eyes");
        }
        std::fs::write(folder.path().join("key"), b"short").unwrap();
        assert!(SlotKeys::of_folder(folder.path()).is_err(), "what is no key is not replaced either");
    }

    proptest! {
        #[test]
        fn no_address_is_too_odd_to_be_read(path in "/upload/[a-z2-7é%/]{0,60}", text in "[a-z=&%0-9]{0,60}") {
            let keys = SlotKeys::new([1; 32]);
            prop_assert!(named(&keys, &path).is_none_or(|named| named.old));
            let _ = Query::read(&text);
        }

        #[test]
        fn what_is_granted_is_read_again(name in "(?s).{1,40}", content_type in "[ -~]{0,40}", size: u64, until: u64) {
            let keys = SlotKeys::new([1; 32]);
            let granted = Granted { name: &name, content_type: &content_type, size, until, ..granted() };
            let read = query(&granted.query(&keys));
            prop_assert_eq!(read.signed(&keys, EXAMPLE, &name, &[7; 32]), Some(until));
            let link = path(&keys, EXAMPLE, &name);
            prop_assert_eq!(named(&keys, &link).unwrap().name, name);
        }
    }
}
