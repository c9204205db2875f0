//! The messages of SCRAM (RFC 5802 §7), read strictly: what the grammar doesn't allow is no message.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::nonce::is_printable;

/// Why bytes are no SCRAM message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// Not UTF-8, or it holds a NUL.
    #[error("the SCRAM message is not text")]
    NotText,
    /// An attribute is missing, repeated, out of order or not of its form.
    #[error("the SCRAM message has a bad attribute {0:?}")]
    Attribute(char),
    /// The channel-binding header is not of its form.
    #[error("the SCRAM message has a bad channel-binding header")]
    Header,
    /// `m=`: an extension that we would have to know (RFC 5802 §5.1).
    #[error("the SCRAM message demands an unknown extension")]
    MandatoryExtension,
}

/// The first field of the GS2 header (RFC 5801 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sasl) enum Flag<'a> {
    /// `n`: the client can't bind.
    Unsupported,
    /// `y`: the client could, but thinks that the server can't.
    NotOffered,
    /// `p=`: bound, with this type.
    Bound(&'a str),
}

#[derive(Debug)]
pub(in crate::sasl) struct ClientFirst<'a> {
    pub(in crate::sasl) flag: Flag<'a>,
    /// All up to and with the second comma.
    pub(in crate::sasl) header: &'a str,
    pub(in crate::sasl) authzid: Option<String>,
    pub(in crate::sasl) bare: &'a str,
    pub(in crate::sasl) username: String,
    pub(in crate::sasl) nonce: &'a str,
}

#[derive(Debug)]
pub(in crate::sasl) struct ServerFirst<'a> {
    pub(in crate::sasl) nonce: &'a str,
    pub(in crate::sasl) salt: Vec<u8>,
    pub(in crate::sasl) iterations: u32,
    /// XEP-0474's hash of what was announced.
    pub(in crate::sasl) announced: Option<Vec<u8>>,
    /// XEP-0515's version of TLS.
    pub(in crate::sasl) tls_version: Option<&'a str>,
}

#[derive(Debug)]
pub(in crate::sasl) struct ClientFinal<'a> {
    pub(in crate::sasl) binding: Vec<u8>,
    pub(in crate::sasl) nonce: &'a str,
    pub(in crate::sasl) proof: Vec<u8>,
    pub(in crate::sasl) without_proof: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::sasl) enum ServerFinal<'a> {
    Verifier(Vec<u8>),
    Error(&'a str),
}

impl<'a> ClientFirst<'a> {
    pub(in crate::sasl) fn parse(message: &'a [u8]) -> Result<Self, SyntaxError> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(SyntaxError::Header)?;
        let (authzid, bare) = rest.split_once(',').ok_or(SyntaxError::Header)?;
        let header = text.get(..text.len() - bare.len()).ok_or(SyntaxError::Header)?;
        let flag = match flag {
            "n" => Flag::Unsupported,
            "y" => Flag::NotOffered,
            _ => match flag.strip_prefix("p=") {
                Some(name) if is_binding_name(name) => Flag::Bound(name),
                _ => return Err(SyntaxError::Header),
            },
        };
        let authzid = match authzid {
            "" => None,
            _ => Some(unescape(authzid.strip_prefix("a=").ok_or(SyntaxError::Header)?, 'a')?),
        };
        let mut attributes = Attributes::new(bare);
        let username = unescape(attributes.expect('n')?, 'n')?;
        let nonce = attributes.nonce()?;
        attributes.extensions(|_, _| Ok(()))?;
        Ok(ClientFirst { flag, header, authzid, bare, username, nonce })
    }
}

