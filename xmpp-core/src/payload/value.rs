//! Values of attributes and texts.

use crate::jid::{BareJid, FullJid, Jid};
use base64::Engine;
use std::borrow::Cow;

/// A value that is a piece of text on the wire. Derived for enums of words; see [`Payload`](super::Payload).
pub trait TextValue: Sized {
    /// Reads it.
    fn from_text(text: &str) -> Result<Self, ValueError>;
    /// Its text, unescaped.
    fn to_text(&self) -> Cow<'_, str>;
}

/// Why a text is not the value expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expected}")]
pub struct ValueError {
    expected: &'static str,
    jid: bool,
}

impl ValueError {
    /// `what` completes "should be …".
    pub const fn expected(what: &'static str) -> Self {
        ValueError { expected: what, jid: false }
    }
    /// An address was expected, which has an error condition of its own (`jid-malformed`).
    pub const fn expected_jid(what: &'static str) -> Self {
        ValueError { expected: what, jid: true }
    }
    /// Whether it is an address that is wrong.
    pub const fn is_jid(&self) -> bool {
        self.jid
    }
}

impl TextValue for String {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        Ok(text.to_owned())
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl TextValue for std::sync::Arc<str> {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        Ok(text.into())
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

/// `xs:boolean`: `true`, `1`, `false`, `0`.
impl TextValue for bool {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        match text.trim_ascii() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(ValueError::expected("true, false, 1 or 0")),
        }
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(if *self { "true" } else { "false" })
    }
}

macro_rules! integers {
    ($($ty:ty: $what:literal,)*) => {$(
        impl TextValue for $ty {
            fn from_text(text: &str) -> Result<Self, ValueError> {
                text.trim_ascii().parse().map_err(|_| ValueError::expected($what))
            }
            fn to_text(&self) -> Cow<'_, str> {
                Cow::Owned(self.to_string())
            }
        }
    )*};
}

integers! {
    u8: "an integer from 0 to 255",
    i8: "an integer from -128 to 127",
    u16: "an integer from 0 to 65535",
    i16: "an integer from -32768 to 32767",
    u32: "an integer of 32 bits without sign",
    i32: "an integer of 32 bits",
    u64: "an integer of 64 bits without sign",
    i64: "an integer of 64 bits",
}

/// A finite number.
impl TextValue for f64 {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        let wrong = ValueError::expected("a number");
        text.trim_ascii().parse().ok().filter(|n: &f64| n.is_finite()).ok_or(wrong)
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

/// Lenient, as for all addresses that a peer sent. RFC 6120 §7.6.1 itself shows one with line ends around it, so these
/// are dropped.
impl TextValue for Jid {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        Jid::lenient(text)
            .or_else(|_| Jid::lenient(text.trim_ascii()))
            .map_err(|_| ValueError::expected_jid("an address"))
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.as_str())
    }
}

impl TextValue for BareJid {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        let jid = Jid::from_text(text)?;
        if jid.is_bare() { Ok(jid.to_bare()) } else { Err(ValueError::expected_jid("an address without a resource")) }
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.as_str())
    }
}

impl TextValue for FullJid {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        Jid::from_text(text)?.into_full().map_err(|_| ValueError::expected_jid("an address with a resource"))
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.as_str())
    }
}

/// Bytes, as base64 (RFC 4648 §4) on the wire; white space in it is ignored when reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Base64(pub Vec<u8>);

impl TextValue for Base64 {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        let wrong = |_| ValueError::expected("base64");
        let engine = &base64::engine::general_purpose::STANDARD;
        if text.bytes().any(|b| b.is_ascii_whitespace()) {
            let tight: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            return engine.decode(tight).map(Base64).map_err(wrong);
        }
        engine.decode(text).map(Base64).map_err(wrong)
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Owned(base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Base64(bytes)
    }
}
