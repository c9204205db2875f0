//! What two ends agree on beside the encodings: feedback (XEP-0293), header extensions (XEP-0294) and sources (XEP-0339).

use super::{FEEDBACK, HEADER_EXTENSIONS, Parameter, SOURCES};
use crate::jingle::Senders;
use xmpp_core::payload::Payload;

/// A kind of feedback (XEP-0293 §3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "rtcp-fb", ns = FEEDBACK)]
pub struct Feedback {
    /// `ack`, `nack`, `ccm` and so on.
    #[xml(attr = "type")]
    pub type_: String,
    /// What of it.
    #[xml(attr)]
    pub subtype: Option<String>,
    /// More about it.
    #[xml(children)]
    pub parameters: Vec<Parameter>,
}

/// The least time between two regular reports (XEP-0293 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Payload)]
#[xml(name = "rtcp-fb-trr-int", ns = FEEDBACK)]
pub struct FeedbackInterval {
    /// In milliseconds.
    #[xml(attr, default)]
    pub value: u32,
}

/// A header extension (XEP-0294 §3).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "rtp-hdrext", ns = HEADER_EXTENSIONS)]
pub struct HeaderExtension {
    /// The number in the packets: 1 to 256, or 4096 to 4351 for what is still to be agreed on.
    #[xml(attr)]
    pub id: u16,
    /// What it is.
    #[xml(attr)]
    pub uri: String,
    /// Who sends it; both unless said.
    #[xml(attr, default)]
    pub senders: Senders,
    /// More about it.
    #[xml(children)]
    pub parameters: Vec<Parameter>,
}

/// One- and two-byte headers of extensions may be mixed (XEP-0294, RFC 8285).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Payload)]
#[xml(name = "extmap-allow-mixed", ns = HEADER_EXTENSIONS)]
pub struct ExtmapAllowMixed;

/// A source of a stream (XEP-0339 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "source", ns = SOURCES)]
pub struct Source {
    /// Its number in the packets.
    #[xml(attr)]
    pub ssrc: u32,
    /// What it is: `cname`, `msid` and so on.
    #[xml(children)]
    pub parameters: Vec<SourceParameter>,
}

/// Something of a source (XEP-0339 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "parameter", ns = SOURCES)]
pub struct SourceParameter {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its value, if it has one.
    #[xml(attr)]
    pub value: Option<String>,
}

/// What sources have to do with each other (XEP-0339 §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "ssrc-group", ns = SOURCES)]
pub struct SourceGroup {
    /// `FID` for a source and its retransmissions, and others.
    #[xml(attr)]
    pub semantics: String,
    /// Which ones; only their numbers count.
    #[xml(children)]
    pub sources: Vec<Source>,
}
