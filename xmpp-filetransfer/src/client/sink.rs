//! Where a file that is received goes.

use super::part_file::PartFile;
use std::{io, path::PathBuf};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Where a file that is received goes.
pub(super) enum Sink {
    /// Into a file.
    Part(PartFile),
    /// To whatever the application has made of it.
    Writer(Box<dyn AsyncWrite + Send + Unpin>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Sink::Part(_) => "Sink::Part",
            Sink::Writer(_) => "Sink::Writer",
        })
    }
}

impl Sink {
    /// How many bytes an earlier attempt has left.
    pub(super) fn length(&self) -> u64 {
        match self {
            Sink::Part(part) => part.length(),
            Sink::Writer(_) => 0,
        }
    }

    /// Where the file is to be, if that is a place.
    pub(super) fn place(&self) -> PathBuf {
        match self {
            Sink::Part(part) => part.place().to_owned(),
            Sink::Writer(_) => PathBuf::new(),
        }
    }

    /// Goes on behind the first `length` bytes, which are seen before.
    pub(super) async fn resume(&mut self, length: u64, see: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Sink::Part(part) => part.resume(length, see).await,
            Sink::Writer(_) => Ok(()),
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Part(part) => part.write(bytes).await,
            Sink::Writer(writer) => writer.write_all(bytes).await,
        }
    }

    /// The file is whole and right. Says where it is.
    pub(super) async fn publish(self) -> io::Result<Option<PathBuf>> {
        match self {
            Sink::Part(part) => part.publish().await.map(Some),
            Sink::Writer(mut writer) => {
                writer.flush().await?;
                writer.shutdown().await?;
                Ok(None)
            }
        }
    }

    /// What is there stays there, for a later attempt.
    pub(super) async fn leave(self) {
        if let Sink::Part(part) = self {
            part.leave().await;
        }
    }

    /// What came is wrong, or not wanted any more.
    pub(super) async fn discard(self) {
        match self {
            Sink::Part(part) => part.discard().await,
            Sink::Writer(_) => {}
        }
    }
}
