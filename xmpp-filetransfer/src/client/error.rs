//! Why a file did not get across.

use std::{io, path::PathBuf};
use xmpp_core::{
    client::{RequestError, SendError},
    stanza::StanzaError,
};

/// The client was built without [`client`](super::client()).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was built without files: ClientBuilder::with(xmpp_filetransfer::client)")]
pub struct WithoutFiles;

/// Why a file did not get across.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The peer does not want it.
    #[error("the other side does not want the file{}", text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Declined {
        /// What it said.
        text: Option<String>,
    },
    /// It was cancelled here.
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The peer has cancelled it, or ended it for a reason of its own.
    #[error("the other side has ended the transfer: {0}")]
    EndedByPeer(String),
    /// The peer is not there, or not any more.
    #[error("the other side is gone")]
    PeerGone,
    /// Nobody is there who could take files by a road that we know, and there is no store to upload to.
    #[error("no client of the other side takes files, and the server stores none")]
    NobodyThere,
    /// No connection could be made, in whatever way.
    #[error("there is no road between the two clients")]
    NoRoad,
    /// No answer came in time.
    #[error("the other side did not answer in time")]
    TimedOut,
    /// What came is not what was offered: the file is not kept.
    #[error("what was received is not the file that was offered: its {algo} is another one")]
    HashMismatch {
        /// The function of the hash.
        algo: String,
    },
    /// What came over there is not what was offered, and is not kept: it was changed on the way, or while it was sent.
    #[error("the other side could not use what it has received{}", text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    SpoiltThere {
        /// What it said.
        text: Option<String>,
    },
    /// There is no such file to be had there.
    #[error("the file is not to be had")]
    NotAvailable,
    /// What came is longer or shorter than what was offered.
    #[error("the file has {offered} bytes, and {received} came")]
    WrongSize {
        /// What was offered.
        offered: u64,
        /// What came.
        received: u64,
    },
    /// There is a file of that name already; nothing is overwritten.
    #[error("there is something at {} already, or on its way there", .0.display())]
    Exists(PathBuf),
    /// There is no room on the disk. The part that is there serves a later attempt.
    #[error("the disk is full")]
    DiskFull,
    /// The file cannot be read or written.
    #[error("the file: {0}")]
    File(#[source] io::Error),
    /// The connection that carried the bytes has failed. A part that is there serves a later attempt.
    #[error("the connection between the two clients: {0}")]
    Stream(#[source] io::Error),
    /// The file is larger than the other side, or the server, takes.
    #[error("the file is too large{}", limit.map(|limit| format!(": at most {limit} bytes are taken")).unwrap_or_default())]
    TooLarge {
        /// What is taken, in bytes.
        limit: Option<u64>,
    },
    /// The peer has said no in another way.
    #[error("the other side has refused: {0}")]
    Refused(StanzaError),
    /// As many transfers as there may be are under way, in all or with this peer.
    #[error("too many transfers at a time")]
    TooMany,
    /// The client has ended, or lost its session.
    #[error("the client is not connected")]
    Offline,
}

impl TransferError {
    /// A failure of the local file.
    pub(super) fn file(error: io::Error, place: &std::path::Path) -> TransferError {
        match error.kind() {
            io::ErrorKind::AlreadyExists => TransferError::Exists(place.to_owned()),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TransferError::DiskFull,
            _ => TransferError::File(error),
        }
    }
}

impl From<SendError> for TransferError {
    fn from(_: SendError) -> TransferError {
        TransferError::Offline
    }
}

impl From<RequestError> for TransferError {
    fn from(error: RequestError) -> TransferError {
        match error {
            RequestError::Refused(error) => TransferError::Refused(error),
            RequestError::TimedOut => TransferError::TimedOut,
            _ => TransferError::Offline,
        }
    }
}
