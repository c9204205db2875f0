//! What can go wrong.

#[cfg(feature = "encryption")]
use crate::share::aesgcm::{Forged, NotALink};
use crate::upload::{FileTooLarge, NS, Retry};
use std::{io, path::PathBuf, time::Duration};
use xmpp_core::{
    client::RequestError,
    net::https::{HttpsError, Response},
    payload::{DateTime, Payload as _},
    stanza::{Condition, StanzaError},
};

/// The client was not built with uploads, or reaches no hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was built without uploads: add xmpp_filetransfer::upload::client::client")]
pub struct WithoutUploads;

/// Why a file was not uploaded, or not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The server has no service for it.
    #[error("the server has no service for uploads")]
    NoService,
    /// The file is larger than is taken, or than is wanted.
    #[error("the file is too large{}", limit.map(|limit| format!(": at most {limit} bytes")).unwrap_or_default())]
    TooLarge {
        /// The most bytes, if that is known.
        limit: Option<u64>,
    },
    /// Not now: too often, or too much is there already.
    #[error("not now: {error}")]
    Later {
        /// When to try again, if the service says so.
        until: Option<DateTime>,
        /// What it says.
        error: Box<StanzaError>,
    },
    /// The service did not give a slot.
    #[error(transparent)]
    Request(Box<RequestError>),
    /// The host was not reached, or the connection broke.
    #[error(transparent)]
    Https(#[from] HttpsError),
    /// The host refuses.
    #[error("the host refuses: {status}")]
    Status {
        /// With this status, such as 404 (RFC 9110 §15).
        status: u16,
        /// After which time it may not, if it says so (RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
    },
    /// The file at this end cannot be read or written; a full disk is [`io::ErrorKind::StorageFull`].
    #[error("the file: {0}")]
    File(#[from] io::Error),
    /// There is something at the place already; nothing is overwritten.
    #[error("there is something at {} already", .0.display())]
    Exists(PathBuf),
    /// What shares the file names no place where it could be fetched.
    #[error("there is no place where the file could be fetched")]
    NoSource,
    /// What came is longer or shorter than was told.
    #[error("what came does not have the {told} bytes that were told")]
    WrongSize {
        /// What was told.
        told: u64,
    },
    /// What came is not what was told of: the file is not kept.
    #[error("what came is not the file that was told of: its {algo} is another one")]
    HashMismatch {
        /// The function of the hash.
        algo: String,
    },
    /// What came is not what was encrypted: the file is not kept.
    #[cfg(feature = "encryption")]
    #[error(transparent)]
    Forged(#[from] Forged),
    /// The slot is at an address of which no link to an encrypted file is made.
    #[cfg(feature = "encryption")]
    #[error(transparent)]
    Link(#[from] NotALink),
    /// There is another file than before the connection broke.
    #[error("the file has changed meanwhile")]
    Changed,
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl UploadError {
    /// What an answer says that is not the one hoped for.
    pub(super) fn refusal(response: &Response) -> UploadError {
        let seconds = response.header("retry-after").and_then(|after| after.trim().parse().ok());
        UploadError::Status { status: response.status(), retry_after: seconds.map(Duration::from_secs) }
    }
}

impl From<RequestError> for UploadError {
    fn from(error: RequestError) -> UploadError {
        let RequestError::Refused(refused) = error else { return UploadError::Request(Box::new(error)) };
        let application = refused.application.as_ref().map(|stanza| stanza.root());
        if refused.has_application(FileTooLarge::NAME, NS) {
            let read = application.and_then(|element| FileTooLarge::read(element).ok());
            return UploadError::TooLarge { limit: read.unwrap_or_default().max_file_size };
        }
        let until =
            application.filter(|element| Retry::matches(*element)).and_then(|element| Retry::read(element).ok());
        if until.is_some() || refused.condition == Condition::ResourceConstraint {
            return UploadError::Later { until: until.map(|retry| retry.stamp), error: Box::new(refused) };
        }
        UploadError::Request(Box::new(RequestError::Refused(refused)))
    }
}
