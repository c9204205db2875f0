//! The rules of XEP-0166, one by one.
//!
//! Where each section is pinned; `client/` stands for `tests/jingle.rs` of the crate, where two clients meet over a server.
//!
//! | section | file |
//! |---|---|
//! | 6.2 initiation | `transcript`, `rules` (what is malformed) |
//! | 6.3.1 acknowledgement, and ending at once | `client/` |
//! | 6.3.2 errors | `rules`, `transcript` (redirection, ties), `client/` (unknown, redirected, not there) |
//! | 6.4 negotiation | `actions`, `rules` |
//! | 6.5 acceptance | `transcript`, `actions` |
//! | 6.7 termination | `transcript`, `actions`, `rules` (who does not know it), `client/` (who is gone) |
//! | 6.8 information | `transcript`, `actions` |
//! | 7.1 `initiator`, `responder` | `rules` |
//! | 7.2 actions, unknown ones | `transcript`, `client/` |
//! | 7.2.1, 7.2.2 content-accept, content-add | `rules` |
//! | 7.2.3 content-modify | `actions`, `rules` (ties) |
//! | 7.2.4, 7.2.5 content-reject, content-remove | `actions`, `rules` |
//! | 7.2.6 description-info | `actions` |
//! | 7.2.7, 9 security-info, preconditions | `transcript`, `actions` |
//! | 7.2.8 session-accept | `actions`, `rules` (dispositions) |
//! | 7.2.9, 7.2.10, 7.2.11 session-info, session-initiate, session-terminate | `transcript`, `rules`, `actions` |
//! | 7.2.12 to 7.2.15 transports | `rules`, `actions` |
//! | 7.2.16 ties, with and without a session | `rules`, `actions`, `properties`, `client/` |
//! | 7.3 contents | `actions`, `properties` |
//! | 7.4 reasons | `transcript`, `actions` |
//! | 10 errors | `rules` (`out-of-order`, `unknown-session`), `transcript` (the others) |
//! | 11 discovery | `client/` |
//! | 13.2, 13.5 bounds, redirection | `rules`, `client/` |

mod actions;
mod properties;
mod rules;
mod support;
mod transcript;
