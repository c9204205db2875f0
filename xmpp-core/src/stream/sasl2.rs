//! The elements of SASL2 (XEP-0388), and of what goes along in it: Bind 2 (XEP-0386), FAST (XEP-0484), upgrades
//! (XEP-0480). Both roles use them.

use crate::{
    sasl::{Hash, Mechanism, SaslCondition, SaslFailure},
    xml::{ElementRef, Stanza, Writer, ns},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// SASL2 (XEP-0388).
pub(crate) const SASL2: &str = "urn:xmpp:sasl:2";
/// Bind 2 (XEP-0386).
pub(crate) const BIND2: &str = "urn:xmpp:bind:0";
/// FAST (XEP-0484).
pub(crate) const FAST: &str = "urn:xmpp:fast:0";
/// The tasks of an upgrade (XEP-0480).
pub(crate) const UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
/// Upgrades of SCRAM (XEP-0480 §3).
pub(crate) const SCRAM_UPGRADE: &str = "urn:xmpp:scram-upgrade:0";

/// What a client says about its installation (XEP-0388 §2.3). A server shows it to nobody but the account's owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// A random UUID (version 4), the same for all logins of one installation: [`UserAgent::new_id`] makes one. Without
    /// it there are no tokens (XEP-0484 §4.1).
    pub id: Option<String>,
    /// The software, for people to read.
    pub software: Option<String>,
    /// The device that it runs on, for people to read.
    pub device: Option<String>,
}

/// Longer names of software and devices are cut, in characters.
const LONGEST_NAME: usize = 255;

impl UserAgent {
    /// A fresh [`id`](Self::id), to be kept by the application.
    ///
    /// # Panics
    /// When the operating system has no entropy.
    pub fn new_id() -> String {
        let bytes: [u8; 16] = crate::random::bytes();
        let number = u128::from_be_bytes(bytes);
        // RFC 9562 §5.4: version and variant.
        let number = number & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{number:032x}");
        let mut id = String::with_capacity(36);
        for (index, digit) in hex.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            id.push(digit);
        }
        id
    }

    pub(super) fn read(element: ElementRef<'_>) -> UserAgent {
        let text = |name| {
            let text = element.child(name, SASL2)?.text().trim().chars().take(LONGEST_NAME).collect::<String>();
            Some(text).filter(|text| !text.is_empty())
        };
        let id = element.attr("id").map(|id| id.to_ascii_lowercase()).filter(|id| is_uuid(id));
        UserAgent { id, software: text("software"), device: text("device") }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.open("user-agent", SASL2);
        out.attr_opt("id", self.id.as_deref());
        for (name, text) in [("software", &self.software), ("device", &self.device)] {
            if let Some(text) = text {
                out.text_element(name, SASL2, text);
            }
        }
        out.close();
    }
}

/// The form of the document's schema.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A payload: an empty element is an empty one, and there is no `=` for it (XEP-0388 §2.2).
pub(super) fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// White space around it is tolerated, as in the document's examples.
pub(super) fn decode(element: ElementRef<'_>) -> Result<Vec<u8>, SaslCondition> {
    let text = element.text();
    match text.trim() {
        // What clients of the old profile say for it.
        "=" => Ok(Vec::new()),
        text => STANDARD.decode(text).map_err(|_| SaslCondition::IncorrectEncoding),
    }
}

/// `<challenge/>` or `<response/>`.
pub(super) fn exchange(name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    out.text_element(name, SASL2, &encode(data));
    out.finish()
}

/// Writes `<failure/>`.
pub(super) fn failure(failure: &SaslFailure) -> Vec<u8> {
    let mut out = Writer::new(ns::CLIENT);
    out.open("failure", SASL2);
    out.open(failure.condition.as_str(), ns::SASL);
    out.close();
    if let Some(text) = &failure.text {
        out.text_element("text", SASL2, text);
    }
    out.close();
    out.finish()
}

