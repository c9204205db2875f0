//! What senders are told when a stanza does not get to another server (RFC 6120 §8.3.3.16, §8.3.3.17).

use super::super::StreamError;
use crate::{
    net::{AttemptFailure, ConnectError, ResolveError},
    stanza::{Condition, StanzaError},
    stream::{StreamCondition, s2s::Refusal},
};

/// When a domain is not reached. It names no addresses.
pub(super) fn unreachable(error: &ConnectError) -> StanzaError {
    let unknown = || StanzaError::remote_server_not_found();
    match error {
        ConnectError::InvalidDomain(_) => unknown().with_text("that is no domain"),
        ConnectError::NotOffered(_) => unknown().with_text("the domain has no XMPP service for servers"),
        ConnectError::AllFailed { attempts, .. } if attempts.iter().all(|one| is_no_host(&one.reason)) => {
            unknown().with_text("the domain is not known")
        }
        _ => StanzaError::remote_server_timeout().with_text("the domain's server cannot be reached"),
    }
}

fn is_no_host(failure: &AttemptFailure) -> bool {
    matches!(
        failure,
        AttemptFailure::Resolve(ResolveError::NotFound(_) | ResolveError::InvalidName(_)) | AttemptFailure::NotPublic
    )
}

/// When a pair is refused.
pub(super) fn refused(refusal: &Refusal) -> StanzaError {
    let told = |text: &str| StanzaError::remote_server_timeout().with_text(text.to_owned());
    match refusal {
        Refusal::Invalid => told("the remote server does not believe that this is this domain's server"),
        // XEP-0220 §2.5: whatever the error, queued stanzas time out; a domain that is not there is told apart.
        Refusal::Error(error) if error.condition == Condition::ItemNotFound => {
            StanzaError::remote_server_not_found().with_text("the remote server does not serve that domain")
        }
        Refusal::Error(error) => told(&format!("the remote server refused: {}", error.condition.as_str())),
        Refusal::Sasl(_) => told("the remote server refused this server's certificate"),
        Refusal::TlsUnavailable => told("the remote server has no TLS, which is required here"),
        Refusal::Certificate => told("the remote server has no valid certificate, which is required here"),
    }
}

/// When more waits than may.
pub(super) fn too_slow() -> StanzaError {
    StanzaError::remote_server_timeout().with_text("too much is waiting for that server")
}

/// When a stream ended with the stanza in it.
pub(super) fn ended(reason: Option<&StreamError>) -> StanzaError {
    match reason.map(|reason| &reason.condition) {
        Some(StreamCondition::HostUnknown | StreamCondition::HostGone) => {
            StanzaError::remote_server_not_found().with_text("the remote server does not serve that domain")
        }
        Some(condition) => {
            StanzaError::remote_server_timeout().with_text(format!("the remote server ended: {}", condition.as_str()))
        }
        None => StanzaError::remote_server_timeout().with_text("the connection to the remote server was lost"),
    }
}
