//! A file that is sent.

use super::tally::Tally;
use crate::file::{Function, Hasher};
use std::{io, path::Path};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
};
use xmpp_core::payload::{DateTime, hash::Hash};

/// An open file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: File,
    /// Its length when it was opened, which is what is offered.
    pub(super) size: u64,
    pub(super) modified: Option<DateTime>,
}

impl Source {
    /// Opens it. Only what is a file has a length.
    pub(super) async fn open(path: &Path) -> io::Result<Source> {
        let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "not a file");
        // A pipe is not even opened: that would wait for somebody who writes.
        if !tokio::fs::metadata(path).await?.is_file() {
            return Err(no_file());
        }
        let file = File::open(path).await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            return Err(no_file());
        }
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.and_then(|age| DateTime::from_unix(i64::try_from(age.as_secs()).ok()?, 0));
        Ok(Source { file, size: metadata.len(), modified })
    }

    /// The hash of all of it.
    pub(super) async fn hash(&mut self, function: Function) -> io::Result<Hash> {
        let mut hasher = Hasher::new(function);
        self.read(0, self.size, |bytes| hasher.update(bytes)).await?;
        Ok(hasher.finish())
    }

    /// Goes to byte number `at`. The tally sees what it has not seen of what is before.
    pub(super) async fn go_to(&mut self, at: u64, tally: &mut Tally) -> io::Result<()> {
        if let Some(hashed) = tally.hashed().filter(|hashed| *hashed < at) {
            tally.at = hashed;
            self.read(hashed, at, |bytes| tally.look(bytes)).await?;
        }
        tally.at = at;
        self.file.seek(SeekFrom::Start(at)).await?;
        Ok(())
    }

    async fn read(&mut self, from: u64, to: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(from)).await?;
        let mut buffer = vec![0; 64 * 1024];
        let mut left = to.saturating_sub(from);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = match self.file.read(buffer.get_mut(..most).unwrap_or_default()).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => read,
            };
            see(buffer.get(..read).unwrap_or_default());
            left = left.saturating_sub(read as u64);
        }
        Ok(())
    }
}