/// Reads `<failure/>`; an unknown condition counts as `not-authorized`.
pub(super) fn read_failure(root: ElementRef<'_>) -> SaslFailure {
    let condition = root.children().find(|child| child.ns() == ns::SASL && child.name() != "text");
    let condition = condition.map_or(SaslCondition::NotAuthorized, |child| SaslCondition::from_name(child.name()));
    SaslFailure { condition, text: root.child("text", SASL2).map(|text| text.text().into_owned()) }
}

/// The attributes of `<fast/>` in a request (XEP-0484 §3.4, §3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fast {
    pub(super) count: Option<u32>,
    pub(super) invalidate: bool,
}

/// The name of a hash's upgrade task (XEP-0480 §2.1).
pub(super) fn upgrade_task(hash: Hash) -> String {
    format!("UPGR-SCRAM-{}", hash.name())
}

/// The hash of an upgrade task.
pub(super) fn upgrade_hash(task: &str) -> Option<Hash> {
    let name = task.trim().strip_prefix("UPGR-SCRAM-")?;
    Hash::ALL.into_iter().find(|hash| hash.name() == name)
}

/// `<authenticate/>`, as a server reads it. What is not known in it is ignored.
#[derive(Debug)]
pub(super) struct Authenticate {
    pub(super) mechanism: String,
    pub(super) initial: Option<Vec<u8>>,
    pub(super) agent: Option<UserAgent>,
    /// `<bind/>`: with the tag of the resource, if there is one.
    pub(super) bind: Option<Option<String>>,
    pub(super) fast: Option<Fast>,
    pub(super) request_token: Option<Mechanism>,
    pub(super) upgrades: Vec<Hash>,
    /// The element, for the features in it.
    pub(super) element: Stanza,
}

impl Authenticate {
    pub(super) fn read(element: &Stanza) -> Result<Authenticate, SaslCondition> {
        let root = element.root();
        let initial = root.child("initial-response", SASL2).map(decode).transpose()?;
        let bind = root.child("bind", BIND2).map(|bind| {
            let tag = bind.child("tag", BIND2).map(|tag| tag.text().trim().to_owned());
            tag.filter(|tag| !tag.is_empty())
        });
        let fast = root.child("fast", FAST).map(read_fast).transpose()?;
        let request_token = root.child("request-token", FAST).and_then(|request| request.attr("mechanism"));
        let mut upgrades: Vec<Hash> = Vec::new();
        for task in root.children().filter(|child| child.is("upgrade", UPGRADE)) {
            let hash = upgrade_hash(&task.text());
            upgrades.extend(hash.filter(|hash| !upgrades.contains(hash)));
        }
        Ok(Authenticate {
            mechanism: root.attr("mechanism").unwrap_or_default().into_owned(),
            initial,
            agent: root.child("user-agent", SASL2).map(UserAgent::read),
            bind,
            fast,
            request_token: request_token.and_then(|name| Mechanism::from_name(&name)),
            upgrades,
            element: element.clone(),
        })
    }

    /// The id of the client's installation.
    pub(super) fn client(&self) -> Option<&str> {
        self.agent.as_ref()?.id.as_deref()
    }
}

fn read_fast(fast: ElementRef<'_>) -> Result<Fast, SaslCondition> {
    let count = match fast.attr("count") {
        None => None,
        Some(count) => Some(count.trim().parse().map_err(|_| SaslCondition::MalformedRequest)?),
    };
    let invalidate = fast.attr("invalidate").is_some_and(|value| matches!(value.trim(), "1" | "true"));
    Ok(Fast { count, invalidate })
}

/// What a server offers in `<authentication/>`.
#[derive(Debug, Default)]
pub(super) struct Offered<'a> {
    pub(super) mechanisms: &'a [Mechanism],
    pub(super) tokens: &'a [Mechanism],
    pub(super) management: bool,
    /// The features that Bind 2 enables.
    pub(super) bind: &'a [String],
    pub(super) upgrades: &'a [Hash],
}

