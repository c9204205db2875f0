//! The folder that files are in. Names in it are ids that the service made up; nobody else has a say in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tokio::io::AsyncWriteExt as _;

/// Bytes that are gathered before they are written.
const PIECE: usize = 128 * 1024;

/// A folder with files, and with what has not come whole yet apart from them.
#[derive(Debug)]
pub(super) struct Folder {
    files: PathBuf,
    parts: PathBuf,
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// What was made or renamed in a folder is there after a power failure.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened, and need it not.
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

impl Folder {
    /// Makes it if it is missing, and drops what an earlier process had not finished.
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        let folder = Folder { files: path.join("files"), parts: path.join("parts") };
        make_private(&folder.files)?;
        make_private(&folder.parts)?;
        for part in fs::read_dir(&folder.parts)? {
            let part = part?;
            if part.file_type()?.is_file() {
                fs::remove_file(part.path())?;
            }
        }
        Ok(folder)
    }

    /// Where a file is: in one of a thousand folders.
    fn file(&self, id: &str) -> PathBuf {
        self.files.join(id.get(..2).unwrap_or_default()).join(id)
    }

    /// Begins a file, in a place where nobody looks for it.
    pub(super) async fn begin(&self, id: &str) -> io::Result<Part> {
        let path = self.parts.join(id);
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await?;
        Ok(Part { file, path: Some(path), gathered: Vec::new() })
    }

    /// Puts a whole file where it will be found: all of it, or nothing.
    pub(super) async fn publish(&self, mut part: Part, id: &str) -> io::Result<()> {
        part.write_gathered().await?;
        part.file.flush().await?;
        part.file.sync_all().await?;
        let (to, parts, files) = (self.file(id), self.parts.clone(), self.files.clone());
        let publishing = tokio::task::spawn_blocking(move || {
            let folder = to.parent().unwrap_or(&files);
            if !folder.is_dir() {
                make_private(folder)?;
                sync_folder(&files)?;
            }
            part.rename(&to)?;
            sync_folder(folder)?;
            sync_folder(&parts)
        });
        publishing.await.map_err(io::Error::other)?
    }

    pub(super) async fn read(&self, id: &str) -> io::Result<tokio::fs::File> {
        tokio::fs::File::open(self.file(id)).await
    }

    /// The size of a file; `None` if there is none.
    pub(super) async fn size(&self, id: &str) -> io::Result<Option<u64>> {
        match tokio::fs::metadata(self.file(id)).await {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it holds no file and has not held any: it may be that the disk is not there on which files are.
    pub(super) async fn is_untouched(&self) -> io::Result<bool> {
        Ok(tokio::fs::read_dir(&self.files).await?.next_entry().await?.is_none())
    }

    /// Removes a file, if there is one.
    pub(super) async fn remove(&self, id: &str) -> io::Result<()> {
        match tokio::fs::remove_file(self.file(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A file that is being written. What is dropped before it was published is removed.
#[derive(Debug)]
pub(super) struct Part {
    file: tokio::fs::File,
    path: Option<PathBuf>,
    gathered: Vec<u8>,
}

impl Part {
    pub(super) async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(octets);
        if self.gathered.len() >= PIECE { self.write_gathered().await } else { Ok(()) }
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        if let Some(from) = &self.path {
            fs::rename(from, to)?;
        }
        self.path = None;
        Ok(())
    }

    async fn write_gathered(&mut self) -> io::Result<()> {
        self.file.write_all(&self.gathered).await?;
        self.gathered.clear();
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(%error, "a part of an upload stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_not_finished_is_gone_and_what_was_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let mut part = folder.begin("abc").await.unwrap();
        part.write(b"hark").await.unwrap();
        assert!(names(&folder.files).is_empty(), "nothing is found before it is whole");
        folder.publish(part, "abc").await.unwrap();
        let mut part = folder.begin("def").await.unwrap();
        part.write(&vec![1; 3 * PIECE]).await.unwrap();
        assert_eq!(names(&folder.parts), ["def"]);
        drop(part);
        assert!(names(&folder.parts).is_empty());
        // As after a crash.
        std::mem::forget(folder.begin("ghi").await.unwrap());
        assert_eq!(names(&folder.parts), ["ghi"]);
        let folder = Folder::open(place.path()).unwrap();
        assert!(names(&folder.parts).is_empty());
        assert_eq!(fs::read(folder.file("abc")).unwrap(), b"hark");
        folder.remove("abc").await.unwrap();
        folder.remove("abc").await.unwrap();
        assert!(folder.read("abc").await.is_err());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_reads_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder.publish(folder.begin("abc").await.unwrap(), "abc").await.unwrap();
        for path in [folder.files.clone(), folder.parts.clone(), folder.file("abc")] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{path:?}");
        }
    }
}
