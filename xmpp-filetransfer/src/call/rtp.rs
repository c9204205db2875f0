//! RTP sessions (XEP-0167).

use super::{ExtmapAllowMixed, Feedback, FeedbackInterval, HeaderExtension, RTP, RTP_INFO, Source, SourceGroup};
use crate::jingle::Creator;
use xmpp_core::{payload::Payload, xml::Stanza};

/// An RTP session, as a content's description (§4).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "description", ns = RTP)]
pub struct RtpDescription {
    /// `audio`, `video` or another media type.
    #[xml(attr)]
    pub media: String,
    /// The synchronisation source of the stream.
    #[xml(attr)]
    pub ssrc: Option<u32>,
    /// The encodings, the best first.
    #[xml(children)]
    pub payload_types: Vec<PayloadType>,
    /// How much the stream may take.
    #[xml(child)]
    pub bandwidth: Option<Bandwidth>,
    /// Keys for SRTP by SDES (§7).
    #[xml(child)]
    pub encryption: Option<Encryption>,
    /// Whether RTP and RTCP can share a port (RFC 5761).
    #[xml(flag = "rtcp-mux")]
    pub rtcp_mux: bool,
    /// Feedback for all encodings (XEP-0293).
    #[xml(children)]
    pub feedback: Vec<Feedback>,
    /// The least time between two regular reports (XEP-0293).
    #[xml(child)]
    pub feedback_interval: Option<FeedbackInterval>,
    /// Header extensions (XEP-0294).
    #[xml(children)]
    pub extensions: Vec<HeaderExtension>,
    /// Whether one- and two-byte headers of extensions may be mixed (XEP-0294).
    #[xml(child)]
    pub extmap_allow_mixed: Option<ExtmapAllowMixed>,
    /// Sources of the stream (XEP-0339).
    #[xml(children)]
    pub sources: Vec<Source>,
    /// What sources have to do with each other (XEP-0339).
    #[xml(children)]
    pub source_groups: Vec<SourceGroup>,
    /// What else is said.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// An encoding (§4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "payload-type", ns = RTP)]
pub struct PayloadType {
    /// The number in the packets: below 96 as RFC 3551 says, from 96 to 127 as agreed here.
    #[xml(attr)]
    pub id: u8,
    /// The subtype of the media type.
    #[xml(attr)]
    pub name: Option<String>,
    /// Samples a second.
    #[xml(attr)]
    pub clockrate: Option<u32>,
    /// Channels; one if absent.
    #[xml(attr)]
    pub channels: Option<u8>,
    /// The longest packet in milliseconds.
    #[xml(attr)]
    pub maxptime: Option<u32>,
    /// The packet's length in milliseconds.
    #[xml(attr)]
    pub ptime: Option<u32>,
    /// Parameters of the encoding; `fmtp` in SDP.
    #[xml(children)]
    pub parameters: Vec<Parameter>,
    /// Feedback (XEP-0293).
    #[xml(children)]
    pub feedback: Vec<Feedback>,
    /// The least time between two regular reports (XEP-0293).
    #[xml(child)]
    pub feedback_interval: Option<FeedbackInterval>,
}

/// A parameter of an encoding, of feedback or of an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "parameter", ns = RTP)]
pub struct Parameter {
    /// Its name; empty for what in SDP has none.
    #[xml(attr, default)]
    pub name: String,
    /// Its value.
    #[xml(attr, default)]
    pub value: String,
}

/// How much a stream may take (§4).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "bandwidth", ns = RTP)]
pub struct Bandwidth {
    /// What is counted: `AS` or `TIAS`, and others of the register for SDP.
    #[xml(attr = "type")]
    pub type_: String,
    /// How much, for `AS` in kilobits a second.
    #[xml(text)]
    pub value: String,
}

/// Keys for SRTP by SDES (§7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "encryption", ns = RTP)]
pub struct Encryption {
    /// Whether there is no session without.
    #[xml(attr, default)]
    pub required: bool,
    /// The choices.
    #[xml(children)]
    pub crypto: Vec<Crypto>,
}

/// A choice of keys for SRTP (§7).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "crypto", ns = RTP)]
pub struct Crypto {
    /// The ciphers.
    #[xml(attr = "crypto-suite")]
    pub suite: String,
    /// The key.
    #[xml(attr = "key-params")]
    pub key: String,
    /// More about the session.
    #[xml(attr = "session-params")]
    pub session: Option<String>,
    /// What an answer calls it by.
    #[xml(attr)]
    pub tag: String,
}

/// What is told during a call, in a session's `session-info` (§8).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
pub enum RtpInfo {
    /// We are here again: neither on hold nor mute.
    #[xml(name = "active", ns = RTP_INFO)]
    Active,
    /// Wait.
    #[xml(name = "hold", ns = RTP_INFO)]
    Hold,
    /// The waiting is over.
    #[xml(name = "unhold", ns = RTP_INFO)]
    Unhold,
    /// We stop sending, but still listen.
    #[xml(name = "mute", ns = RTP_INFO)]
    Mute {
        /// Who made the content.
        #[xml(attr)]
        creator: Option<Creator>,
        /// The content; all of them if absent.
        #[xml(attr)]
        name: Option<String>,
    },
    /// We send again.
    #[xml(name = "unmute", ns = RTP_INFO)]
    Unmute {
        /// Who made the content.
        #[xml(attr)]
        creator: Option<Creator>,
        /// The content; all of them if absent.
        #[xml(attr)]
        name: Option<String>,
    },
    /// The user is being called.
    #[xml(name = "ringing", ns = RTP_INFO)]
    Ringing,
}

impl RtpDescription {
    /// A session of that medium without encodings yet.
    pub fn new(media: impl Into<String>) -> RtpDescription {
        RtpDescription { media: media.into(), ..RtpDescription::default() }
    }
}
