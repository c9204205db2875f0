//! A file that is being received: under a name of its own until it is whole and right.

use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    fs::TryLockError,
    io,
    path::{Path, PathBuf},
};
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom},
};

/// A file beside its final place. What is dropped without [`publish`](PartFile::publish) stays there under its other
/// name, so that a later attempt can go on from it; [`discard`](PartFile::discard) removes it.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    part: PathBuf,
    place: PathBuf,
    length: u64,
    /// Whether it serves a later attempt.
    again: bool,
}

impl PartFile {
    /// Opens the part for `place`. `mark` is what the file is known by, so that the rest of one file is not appended to the
    /// beginning of another. Unless it can serve `again`, it begins with nothing and is gone with the attempt.
    ///
    /// # Errors
    /// `AlreadyExists` if something is at the place, or somebody else receives the same file to it; what the disk says.
    pub(super) async fn open(place: &Path, mark: &[&[u8]], again: bool) -> io::Result<PartFile> {
        // A link that leads nowhere is something, too.
        match fs::symlink_metadata(place).await {
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let part = part_name(place, mark).ok_or(io::ErrorKind::InvalidInput)?;
        // Not through a link that somebody has put there.
        if fs::symlink_metadata(&part).await.is_ok_and(|what| !what.is_file()) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).await?;
        let (std, path) = (file.into_std().await, part.clone());
        let file = tokio::task::spawn_blocking(move || own(std, &path, again)).await.map_err(io::Error::other)??;
        let file = File::from_std(file);
        let length = file.metadata().await?.len();
        Ok(PartFile { file, part, place: place.to_owned(), length, again })
    }

    /// Where the file is to be.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// How much of it is there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads what is there from the beginning, up to `length` bytes, and cuts off the rest: the next byte is written behind.
    pub(super) async fn resume(&mut self, length: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0)).await?;
        let mut left = length.min(self.length);
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = match self.file.read(buffer.get_mut(..most).unwrap_or_default()).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => read,
            };
            see(buffer.get(..read).unwrap_or_default());
            left = left.saturating_sub(read as u64);
        }
        self.length = length.min(self.length);
        self.file.set_len(self.length).await?;
        self.file.seek(SeekFrom::Start(self.length)).await?;
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.length = self.length.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// It stays for a later attempt, if it can serve one.
    pub(super) async fn leave(mut self) {
        if !self.again {
            return self.discard().await;
        }
        if let Err(error) = self.file.flush().await {
            tracing::debug!(%error, "the part of a file is not whole");
        }
    }

    /// The file gets its name. Nothing that is at the place is overwritten.
    ///
    /// # Errors
    /// `AlreadyExists` if something has come to the place meanwhile: the part stays. What the disk says.
    pub(super) async fn publish(mut self) -> io::Result<PathBuf> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let PartFile { part, place, file, .. } = self;
        let file = file.into_std().await;
        tokio::task::spawn_blocking(move || {
            match std::fs::hard_link(&part, &place) {
                // A second name never replaces what is there.
                Ok(()) => {
                    if let Err(error) = std::fs::remove_file(&part) {
                        tracing::debug!(%error, "the part of a file stays beside it");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => rename(&part, &place)?,
            }
            // Until it has its name nobody else is to write into it.
            drop(file);
            Ok(place)
        })
        .await
        .map_err(io::Error::other)?
    }

    /// The part goes away.
    pub(super) async fn discard(self) {
        // It is locked as long as it has its name.
        if let Err(error) = fs::remove_file(&self.part).await {
            tracing::debug!(%error, "the part of a file stays");
        }
    }
}

/// Locks a part that was opened, unless it is somebody else's by now.
fn own(file: std::fs::File, part: &Path, again: bool) -> io::Result<std::fs::File> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::AlreadyExists.into()),
        // Where files cannot be locked, the name has to be enough.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // Who had it before may have published it, or thrown it away, since it was opened.
    if !is_at(&file, part)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if !again {
        file.set_len(0)?;
    }
    Ok(file)
}

#[cfg(unix)]
fn is_at(file: &std::fs::File, part: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    let there = std::fs::symlink_metadata(part);
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino())))
}

#[cfg(not(unix))]
fn is_at(_: &std::fs::File, part: &Path) -> io::Result<bool> {
    part.try_exists()
}

/// Where there are no second names: the place is taken first, so that nothing is there that this could replace.
fn rename(part: &Path, place: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).open(place)?;
    std::fs::rename(part, place).inspect_err(|_| drop(std::fs::remove_file(place)))
}

