//! Stream management (XEP-0198 1.6): its elements, and the arithmetic of its counters. Both roles use it.
//!
//! Each end counts the stanzas it has sent since management was enabled, and those of the other that it has handled.
//! Both counters wrap at 2³² (§4). What was sent and is not acknowledged waits in [`Unacked`].

pub use super::unacked::{Full, Unacked, UnackedLimits};

use crate::{
    payload::{Payload, PayloadError, TextValue, ValueError},
    stanza::Condition,
    stream::{StreamCondition, StreamError},
    xml::{ElementRef, Writer, ns},
};
use std::borrow::Cow;

/// `urn:xmpp:sm:3`.
pub const NS: &str = "urn:xmpp:sm:3";

/// The stream feature (§2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "sm", ns = NS)]
pub struct Sm;

/// The client wants stream management (§3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "enable", ns = NS)]
pub struct Enable {
    /// Whether it wants to be able to resume.
    #[xml(attr, default)]
    pub resume: bool,
    /// For how long after the connection is lost, at most.
    #[xml(attr)]
    pub max: Option<Seconds>,
}

/// Stream management is on (§3, §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "enabled", ns = NS)]
pub struct Enabled {
    /// By which the stream is resumed.
    #[xml(attr)]
    pub id: Option<String>,
    /// Whether it can be.
    #[xml(attr, default)]
    pub resume: bool,
    /// For how long after the connection is lost.
    #[xml(attr)]
    pub max: Option<Seconds>,
    /// Where the server would like to see the client again, in the form of `see-other-host` (RFC 6120 §4.9.3.19).
    #[xml(attr)]
    pub location: Option<String>,
}

impl Enabled {
    /// By which the stream can be resumed, if it can.
    pub fn resumption(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| self.resume && !id.is_empty())
    }
}

/// The client wants its former stream back (§5).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "resume", ns = NS)]
pub struct Resume {
    /// The former stream's [`Enabled::id`].
    #[xml(attr)]
    pub previd: String,
    /// How many of the server's stanzas it has handled.
    #[xml(attr)]
    pub h: u32,
}

/// The client has its former stream back (§5).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "resumed", ns = NS)]
pub struct Resumed {
    /// The former stream's [`Enabled::id`].
    #[xml(attr)]
    pub previd: String,
    /// How many of the client's stanzas the server has handled.
    #[xml(attr)]
    pub h: u32,
}

/// Management was not enabled, or the stream is not resumed (§6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why; `undefined-condition` if the peer does not say, or says what nobody knows.
    pub condition: Condition,
    /// How many stanzas were handled, where a stream that cannot be resumed is still remembered (§5).
    pub h: Option<u32>,
}

impl Failed {
    /// For this reason.
    pub fn new(condition: Condition) -> Failed {
        Failed { condition, h: None }
    }
}

/// Whatever stands in it, it is a failure: nothing in it is refused.
impl Payload for Failed {
    const NAME: &'static str = "failed";
    const NS: &'static str = NS;

    fn read(el: ElementRef<'_>) -> Result<Failed, PayloadError> {
        if !Self::matches(el) {
            return Err(PayloadError::other_element(Self::NAME));
        }
        let named = el.children().find(|child| child.ns() == ns::STANZA_ERRORS && child.name() != "text");
        let condition = named.and_then(|child| Condition::from_name(child.name()));
        let h = el.attr("h").and_then(|h| u32::from_text(&h).ok());
        Ok(Failed { condition: condition.unwrap_or(Condition::UndefinedCondition), h })
    }

    fn write(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        if let Some(h) = self.h {
            w.attr("h", &h.to_text());
        }
        w.open(self.condition.as_str(), ns::STANZA_ERRORS);
        w.close();
        w.close();
    }
}

/// How many stanzas have you handled (§4)?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "r", ns = NS)]
pub struct Request;

/// So many stanzas have I handled (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Payload)]
#[xml(name = "a", ns = NS)]
pub struct Ack {
    /// Their number, modulo 2³².
    #[xml(attr)]
    pub h: u32,
}

