//! The signalling of calls: RTP sessions (XEP-0167) over ICE (XEP-0176) with keys by DTLS (XEP-0320), feedback (XEP-0293),
//! header extensions (XEP-0294), groups (XEP-0338) and sources (XEP-0339), and their mapping to [SDP](sdp) both ways.
//!
//! No media passes here. A WebRTC stack speaks SDP; [`sdp::to_jingle`] makes of its offer the contents of a
//! [session](crate::jingle), and [`sdp::from_jingle`] makes of the answer what the stack wants to hear. With the feature `client`, `signalling` does that
//! in the sessions of a client, from the proposal to the last candidate.
//!
//! ```
//! use xmpp_filetransfer::call::{Direction, sdp};
//!
//! let offer = "v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
//!              a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ice-ufrag:8hhy\r\n\
//!              a=ice-pwd:asd88fgpdd777uzjYhagZg\r\n";
//! let call = sdp::to_jingle(offer, Direction::offer())?;
//! assert_eq!(call.contents[0].id.name, "0");
//! let again = sdp::from_jingle(&call.contents, &call.groups, "7", Direction::offer())?;
//! assert!(again.contains("a=rtpmap:111 opus/48000/2\r\n"));
//! # Ok::<(), sdp::SdpError>(())
//! ```

mod group;
mod ice;
mod rtp;
pub mod sdp;
#[cfg(feature = "client")]
pub mod signalling;
mod tuning;

pub use group::{Group, GroupMember};
pub use ice::{Candidate, CandidateType, Fingerprint, IceTransport, RemoteCandidate, Setup};
pub use rtp::{Bandwidth, Crypto, Encryption, Parameter, PayloadType, RtpDescription, RtpInfo};
pub use sdp::{Call, Direction};
#[cfg(feature = "client")]
pub use signalling::Trickle;
pub use tuning::{ExtmapAllowMixed, Feedback, FeedbackInterval, HeaderExtension, Source, SourceGroup, SourceParameter};

#[cfg(any(feature = "client", feature = "server"))]
use xmpp_core::extension::{Registrar, Target};

/// `urn:xmpp:jingle:apps:rtp:1`.
pub const RTP: &str = "urn:xmpp:jingle:apps:rtp:1";
/// `urn:xmpp:jingle:apps:rtp:errors:1`.
pub const RTP_ERRORS: &str = "urn:xmpp:jingle:apps:rtp:errors:1";
/// `urn:xmpp:jingle:apps:rtp:info:1`.
pub const RTP_INFO: &str = "urn:xmpp:jingle:apps:rtp:info:1";
/// `urn:xmpp:jingle:transports:ice-udp:1`.
pub const ICE_UDP: &str = "urn:xmpp:jingle:transports:ice-udp:1";
/// `urn:xmpp:jingle:apps:dtls:0`.
pub const DTLS: &str = "urn:xmpp:jingle:apps:dtls:0";
/// `urn:xmpp:jingle:apps:rtp:rtcp-fb:0`.
pub const FEEDBACK: &str = "urn:xmpp:jingle:apps:rtp:rtcp-fb:0";
/// `urn:xmpp:jingle:apps:rtp:rtp-hdrext:0`.
pub const HEADER_EXTENSIONS: &str = "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0";
/// `urn:xmpp:jingle:apps:grouping:0`.
pub const GROUPING: &str = "urn:xmpp:jingle:apps:grouping:0";
/// `urn:xmpp:jingle:apps:rtp:ssma:0`.
pub const SOURCES: &str = "urn:xmpp:jingle:apps:rtp:ssma:0";

/// Advertises what a client that makes calls by these documents can do: for an application that has a media stack.
///
/// ```
/// use xmpp_core::client::Client;
///
/// let builder = Client::builder("juliet@example.org".parse()?, "r0m30").with(xmpp_filetransfer::call::features(true, false));
/// # Ok::<(), xmpp_core::jid::JidError>(())
/// ```
#[cfg(any(feature = "client", feature = "server"))]
pub fn features(audio: bool, video: bool) -> impl FnOnce(&mut Registrar) {
    move |r| {
        let kinds = [(audio, "urn:xmpp:jingle:apps:rtp:audio"), (video, "urn:xmpp:jingle:apps:rtp:video")];
        let kinds = kinds.into_iter().filter(|(has, _)| *has).map(|(_, feature)| feature);
        let others = [RTP, ICE_UDP, DTLS, FEEDBACK, HEADER_EXTENSIONS, "urn:ietf:rfc:5888", "urn:ietf:rfc:5576"];
        kinds.chain(others).for_each(|feature| r.feature(Target::Client, feature));
    }
}
