//! What a connection manager allows, and what was agreed with one client.

use super::{Body, VERSION, body::number};
use std::time::Duration;

/// The bounds of BOSH sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BoshLimits {
    /// The longest time a request is held, whatever the client asks for (`wait`): 60 seconds.
    pub wait: Duration,
    /// Requests held at a time, at most (`hold`): 2. The client may have one more under way (`requests`).
    pub hold: u64,
    /// The longest time without a request before the session ends (`inactivity`): 60 seconds. Clients that only poll
    /// get twice as long, and the polling interval besides.
    pub inactivity: Duration,
    /// The shortest time between two empty requests (`polling`): 2 seconds.
    pub polling: Duration,
    /// The longest pause a client may ask for (`maxpause`): 120 seconds.
    pub pause: Duration,
    /// How often one request may be repeated: 32 times.
    pub repeats: u32,
    /// Bytes that wait for the client to fetch them before nothing more is taken from its stream: 64 KiB. One response
    /// holds no more than this and one stanza.
    pub queue_bytes: usize,
    /// How long the last responses of a session that has ended can still be fetched again: 10 seconds.
    pub linger: Duration,
}

impl Default for BoshLimits {
    fn default() -> BoshLimits {
        BoshLimits {
            wait: Duration::from_secs(60),
            hold: 2,
            inactivity: Duration::from_secs(60),
            polling: Duration::from_secs(2),
            pause: Duration::from_secs(120),
            repeats: 32,
            queue_bytes: 64 * 1024,
            linger: Duration::from_secs(10),
        }
    }
}

/// A client that only polls gets its answer at once, but for this moment in which the server may have one.
const MOMENT: Duration = Duration::from_millis(200);

/// What was agreed when the session began (XEP-0124 §7).
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) wait: Duration,
    pub(super) hold: usize,
    pub(super) requests: u64,
    pub(super) inactivity: Duration,
    pub(super) polling: Duration,
    pub(super) pause: Duration,
    /// The lower of both versions; `None` for a client that said none.
    pub(super) version: Option<(u64, u64)>,
    /// Whether the client uses acknowledgements (§9).
    pub(super) acks: bool,
    /// The client only polls (§12).
    pub(super) polls: bool,
    pub(super) content_type: String,
}

impl Terms {
    /// `None` where the request makes no sense.
    pub(super) fn agree(body: &Body, limits: &BoshLimits) -> Option<Terms> {
        // A whole number of seconds is all that the wire can carry.
        let seconds = |name: &str, limit: Duration| match body.attr(name) {
            Some(text) => number(&text).map(|asked| Duration::from_secs(asked.min(limit.as_secs()))),
            None => Some(Duration::from_secs(limit.as_secs())),
        };
        let wait = seconds("wait", limits.wait)?;
        let hold = match body.attr("hold") {
            Some(text) => number(&text)?.min(limits.hold),
            None => limits.hold.min(1),
        };
        let version = match body.attr("ver") {
            Some(text) => {
                let (major, minor) = text.split_once('.')?;
                Some((number(major)?, number(minor)?).min(VERSION))
            }
            None => None,
        };
        let content_type = match body.attr("content") {
            Some(text) if is_header_value(&text) => text.into_owned(),
            Some(_) => return None,
            None => super::CONTENT_TYPE.to_owned(),
        };
        let polls = hold == 0 || wait.is_zero();
        let inactivity = if polls { limits.inactivity * 2 + limits.polling } else { limits.inactivity };
        Some(Terms {
            wait: if polls { MOMENT } else { wait },
            hold: usize::try_from(hold).unwrap_or(usize::MAX),
            requests: hold.saturating_add(1),
            inactivity,
            polling: limits.polling,
            pause: limits.pause,
            version,
            acks: body.attr("ack").as_deref() == Some("1"),
            polls,
            content_type,
        })
    }

    /// What the wire calls `wait`.
    pub(super) fn wait_told(&self) -> u64 {
        if self.wait == MOMENT { 0 } else { self.wait.as_secs() }
    }
}

/// Whether it can stand in a header of HTTP, and is no longer than any content type needs to be.
fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| (b' '..0x7F).contains(&byte))
}
