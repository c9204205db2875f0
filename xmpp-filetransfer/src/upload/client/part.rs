//! A file that is being fetched: under another name until it is whole.

use super::UploadError;
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{fs::File, io::AsyncWriteExt};

/// A file that is not whole, in the folder of its place; dropped, it is removed.
pub(super) struct PartFile(Option<PathBuf>);

impl PartFile {
    /// A new one.
    pub(super) async fn create(place: &Path) -> io::Result<(File, PartFile)> {
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        // Short, whatever the length of the name.
        let start: String = name.chars().take(32).collect();
        let part = place.with_file_name(format!(".{start}.{:016x}.part", u64::from_le_bytes(random)));
        let file = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&part).await?;
        Ok((file, PartFile(Some(part))))
    }

    /// The same for a place where nothing may be.
    pub(super) async fn create_beside(place: &Path) -> Result<(File, PartFile), UploadError> {
        match tokio::fs::symlink_metadata(place).await {
            Ok(_) => Err(UploadError::Exists(place.to_owned())),
            Err(_) => Ok(PartFile::create(place).await?),
        }
    }

    /// It is whole, and takes the place of what was there.
    pub(super) async fn replace(mut self, file: File, place: &Path) -> io::Result<()> {
        settle(file).await?;
        if let Some(part) = &self.0 {
            tokio::fs::rename(part, place).await?;
        }
        self.0 = None;
        Ok(())
    }

    /// It is whole, and gets its name, unless something is there.
    pub(super) async fn publish(mut self, file: File, place: &Path) -> Result<(), UploadError> {
        settle(file).await?;
        let Some(part) = self.0.clone() else { return Ok(()) };
        match tokio::fs::hard_link(&part, place).await {
            // A second name never replaces what is there; dropped, the first one goes.
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Some file systems know no second names.
            Err(_) if tokio::fs::symlink_metadata(place).await.is_ok() => {}
            Err(_) => {
                tokio::fs::rename(part, place).await?;
                self.0 = None;
                return Ok(());
            }
        }
        Err(UploadError::Exists(place.to_owned()))
    }
}

async fn settle(mut file: File) -> io::Result<()> {
    file.flush().await?;
    file.sync_all().await
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if let Some(part) = &self.0 {
            let _ = std::fs::remove_file(part);
        }
    }
}