impl Offered<'_> {
    pub(super) fn write(&self, out: &mut Writer) {
        out.open("authentication", SASL2);
        for mechanism in self.mechanisms {
            out.text_element("mechanism", SASL2, mechanism.name());
        }
        out.open("inline", SASL2);
        if self.management {
            out.open("sm", super::management::NS);
            out.close();
        }
        self.write_bind(out);
        if !self.tokens.is_empty() {
            out.open("fast", FAST);
            for mechanism in self.tokens {
                out.text_element("mechanism", FAST, mechanism.name());
            }
            out.close();
        }
        out.close();
        for hash in self.upgrades {
            out.text_element("upgrade", UPGRADE, &upgrade_task(*hash));
        }
        out.close();
    }

    fn write_bind(&self, out: &mut Writer) {
        out.open("bind", BIND2);
        if !self.bind.is_empty() {
            out.open("inline", BIND2);
            for feature in self.bind {
                out.open("feature", BIND2);
                out.attr("var", feature);
                out.close();
            }
            out.close();
        }
        out.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::xml::XmlLimits;

    fn read(text: &str) -> Result<Authenticate, SaslCondition> {
        Authenticate::read(&Stanza::parse(text, ns::CLIENT, &XmlLimits::unauthenticated()).unwrap())
    }

    #[test]
    fn xep0388_2_3_the_request_is_read() {
        let request = read(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>\n<initial-response>\nAGE=\n</initial-response>\
             <user-agent id='D4565FA7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software>\
             <device>Kiva's Phone</device></user-agent><megabind xmlns='urn:example:megabind'/>\
             <bind xmlns='urn:xmpp:bind:0'><tag>Awesome</tag></bind><fast xmlns='urn:xmpp:fast:0' count='123' \
             invalidate='true'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-BLOOP2</upgrade></authenticate>",
        )
        .unwrap();
        assert_eq!((request.mechanism.as_str(), request.initial.as_deref()), ("PLAIN", Some(&b"\0a"[..])));
        assert_eq!(request.client(), Some("d4565fa7-4d72-4749-b3d3-740edbf87770"));
        assert_eq!(request.agent.unwrap().device.as_deref(), Some("Kiva's Phone"));
        assert_eq!(request.bind, Some(Some("Awesome".to_owned())));
        assert_eq!(request.fast, Some(Fast { count: Some(123), invalidate: true }));
        assert_eq!(request.request_token, Some(Mechanism::HtSha256EndPoint));
        assert_eq!(request.upgrades, [Hash::Sha256]);
    }

    #[test]
    fn what_is_wrong_in_a_request_has_a_name() {
        let of = |inner: &str| {
            read(&format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>{inner}</authenticate>"))
        };
        assert_eq!(of("<initial-response>***</initial-response>").unwrap_err(), SaslCondition::IncorrectEncoding);
        for count in ["-1", "x", "", "4294967296"] {
            let fast = format!("<fast xmlns='urn:xmpp:fast:0' count='{count}'/>");
            assert_eq!(of(&fast).unwrap_err(), SaslCondition::MalformedRequest, "{count}");
        }
        // What is no UUID names no client.
        let request = of("<user-agent id='../../etc'/>").unwrap();
        assert!(request.client().is_none() && request.initial.is_none());
        assert_eq!(of("<initial-response/>").unwrap().initial, Some(Vec::new()));
    }

    #[test]
    fn xep0388_2_3_new_ids_are_random_uuids_of_version_4() {
        let (one, two) = (UserAgent::new_id(), UserAgent::new_id());
        assert_ne!(one, two);
        assert!(
            is_uuid(&one) && one.get(14..15) == Some("4") && one.get(19..20).is_some_and(|v| "89ab".contains(v)),
            "{one}"
        );
    }
}
