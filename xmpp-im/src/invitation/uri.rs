//! The links (RFC 5122, XEP-0147).

use std::{fmt, str::FromStr};
use xmpp_core::jid::Jid;

/// What the link invites to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvitationAction {
    /// `?roster`: to become a contact of the address (XEP-0379 §3.2).
    Contact,
    /// `?register`: to register the address, or any at the domain (XEP-0445 §2).
    Register,
}

/// An invitation as a link.
///
/// ```
/// use xmpp_im::invitation::{InvitationAction, InvitationUri};
///
/// let link = "xmpp:romeo@example.com?roster;preauth=1tMFqYDdKhfe2pwp;ibr=y;name=Romeo%20Montague";
/// let invitation: InvitationUri = link.parse()?;
/// assert_eq!(invitation.address.as_str(), "romeo@example.com");
/// assert_eq!((invitation.action, invitation.may_register), (InvitationAction::Contact, true));
/// assert_eq!(invitation.name.as_deref(), Some("Romeo Montague"));
/// assert_eq!(invitation.to_string(), link);
/// # Ok::<(), xmpp_im::invitation::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvitationUri {
    /// Who invites, or what is to be registered: a bare address or a domain.
    pub address: Jid,
    /// What it invites to.
    pub action: InvitationAction,
    /// The token. A link without one is an ordinary request.
    pub token: Option<String>,
    /// Whether an account may be registered by the token at the domain of the address: always for
    /// [`InvitationAction::Register`], `ibr=y` otherwise (XEP-0445 §2.3).
    pub may_register: bool,
    /// What the inviter wants to be called.
    pub name: Option<String>,
}

/// Why a text is not a link to an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// It is no `xmpp:` URI.
    #[error("this is no xmpp: link")]
    Scheme,
    /// The percent-encoding is broken, or not of UTF-8.
    #[error("the link is not encoded as it should be")]
    Encoding,
    /// There is no bare address in it.
    #[error("the link has no address")]
    Address,
    /// It neither adds a contact nor registers an account.
    #[error("the link is no invitation")]
    Action,
}

impl InvitationUri {
    /// A link of this action, address and token.
    pub fn new(action: InvitationAction, address: impl Into<Jid>, token: impl Into<String>) -> InvitationUri {
        let may_register = action == InvitationAction::Register;
        InvitationUri { address: address.into(), action, token: Some(token.into()), may_register, name: None }
    }
}

/// The token is not for logs.
impl fmt::Debug for InvitationUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationUri")
            .field("address", &self.address)
            .field("action", &self.action)
            .field("may_register", &self.may_register)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl FromStr for InvitationUri {
    type Err = UriError;

    /// Of several parameters of one name the first counts; unknown ones are ignored.
    fn from_str(text: &str) -> Result<InvitationUri, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("xmpp") {
            return Err(UriError::Scheme);
        }
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (path, query) = rest.split_once('?').ok_or(UriError::Action)?;
        // RFC 5122 §2.3: an authority names the account that is to act, which is for the application to choose.
        let path = match path.strip_prefix("//") {
            Some(path) => path.split_once('/').ok_or(UriError::Address)?.1,
            None => path,
        };
        let address = Jid::new(&decode(path)?).map_err(|_| UriError::Address)?;
        if address.resource().is_some() {
            return Err(UriError::Address);
        }
        let mut parts = query.split(';');
        let action = match parts.next() {
            Some("roster") if address.local().is_some() => InvitationAction::Contact,
            Some("register") => InvitationAction::Register,
            _ => return Err(UriError::Action),
        };
        let (mut token, mut ibr, mut name) = (None, None, None);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let place = match key {
                "preauth" => &mut token,
                "ibr" => &mut ibr,
                "name" => &mut name,
                _ => continue,
            };
            let value = decode(value)?;
            place.get_or_insert(value);
        }
        let token = token.filter(|token| !token.is_empty());
        let may_register = action == InvitationAction::Register || ibr.as_deref() == Some("y") && token.is_some();
        Ok(InvitationUri { address, action, token, may_register, name })
    }
}

