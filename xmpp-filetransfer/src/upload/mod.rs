//! Files uploaded to the server, and fetched from it, by HTTP (XEP-0363).
//!
//! Here are the elements. [`client`] uploads and fetches, [`server`] gives slots out and is the web server that they lead to.

#[cfg(feature = "http-client")]
pub mod client;
#[cfg(feature = "http-server")]
pub mod server;
#[cfg(feature = "server")]
pub mod store;

use xmpp_core::payload::{
    DateTime, Payload,
    disco::DiscoInfo,
    form::{DataForm, Field, FormKind},
};

/// `urn:xmpp:http:upload:0`.
pub const NS: &str = "urn:xmpp:http:upload:0";
/// The namespace of purposes (§5).
pub const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
/// The field of service discovery that tells the largest size, in bytes (§3).
pub const MAX_FILE_SIZE: &str = "max-file-size";

/// Asks for a place to put a file, in an iq get (§4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "request", ns = NS)]
pub struct SlotRequest {
    /// The file's name.
    #[xml(attr)]
    pub filename: String,
    /// Its size in bytes.
    #[xml(attr)]
    pub size: u64,
    /// Its media type.
    #[xml(attr = "content-type")]
    pub content_type: Option<String>,
    /// What it is for; a message if absent.
    #[xml(child)]
    pub purpose: Option<Purpose>,
}

impl SlotRequest {
    /// For a file of this name and size, to be told of in messages.
    pub fn new(filename: impl Into<String>, size: u64) -> SlotRequest {
        SlotRequest { filename: filename.into(), size, content_type: None, purpose: None }
    }
}

/// What a file is for, which decides for how long it is kept (§5).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(ns = PURPOSE)]
pub enum Purpose {
    /// To be told of in a message (§5.1).
    #[xml(name = "message")]
    Message,
    /// An avatar or the like (§5.2).
    #[xml(name = "profile")]
    Profile,
    /// Of no use to anybody after a time (§5.3).
    #[xml(name = "ephemeral")]
    Ephemeral {
        /// When it must be gone.
        #[xml(attr = "expire-before")]
        expire_before: DateTime,
    },
    /// To be kept (§5.4).
    #[xml(name = "permanent")]
    Permanent,
}

/// A place to put a file, and where it is to be had then (§4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "slot", ns = NS)]
pub struct Slot {
    /// Where to put it.
    #[xml(child)]
    pub put: Put,
    /// Where it is then.
    #[xml(child)]
    pub get: Get,
}

/// Where a file is put.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "put", ns = NS)]
pub struct Put {
    /// The address.
    #[xml(attr)]
    pub url: String,
    /// What to say there; see [`to_send`](Self::to_send).
    #[xml(children)]
    pub headers: Vec<Header>,
}

impl Put {
    /// The headers that go along, in order: those that are allowed (§4), without newlines. Others are left out.
    pub fn to_send(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.headers.iter().filter_map(|header| {
            let strip = |text: &str| text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect::<String>();
            let name = strip(&header.name);
            let name = ALLOWED.iter().find(|allowed| allowed.eq_ignore_ascii_case(name.trim()))?;
            Some((*name, strip(&header.value)))
        })
    }
}

/// The headers that a service may ask for (§4).
const ALLOWED: [&str; 3] = ["Authorization", "Cookie", "Expires"];

/// A header of the upload.
#[derive(Clone, PartialEq, Eq, Payload)]
#[xml(name = "header", ns = NS)]
pub struct Header {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its value.
    #[xml(text)]
    pub value: String,
}

