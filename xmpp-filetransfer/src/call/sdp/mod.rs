//! SDP (RFC 8866) as WebRTC stacks speak it, to and from the contents of a session: XEP-0167 §6, XEP-0176, XEP-0293, XEP-0294,
//! XEP-0320, XEP-0338 and XEP-0339 say which line is which element.
//!
//! What has no element is left out on the way to Jingle, and [`Call::left_out`] tells which media; what a peer says in
//! elements becomes lines only if it can stand in one: nobody writes a line into somebody else's SDP.

mod from_jingle;
mod lines;
mod to_jingle;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use from_jingle::from_jingle;
pub use to_jingle::{candidate, to_jingle};

use super::Group;
use crate::jingle::{Content, Creator, Senders};

/// The longest SDP that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// The most media of an SDP.
const MAX_MEDIA: usize = 64;

/// Why there is no mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// A line that is not SDP, or not what it claims to be.
    #[error("line {line} of the SDP: {problem}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// It is longer, or has more media, than is read.
    #[error("the SDP is too long")]
    TooLong,
    /// A content is no RTP session over ICE.
    #[error("the content {0:?} is no RTP session over ICE")]
    NotRtp(String),
    /// Something of a content cannot stand in a line of SDP.
    #[error("{0} cannot stand in SDP")]
    Unspeakable(&'static str),
}

/// Whose SDP it is: who speaks, and who has made the contents that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Who says it.
    pub speaker: Creator,
    /// Who has made the contents.
    pub creator: Creator,
}

impl Direction {
    /// The offer of who begins the session.
    pub fn offer() -> Direction {
        Direction { speaker: Creator::Initiator, creator: Creator::Initiator }
    }

    /// The answer to that.
    pub fn answer() -> Direction {
        Direction { speaker: Creator::Responder, creator: Creator::Initiator }
    }

    /// `sendrecv` and its like as it stands in SDP.
    fn senders(self, word: &str) -> Option<Senders> {
        let only = |end| match end {
            Creator::Initiator => Senders::Initiator,
            Creator::Responder => Senders::Responder,
        };
        Some(match word {
            "sendrecv" => Senders::Both,
            "sendonly" => only(self.speaker),
            "recvonly" => only(self.speaker.other()),
            "inactive" => Senders::None,
            _ => return None,
        })
    }

    /// The word for it in SDP.
    fn word(self, senders: Senders) -> &'static str {
        match senders {
            Senders::Both => "sendrecv",
            Senders::None => "inactive",
            one if one.includes(self.speaker) => "sendonly",
            _ => "recvonly",
        }
    }
}

/// A call, as a session has it.
#[derive(Clone, Debug)]
pub struct Call {
    /// One for each medium, named by its `mid`.
    pub contents: Vec<Content>,
    /// Which of them belong together: elements beside the contents.
    pub groups: Vec<Group>,
    /// The `mid` of media that are no RTP, such as data channels: they have no content here.
    pub left_out: Vec<String>,
}
