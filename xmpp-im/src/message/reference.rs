//! References (XEP-0372): to people, and to data elsewhere.

use super::characters;
use xmpp_core::{
    jid::BareJid,
    payload::{Payload, TextValue},
};

/// `urn:xmpp:reference:0`.
pub const NS: &str = "urn:xmpp:reference:0";

/// The message, or a part of its body, refers to something.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "reference", ns = NS)]
pub struct Reference {
    /// What kind of thing.
    #[xml(attr = "type")]
    pub type_: ReferenceType,
    /// The thing.
    #[xml(attr)]
    pub uri: String,
    /// The first character of the part (XEP-0426).
    #[xml(attr)]
    pub begin: Option<u32>,
    /// The character behind its last.
    #[xml(attr)]
    pub end: Option<u32>,
    /// An earlier message, in which the reference is.
    #[xml(attr)]
    pub anchor: Option<String>,
}

/// What a reference is to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, TextValue)]
pub enum ReferenceType {
    /// Somebody (§4.2).
    #[xml(value = "mention")]
    Mention,
    /// Something that can be fetched (§4.3).
    #[xml(value = "data")]
    Data,
    /// Another kind.
    #[xml(other)]
    Other(String),
}

impl Reference {
    /// Somebody is mentioned in the body, from character `begin` to before `end`.
    pub fn mention(who: &BareJid, begin: u32, end: u32) -> Reference {
        let uri = format!("xmpp:{}", escaped(who.as_str()));
        Reference { type_: ReferenceType::Mention, uri, begin: Some(begin), end: Some(end), anchor: None }
    }

    /// Who is mentioned.
    pub fn mentioned(&self) -> Option<BareJid> {
        if self.type_ != ReferenceType::Mention {
            return None;
        }
        let path = self.uri.strip_prefix("xmpp:")?.split(['?', '#']).next()?;
        BareJid::new(&unescaped(path)?).ok()
    }

    /// The part of the body that refers.
    pub fn part<'a>(&self, body: &'a str) -> Option<&'a str> {
        characters::part(body, self.begin?..self.end?)
    }
}

/// As in the path of a URI (RFC 5122 §2.2): all but letters, digits and a few others as percent and two digits.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~@!$&'()*+,;=:[]".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
