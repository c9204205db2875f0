//! XMPP over BOSH (XEP-0124, XEP-0206): streams in pairs of HTTP requests and responses, as state machines without I/O.
//!
//! [`BoshSession`] is the server's end: it takes the [`Body`] of each request, and turns them into the byte stream that
//! a server speaks; [`BoshClient`] is the other one. Neither knows of HTTP, sockets or clocks: requests and responses
//! go by tickets that the driver gives out, and time is what has passed since a moment of the driver's choice.
//!
//! Left out: several streams in one session (XEP-0124 §16), compression and other encodings than UTF-8.

mod body;
mod client;
mod condition;
mod keys;
mod session;
mod settings;

pub use body::Body;
pub use client::{BoshClient, BoshClientConfig, BoshError, Errand};
pub use condition::BoshCondition;
pub use session::{BoshSession, Effect, Reply};
pub use settings::BoshLimits;

/// Namespace of the wrapper (XEP-0124).
pub const HTTPBIND: &str = "http://jabber.org/protocol/httpbind";
/// Namespace of the attributes that XMPP adds to it (XEP-0206).
pub const XBOSH: &str = "urn:xmpp:xbosh";
/// The version spoken: major and minor part of `ver` (XEP-0124 §7.1).
pub const VERSION: (u64, u64) = (1, 11);
/// No request has a higher number (XEP-0124 §14.1): 2^53 - 1.
pub const MAX_RID: u64 = 9_007_199_254_740_991;
/// The content type of requests, and of responses unless the client wishes another (XEP-0124 §5, §7.1).
pub const CONTENT_TYPE: &str = "text/xml; charset=utf-8";