impl<'a> ServerFirst<'a> {
    pub(in crate::sasl) fn parse(message: &'a [u8]) -> Result<Self, SyntaxError> {
        let mut attributes = Attributes::new(text(message)?);
        let nonce = attributes.nonce()?;
        let salt = attributes.base64('s')?;
        let iterations = attributes.expect('i')?;
        if iterations.starts_with('0') || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SyntaxError::Attribute('i'));
        }
        let iterations = iterations.parse().map_err(|_| SyntaxError::Attribute('i'))?;
        let (mut announced, mut tls_version) = (None, None);
        attributes.extensions(|name, value| {
            match name {
                'h' => announced = Some(decode(value, 'h')?),
                't' => tls_version = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        Ok(ServerFirst { nonce, salt, iterations, announced, tls_version })
    }
}

impl<'a> ClientFinal<'a> {
    pub(in crate::sasl) fn parse(message: &'a [u8]) -> Result<Self, SyntaxError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(SyntaxError::Attribute('p'))?;
        let proof = decode(proof, 'p')?;
        let mut attributes = Attributes::new(without_proof);
        let binding = attributes.base64('c')?;
        let nonce = attributes.nonce()?;
        attributes.extensions(|_, _| Ok(()))?;
        Ok(ClientFinal { binding, nonce, proof, without_proof })
    }
}

impl<'a> ServerFinal<'a> {
    pub(in crate::sasl) fn parse(message: &'a [u8]) -> Result<Self, SyntaxError> {
        let text = text(message)?;
        let mut attributes = Attributes::new(text);
        let parsed = if text.starts_with("e=") {
            ServerFinal::Error(attributes.expect('e')?)
        } else {
            ServerFinal::Verifier(attributes.base64('v')?)
        };
        attributes.extensions(|_, _| Ok(()))?;
        Ok(parsed)
    }
}

/// Walks `name=value` separated by commas.
struct Attributes<'a> {
    rest: Option<&'a str>,
    /// One bit per ASCII letter that came.
    seen: u64,
}

impl<'a> Attributes<'a> {
    fn new(text: &'a str) -> Self {
        Attributes { rest: Some(text), seen: 0 }
    }

    fn next(&mut self) -> Result<Option<(char, &'a str)>, SyntaxError> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (attribute, rest) = match rest.split_once(',') {
            Some((attribute, rest)) => (attribute, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        let name = attribute.chars().next().unwrap_or('?');
        let value = attribute.get(name.len_utf8()..).and_then(|rest| rest.strip_prefix('='));
        let (Some(value), true) = (value, name.is_ascii_alphabetic()) else {
            return Err(SyntaxError::Attribute(name));
        };
        if name == 'm' {
            return Err(SyntaxError::MandatoryExtension);
        }
        let bit = 1_u64 << ((name as u32).saturating_sub('A' as u32) & 63);
        if self.seen & bit != 0 {
            return Err(SyntaxError::Attribute(name));
        }
        self.seen |= bit;
        Ok(Some((name, value)))
    }

    fn expect(&mut self, name: char) -> Result<&'a str, SyntaxError> {
        match self.next()? {
            Some((found, value)) if found == name && !value.is_empty() => Ok(value),
            _ => Err(SyntaxError::Attribute(name)),
        }
    }

    fn nonce(&mut self) -> Result<&'a str, SyntaxError> {
        let nonce = self.expect('r')?;
        if is_printable(nonce) { Ok(nonce) } else { Err(SyntaxError::Attribute('r')) }
    }

    fn base64(&mut self, name: char) -> Result<Vec<u8>, SyntaxError> {
        decode(self.expect(name)?, name)
    }

    /// Optional extensions are ignored but have their form; the attributes of the messages are none.
    fn extensions(
        &mut self,
        mut each: impl FnMut(char, &'a str) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        while let Some((name, value)) = self.next()? {
            if value.is_empty() || "acinmprsve".contains(name) {
                return Err(SyntaxError::Attribute(name));
            }
            each(name, value)?;
        }
        Ok(())
    }
}

fn text(message: &[u8]) -> Result<&str, SyntaxError> {
    match std::str::from_utf8(message) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(SyntaxError::NotText),
    }
}

fn decode(value: &str, name: char) -> Result<Vec<u8>, SyntaxError> {
    STANDARD.decode(value).map_err(|_| SyntaxError::Attribute(name))
}

/// RFC 5801 §4: letters, digits, dots and hyphens.
fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// A `saslname`: `=` and `,` written as `=3D` and `=2C`.
pub(in crate::sasl) fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['=', ',']) {
        Cow::Owned(name.replace('=', "=3D").replace(',', "=2C"))
    } else {
        Cow::Borrowed(name)
    }
}

fn unescape(name: &str, attribute: char) -> Result<String, SyntaxError> {
    let mut parts = name.split('=');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(SyntaxError::Attribute(attribute)),
        };
        plain.push(c);
        plain.push_str(rest);
    }
    if plain.is_empty() { Err(SyntaxError::Attribute(attribute)) } else { Ok(plain) }
}