/// The part's name beside the place.
fn part_name(place: &Path, mark: &[&[u8]]) -> Option<PathBuf> {
    let name = place.file_name()?;
    let mut digest = Sha256::new();
    for piece in mark.iter().copied().chain([name.as_encoded_bytes()]) {
        digest.update((piece.len() as u64).to_be_bytes());
        digest.update(piece);
    }
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    // The name in front is for people, and may be as long as a name can be.
    let start: String = name.to_string_lossy().chars().take(32).collect();
    let mut part = OsString::from(format!(".{start}."));
    part.push(digest);
    part.push(".part");
    Some(place.with_file_name(part))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        let mut part = PartFile::open(&place, &[b"x"], true).await.unwrap();
        part.write(b"half").await.unwrap();
        assert!(!place.exists());
        assert_eq!(part.publish().await.unwrap(), place);
        assert_eq!(entries(folder.path()), ["note.txt"]);
        assert_eq!(std::fs::read(&place).unwrap(), b"half");
    }

    #[tokio::test]
    async fn what_is_at_the_place_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        let mut part = PartFile::open(&place, &[b"x"], true).await.unwrap();
        part.write(b"new").await.unwrap();
        std::fs::write(&place, "old").unwrap();
        assert_eq!(part.publish().await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&place).unwrap(), b"old");
        assert_eq!(PartFile::open(&place, &[b"x"], true).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn a_part_is_gone_on_with_where_it_is_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        let mut part = PartFile::open(&place, &[b"one"], true).await.unwrap();
        part.write(b"0123456789").await.unwrap();
        part.file.flush().await.unwrap();
        drop(part);
        assert_eq!(PartFile::open(&place, &[b"another"], true).await.unwrap().length(), 0);
        let mut part = PartFile::open(&place, &[b"one"], true).await.unwrap();
        assert_eq!(part.length(), 10);
        let mut seen = Vec::new();
        part.resume(8, |bytes| seen.extend_from_slice(bytes)).await.unwrap();
        assert_eq!(seen, b"01234567");
        part.write(b"END").await.unwrap();
        part.publish().await.unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"01234567END");
    }

    #[tokio::test]
    async fn two_do_not_write_the_same_part() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        let _part = PartFile::open(&place, &[b"one"], true).await.unwrap();
        assert_eq!(PartFile::open(&place, &[b"one"], true).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    /// Opened before, and locked after somebody else was done with it.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_part_that_was_published_meanwhile_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        for discards in [false, true] {
            let mut first = PartFile::open(&place, &[b"one"], true).await.unwrap();
            let part = first.part.clone();
            let late = std::fs::OpenOptions::new().read(true).write(true).open(&part).unwrap();
            first.write(b"whole").await.unwrap();
            match discards {
                true => first.discard().await,
                false => drop(first.publish().await.unwrap()),
            }
            assert_eq!(own(late, &part, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            if !discards {
                assert_eq!(std::fs::read(&place).unwrap(), b"whole");
                std::fs::remove_file(&place).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_part_that_cannot_serve_again_is_gone_with_its_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        let mut part = PartFile::open(&place, &[b"one"], false).await.unwrap();
        part.write(b"half").await.unwrap();
        part.leave().await;
        assert!(entries(folder.path()).is_empty());
        let mut part = PartFile::open(&place, &[b"one"], true).await.unwrap();
        part.write(b"half").await.unwrap();
        part.leave().await;
        assert_eq!(
            PartFile::open(&place, &[b"one"], false).await.unwrap().length(),
            0,
            "nor does it go on with another's"
        );
    }

    #[test]
    fn without_second_names_nothing_is_overwritten_either() {
        let folder = tempfile::tempdir().unwrap();
        let (part, place) = (folder.path().join("part"), folder.path().join("note.txt"));
        assert!(rename(&part, &place).is_err() && !place.exists(), "nothing is left of an attempt");
        std::fs::write(&part, "new").unwrap();
        rename(&part, &place).unwrap();
        std::fs::write(&part, "newer").unwrap();
        assert_eq!(rename(&part, &place).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&place).unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_discarded_part_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("x".repeat(255)), &[], true).await.unwrap();
        part.discard().await;
        assert!(entries(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_in_the_place_of_the_part_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("note.txt");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s").unwrap();
        std::os::unix::fs::symlink(&secret, part_name(&place, &[]).unwrap()).unwrap();
        assert_eq!(PartFile::open(&place, &[], true).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