impl std::fmt::Debug for Header {
    /// Without its value, which is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a file is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "get", ns = NS)]
pub struct Get {
    /// The address.
    #[xml(attr)]
    pub url: String,
}

/// In an error: the file is too large (§6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "file-too-large", ns = NS)]
pub struct FileTooLarge {
    /// The largest size that is taken, in bytes.
    #[xml(child_text = "max-file-size")]
    pub max_file_size: Option<u64>,
}

/// In an error: when to ask again (§6).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "retry", ns = NS)]
pub struct Retry {
    /// Not before this.
    #[xml(attr)]
    pub stamp: DateTime,
}

/// What service discovery says of the largest size (§3).
pub fn limit_form(max_file_size: u64) -> DataForm {
    DataForm::typed(FormKind::Result, NS).with(Field::new(MAX_FILE_SIZE).typed_value(&max_file_size))
}

/// The largest size that a service takes, if it says so.
pub fn max_file_size(info: &DiscoInfo) -> Option<u64> {
    info.form(NS)?.get::<u64>(MAX_FILE_SIZE)?.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use xmpp_core::xml::{Stanza, Writer, XmlLimits, ns};

    fn round_trip<T: Payload>(xml: &str) -> T {
        let element = Stanza::parse(xml, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let value = T::read(element.root()).unwrap();
        let mut out = Writer::new(ns::CLIENT);
        value.write(&mut out);
        assert_eq!(String::from_utf8(out.finish()).unwrap(), xml);
        value
    }

    #[test]
    fn xep0363_4_requests_and_slots_round_trip() {
        let request: SlotRequest = round_trip(
            "<request xmlns='urn:xmpp:http:upload:0' filename='très cool.jpg' size='23456' content-type='image/jpeg'/>",
        );
        assert_eq!((request.filename.as_str(), request.size), ("très cool.jpg", 23456));
        let slot: Slot = round_trip(
            "<slot xmlns='urn:xmpp:http:upload:0'><put url='https://upload.montague.tld/4a/tr%C3%A8s%20cool.jpg'>\
             <header name='Authorization'>Basic Base64String==</header><header name='Cookie'>foo=bar; user=romeo</header>\
             </put><get url='https://download.montague.tld/4a/tr%C3%A8s%20cool.jpg'/></slot>",
        );
        assert_eq!(slot.put.headers.len(), 2);
        assert!(!format!("{slot:?}").contains("Base64String"), "no secrets in logs");
    }

    #[test]
    fn xep0363_5_purposes_round_trip() {
        for (element, purpose) in
            [("message", Purpose::Message), ("profile", Purpose::Profile), ("permanent", Purpose::Permanent)]
        {
            let request: SlotRequest = round_trip(&format!(
                "<request xmlns='urn:xmpp:http:upload:0' filename='a' size='1'>\
                 <{element} xmlns='urn:xmpp:http:upload:purpose:0'/></request>"
            ));
            assert_eq!(request.purpose, Some(purpose));
        }
        let request: SlotRequest = round_trip(
            "<request xmlns='urn:xmpp:http:upload:0' filename='a' size='1'>\
             <ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='2025-09-10T23:08:25Z'/></request>",
        );
        assert!(matches!(request.purpose, Some(Purpose::Ephemeral { .. })));
    }

    #[test]
    fn xep0363_6_errors_round_trip() {
        let error: FileTooLarge = round_trip(
            "<file-too-large xmlns='urn:xmpp:http:upload:0'><max-file-size>20000</max-file-size></file-too-large>",
        );
        assert_eq!(error.max_file_size, Some(20000));
        let retry: Retry = round_trip("<retry xmlns='urn:xmpp:http:upload:0' stamp='2017-12-03T23:42:05Z'/>");
        assert_eq!(retry.stamp.unix_seconds(), 1_512_344_525);
    }

    #[test]
    fn xep0363_4_only_three_headers_count_in_order_and_without_newlines() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let put = Put {
            url: String::new(),
            headers: vec![
                header("cookie", "b=2\r\nHost: evil"),
                header("Host", "evil"),
                header("eXpi\nres", "never"),
                header("Authorization", "Basic x"),
                header("Cookie", "a=1"),
                header("Content-Length", "0"),
            ],
        };
        let expected =
            [("Cookie", "b=2Host: evil"), ("Expires", "never"), ("Authorization", "Basic x"), ("Cookie", "a=1")];
        let sent: Vec<_> = put.to_send().collect();
        assert_eq!(sent.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn xep0363_3_the_largest_size_is_in_a_form() {
        let info = DiscoInfo { forms: vec![limit_form(5_242_880)], ..DiscoInfo::default() };
        assert_eq!(max_file_size(&info), Some(5_242_880));
        assert_eq!(max_file_size(&DiscoInfo::default()), None);
    }

    proptest! {
        #[test]
        fn whatever_a_service_asks_for_no_newline_and_no_other_header_is_sent(name in ".{0,20}", value in "(?s).{0,40}") {
            let put = Put { url: String::new(), headers: vec![Header { name, value }] };
            for (name, value) in put.to_send() {
                prop_assert!(ALLOWED.contains(&name) && !value.contains(['\r', '\n']));
            }
        }
    }
}