impl fmt::Display for InvitationUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xmpp:")?;
        encode(self.address.as_str(), f)?;
        f.write_str(match self.action {
            InvitationAction::Contact => "?roster",
            InvitationAction::Register => "?register",
        })?;
        if let Some(token) = &self.token {
            f.write_str(";preauth=")?;
            encode(token, f)?;
        }
        if self.may_register && self.action == InvitationAction::Contact {
            f.write_str(";ibr=y")?;
        }
        if let Some(name) = &self.name {
            f.write_str(";name=")?;
            encode(name, f)?;
        }
        Ok(())
    }
}

/// All but the unreserved characters (RFC 3986 §2.3) and the `@`, which stands between the parts of an address alone.
fn encode(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@') {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, UriError> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit().ok_or(UriError::Encoding)?, digit().ok_or(UriError::Encoding)?);
                u8::try_from(high * 16 + low).map_err(|_| UriError::Encoding)?
            }
            other => other,
        };
        out.push(byte);
    }
    String::from_utf8(out).map_err(|_| UriError::Encoding)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> InvitationUri {
        text.parse().unwrap()
    }

    #[test]
    fn xep0445_2_the_three_kinds_of_links() {
        let named = read("xmpp:juliet@example.com?register;preauth=TOKEN");
        assert_eq!((named.address.as_str(), named.action), ("juliet@example.com", InvitationAction::Register));
        assert!(named.may_register && named.token.as_deref() == Some("TOKEN"));
        let open = read("xmpp:example.com?register;preauth=TOKEN");
        assert_eq!(open.address.as_str(), "example.com");
        let contact = read("xmpp:romeo@example.com?roster;preauth=TOKEN;ibr=y");
        assert!(contact.may_register && contact.action == InvitationAction::Contact);
        assert!(!read("xmpp:romeo@example.com?roster;preauth=TOKEN").may_register);
        assert!(!read("xmpp:romeo@example.com?roster;ibr=y").may_register, "by which token?");
        for uri in [named, open, contact] {
            assert_eq!(read(&uri.to_string()), uri);
            assert!(!format!("{uri:?}").contains("TOKEN"));
        }
    }

    #[test]
    fn links_are_read_as_people_send_them() {
        let uri = read("XMPP://me@home.example/romeo@example.com?roster;name=a%3Bb%20c;x=y;preauth=1;preauth=2#top");
        assert_eq!(uri.name.as_deref(), Some("a;b c"));
        assert_eq!(uri.token.as_deref(), Some("1"));
        assert_eq!(read("xmpp:caf%C3%A9@example.com?roster").address.local(), Some("café"));
        for (text, why) in [
            ("https://example.com", UriError::Scheme),
            ("romeo@example.com", UriError::Scheme),
            ("xmpp:romeo@example.com", UriError::Action),
            ("xmpp:romeo@example.com?message;body=x", UriError::Action),
            ("xmpp:example.com?roster;preauth=x", UriError::Action),
            ("xmpp:romeo@example.com/x?roster", UriError::Address),
            ("xmpp:@?register", UriError::Address),
            ("xmpp://me@home.example?roster", UriError::Address),
            ("xmpp:a@b?roster;preauth=%zz", UriError::Encoding),
            ("xmpp:a@b?roster;preauth=%ff", UriError::Encoding),
            ("xmpp:a@b?roster;preauth=%4", UriError::Encoding),
        ] {
            assert_eq!(text.parse::<InvitationUri>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_so_that_it_is_read_again(text in "xmpp:[a-z@%/.0-9]{0,12}\\?(roster|register)[;=%a-z0-9éy+]{0,24}") {
            if let Ok(uri) = text.parse::<InvitationUri>() {
                prop_assert_eq!(uri.to_string().parse::<InvitationUri>(), Ok(uri));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,64}") {
            let _ = text.parse::<InvitationUri>();
        }
    }
}