/// The peer acknowledges what it was never sent (§6): the application's part of a stream error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Payload, thiserror::Error)]
#[xml(name = "handled-count-too-high", ns = NS)]
#[error("{h} stanzas were acknowledged, but only {send_count} sent")]
pub struct HandledCountTooHigh {
    /// What was acknowledged.
    #[xml(attr)]
    pub h: u32,
    /// What was sent.
    #[xml(attr = "send-count")]
    pub send_count: u32,
}

impl From<HandledCountTooHigh> for StreamError {
    fn from(error: HandledCountTooHigh) -> StreamError {
        let mut w = Writer::new("");
        error.write(&mut w);
        let mut out = StreamError::new(StreamCondition::UndefinedCondition).with_text(error.to_string());
        out.application = Some(Box::new(w.into_stanza()));
        out
    }
}

/// A whole number of seconds above zero on the wire; what is more than fits here is as good as the most that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

impl TextValue for Seconds {
    fn from_text(text: &str) -> Result<Seconds, ValueError> {
        let text = text.trim_ascii();
        let digits = text.strip_prefix('+').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ValueError::expected("a number of seconds"));
        }
        Ok(Seconds(digits.parse().unwrap_or(u32::MAX)))
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }
}

/// A number of stanzas modulo 2³² (§4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(u32);

impl Counter {
    /// A counter that stands at `value`: of a session that was saved.
    pub fn at(value: u32) -> Counter {
        Counter(value)
    }

    /// Counts one stanza; 2³² - 1 is followed by 0.
    pub fn count(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }

    /// What goes into `h`.
    pub fn value(self) -> u32 {
        self.0
    }
}

/// How many of the `unacked` stanzas that were sent last, out of `sent` in all, are acknowledged by `h` for the first
/// time. An `h` below an earlier one acknowledges, modulo 2³², more than was sent.
///
/// ```
/// use xmpp_core::stream::management::newly_acked;
///
/// assert_eq!(newly_acked(10, 4, 8), Ok(2));
/// assert!(newly_acked(10, 4, 11).is_err());
/// assert_eq!(newly_acked(1, 3, 0), Ok(2));
/// ```
pub fn newly_acked(sent: u32, unacked: u32, h: u32) -> Result<u32, HandledCountTooHigh> {
    let newly = h.wrapping_sub(sent.wrapping_sub(unacked));
    if newly <= unacked { Ok(newly) } else { Err(HandledCountTooHigh { h, send_count: sent }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::xml::{Stanza, XmlLimits};
    use proptest::prelude::*;

    fn element(xml: &str) -> Stanza {
        Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()
    }

    fn read<T: Payload>(xml: &str) -> Result<T, PayloadError> {
        T::read(element(xml).root())
    }

    fn written<T: Payload>(value: &T) -> String {
        let mut w = Writer::new(ns::CLIENT);
        value.write(&mut w);
        String::from_utf8(w.finish()).unwrap()
    }

    #[test]
    fn xep0198_3_booleans_and_seconds_as_their_types_allow() {
        let enable = |attributes: &str| read::<Enable>(&format!("<enable xmlns='urn:xmpp:sm:3' {attributes}/>"));
        for (attributes, resume, max) in [
            ("", false, None),
            ("resume='true'", true, None),
            ("resume='1' max='600'", true, Some(Seconds(600))),
            ("resume='0' max='99999999999999999999999'", false, Some(Seconds(u32::MAX))),
            ("resume='false' max=' +7 ' colour='red'", false, Some(Seconds(7))),
        ] {
            assert_eq!(enable(attributes), Ok(Enable { resume, max }), "{attributes}");
        }
        for attributes in ["resume='yes'", "max=''", "max='-1'", "max='1.5'"] {
            assert!(enable(attributes).is_err(), "{attributes}");
        }
        assert_eq!(written(&Enable { resume: true, max: None }), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        assert_eq!(written(&Enable::default()), "<enable xmlns='urn:xmpp:sm:3'/>");
    }

    #[test]
    fn xep0198_4_an_ack_must_have_its_number() {
        for xml in ["<a xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='4294967296'/>"] {
            assert!(read::<Ack>(xml).is_err(), "{xml}");
        }
        assert!(read::<Ack>("<a xmlns='urn:xmpp:sm:3' h='-1'/>").is_err());
        assert_eq!(read("<a xmlns='urn:xmpp:sm:3' h='4294967295'/>"), Ok(Ack { h: u32::MAX }));
        assert!(read::<Resume>("<resume xmlns='urn:xmpp:sm:3' h='1'/>").is_err());
        assert!(read::<Resume>("<resume xmlns='urn:xmpp:sm:3' previd='x'/>").is_err());
    }

    #[test]
    fn xep0198_5_only_with_an_id_can_it_be_resumed() {
        for (attributes, expected) in [
            ("resume='true' id='some-long-sm-id'", Some("some-long-sm-id")),
            ("id='some-long-sm-id'", None),
            ("resume='true'", None),
            ("resume='true' id=''", None),
        ] {
            let enabled: Enabled = read(&format!("<enabled xmlns='urn:xmpp:sm:3' {attributes}/>")).unwrap();
            assert_eq!(enabled.resumption(), expected, "{attributes}");
        }
    }

    #[test]
    fn xep0198_6_a_failure_is_one_whatever_it_says() {
        let conditions = "urn:ietf:params:xml:ns:xmpp-stanzas";
        for (attributes, child, condition, h) in [
            ("h='5'", format!("<item-not-found xmlns='{conditions}'/>"), Condition::ItemNotFound, Some(5)),
            ("", format!("<unexpected-request xmlns='{conditions}'/>"), Condition::UnexpectedRequest, None),
            ("h='many'", String::new(), Condition::UndefinedCondition, None),
            (
                "",
                format!("<text xmlns='{conditions}'>x</text><tired xmlns='{conditions}'/>"),
                Condition::UndefinedCondition,
                None,
            ),
        ] {
            let xml = format!("<failed xmlns='urn:xmpp:sm:3' {attributes}>{child}</failed>");
            assert_eq!(read(&xml), Ok(Failed { condition, h }), "{xml}");
        }
        let failed = Failed { condition: Condition::ItemNotFound, h: Some(7) };
        let expected = "<failed xmlns='urn:xmpp:sm:3' h='7'><item-not-found \
                        xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
        assert_eq!(written(&failed), expected);
    }

    #[test]
    fn abuse_a065_the_error_names_both_counts() {
        let error = StreamError::from(newly_acked(8, 2, 10).unwrap_err());
        let mut w = Writer::new(ns::CLIENT);
        error.write(&mut w);
        let stanza = w.into_stanza();
        let back = StreamError::read(stanza.root());
        assert_eq!(back.condition, StreamCondition::UndefinedCondition);
        let application = back.application.unwrap();
        let too_high = HandledCountTooHigh::read(application.root()).unwrap();
        assert_eq!(too_high, HandledCountTooHigh { h: 10, send_count: 8 });
    }

    #[test]
    fn abuse_a065_a_count_that_decreases_is_too_high() {
        assert_eq!(newly_acked(8, 2, 6), Ok(0));
        assert!(newly_acked(8, 2, 5).is_err());
    }

    #[test]
    fn xep0198_4_the_counter_goes_on_from_zero() {
        let mut counter = Counter::at(u32::MAX);
        counter.count();
        assert_eq!(counter.value(), 0);
    }

    proptest! {
        #[test]
        fn xep0198_4_acks_count_across_the_wrap(acked: u32, unacked in 0..=1_000_000u32, newly: u32) {
            let sent = acked.wrapping_add(unacked);
            let answer = newly_acked(sent, unacked, acked.wrapping_add(newly));
            if newly <= unacked {
                prop_assert_eq!(answer, Ok(newly));
            } else {
                prop_assert!(answer.is_err());
            }
        }
    }
}
