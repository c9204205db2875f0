//! Files that the store cannot read (XEP-0454): encrypted while they go up, decrypted while they come down.

use super::{
    Downloaded, Fetching, Transfer, UploadError, Uploads, Verified,
    fetch::{Fetch, Sink},
    part::PartFile,
    progress::Counted,
    put::{Stored, opened},
};
use crate::{
    share::aesgcm::{self, AesGcmLink, EncryptedMedia, Opener, Sealer, TAG_BYTES},
    upload::SlotRequest,
};
use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf, Take};
use zeroize::Zeroizing;

/// What the service is told of every such file.
const TYPE: &str = "application/octet-stream";

/// A file that is in a store which cannot read it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Encrypted {
    /// Where it is, with the key. It belongs into encrypted messages only.
    pub link: AesGcmLink,
    /// The size of the file before it was encrypted, in bytes.
    pub size: u64,
    stored: Stored,
}

impl Encrypted {
    /// What an encrypted message says of it; [`EncryptedMedia::body`] is its body.
    pub fn media(&self) -> EncryptedMedia {
        EncryptedMedia { link: self.link.clone(), thumbnail: None }
    }

    /// Removes it, as [`Uploaded::delete`](super::Uploaded::delete) does.
    ///
    /// # Errors
    /// [`UploadError::Status`] where the service takes none, [`UploadError::Https`].
    pub async fn delete(&self) -> Result<(), UploadError> {
        self.stored.delete().await
    }
}

impl Uploads {
    /// Uploads what `reader` yields, which has to be `size` bytes, encrypted with a key of its own. Every call makes a new one, also
    /// for what was tried before. The service learns the size, and of `name` the ending alone. Returns when the upload has begun.
    ///
    /// ```
    /// # #[cfg(not(feature = "http-server"))]
    /// # fn main() {}
    /// # #[cfg(feature = "http-server")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::sync::Arc;
    /// # use xmpp_core::{client::Client, net::{ClientTls, ServerTls, tls::SelfSigned}, server::{Audience, MemoryAccounts, Server}};
    /// # use xmpp_filetransfer::upload::{server::Uploads, store::MemoryUploads};
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let url = format!("https://localhost:{}", listener.local_addr()?.port());
    /// # let folder = tempfile::tempdir()?;
    /// # let uploads = Uploads::open("upload.localhost", &url, Arc::new(MemoryUploads::default()), folder.path())?;
    /// # let made = SelfSigned::generate(&["localhost"], 1)?;
    /// # let trust = ClientTls::builder().only_roots().add_root_pem(made.certificate_pem.as_bytes())?.build()?;
    /// # let accounts = MemoryAccounts::new();
    /// # accounts.set_password("juliet@localhost".parse()?, "secret");
    /// # let server = Server::builder("localhost").accounts(accounts).tls(ServerTls::single(made.certificate_key)?);
    /// # let server = server.with(uploads).build()?;
    /// # server.listen_on(listener, Audience::Https)?;
    /// # let builder = Client::builder("juliet@localhost".parse()?, "secret").tls(trust).pipe(move || server.connect_memory());
    /// # let (client, _events) = builder.with(xmpp_filetransfer::upload::client::client).connect()?;
    /// # client.online().await;
    /// use xmpp_filetransfer::{share::aesgcm::EncryptedMedia, upload::client::UploadClient};
    ///
    /// let upload = client.uploads()?.put_encrypted(&b"Wilt thou be gone?"[..], 18, "letter.txt").await?;
    /// // What goes into an encrypted message, and is read there.
    /// let body = upload.finish().await?.media().body();
    /// let media = EncryptedMedia::read(&body)?;
    /// let place = folder.path().join("letter.txt");
    /// client.uploads()?.get_encrypted(&media.link).to_path(&place).finish().await?;
    /// assert_eq!(std::fs::read(place)?, b"Wilt thou be gone?");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`put`](Self::put); [`UploadError::Link`] where the slot is no address of HTTPS, since no link to others is made (§3).
    pub async fn put_encrypted(
        &self,
        reader: impl AsyncRead + Send + Unpin + 'static,
        size: u64,
        name: &str,
    ) -> Result<Transfer<Encrypted>, UploadError> {
        if size > aesgcm::MAX_BYTES {
            return Err(UploadError::TooLarge { limit: Some(aesgcm::MAX_BYTES) });
        }
        let (mut key, mut iv, mut random) = (Zeroizing::new([0; 32]), [0; 12], [0; 16]);
        for octets in [key.as_mut_slice(), &mut iv, &mut random] {
            getrandom::fill(octets).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let total = size.saturating_add(TAG_BYTES);
        let wanted =
            SlotRequest { content_type: Some(TYPE.to_owned()), ..SlotRequest::new(hidden(name, random), total) };
        let (stored, url) = self.place(&wanted).await?;
        let link = AesGcmLink::new(&url, iv, *key)?;
        Ok(Transfer::start(Some(total), |progress| async move {
            let sealing = Sealing::new(reader, size, Sealer::new(&key, &iv));
            stored.put(Counted { inner: sealing, progress }, total, Some(TYPE)).await?;
            Ok(Encrypted { link, size, stored })
        }))
    }

    /// Uploads a file, encrypted.
    ///
    /// # Errors
    /// Those of [`put_encrypted`](Self::put_encrypted), and [`UploadError::File`].
    pub async fn put_path_encrypted(&self, path: impl AsRef<Path>) -> Result<Transfer<Encrypted>, UploadError> {
        let (reader, size, file) = opened(path.as_ref()).await?;
        self.put_encrypted(reader, size, &file.name.unwrap_or_default()).await
    }

    /// Fetches the file of a link, and decrypts it. Nobody on the way sees the key.
    pub fn get_encrypted(&self, link: &AesGcmLink) -> FetchingEncrypted {
        let max_bytes = self.part.settings.max_fetched;
        FetchingEncrypted { fetching: self.get(link.url()), link: link.clone(), max_bytes }
    }
}

/// A name that says nothing but what kind of file it is.
fn hidden(name: &str, random: [u8; 16]) -> String {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    let is_plain = (1..=8).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = format!("{:032x}", u128::from_be_bytes(random));
    if is_plain { format!("{name}.{ending}") } else { name }
}

/// An encrypted file to be fetched.
#[derive(Debug)]
#[must_use = "nothing is fetched before it is said where to"]
pub struct FetchingEncrypted {
    fetching: Fetching,
    link: AesGcmLink,
    max_bytes: u64,
}

impl FetchingEncrypted {
    /// No more than so many bytes, in place of what the client is set to.
    pub fn max_bytes(mut self, bytes: u64) -> FetchingEncrypted {
        self.max_bytes = bytes;
        self
    }

    /// To a place where nothing is yet. The file is there when all of it is, and is what was encrypted with the key of the link;
    /// until then it has another name in the same folder, and is removed if nothing comes of it.
    ///
    /// It ends with [`UploadError::Forged`] if it was changed, cut off or continued; with [`UploadError::Exists`],
    /// [`UploadError::TooLarge`] and others.
    pub fn to_path(self, place: impl Into<PathBuf>) -> Transfer<Downloaded> {
        let FetchingEncrypted { fetching, link, max_bytes } = self;
        let (place, fetching) = (place.into(), fetching.max_bytes(max_bytes.saturating_add(TAG_BYTES)));
        Transfer::start(None, |progress| async move {
            let (file, part) = PartFile::create_beside(&place).await?;
            let mut sink = Opening { file, opener: Opener::new(&link), plain: Zeroizing::default() };
            let fetched = Fetch::new(fetching, progress).run(&mut sink).await;
            let fetched = fetched.map_err(|error| match error {
                UploadError::TooLarge { .. } => UploadError::TooLarge { limit: Some(max_bytes) },
                error => error,
            })?;
            let Opening { file, opener, .. } = sink;
            opener.finish()?;
            part.publish(file, &place).await?;
            let size = fetched.size.saturating_sub(TAG_BYTES);
            Ok(Downloaded { size, verified: Some(Verified::Key), ..fetched })
        })
    }
}

/// Encrypts what is read, and ends with the tag.
struct Sealing<R> {
    inner: Take<R>,
    sealer: Option<Sealer>,
    /// What is left of the tag.
    tag: io::Cursor<Vec<u8>>,
}

impl<R: AsyncRead> Sealing<R> {
    fn new(reader: R, size: u64, sealer: Sealer) -> Sealing<R> {
        Sealing { inner: reader.take(size), sealer: Some(sealer), tag: io::Cursor::default() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Sealing<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(mut sealer) = this.sealer.take() {
            let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
            let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
            if polled.is_pending() || !fresh.is_empty() {
                sealer.seal(fresh).map_err(io::Error::other)?;
                this.sealer = Some(sealer);
                return polled;
            }
            ready!(polled)?;
            // A file that is shorter than it was has no end.
            if this.inner.limit() > 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.tag = io::Cursor::new(sealer.tag().to_vec());
        }
        Pin::new(&mut this.tag).poll_read(cx, buf)
    }
}

/// A file, and what decrypts what goes into it.
struct Opening {
    file: tokio::fs::File,
    opener: Opener,
    plain: Zeroizing<Vec<u8>>,
}

impl Sink for Opening {
    async fn take(&mut self, octets: &[u8]) -> Result<(), UploadError> {
        self.plain.clear();
        self.opener.open(octets, &mut self.plain)?;
        Ok(self.file.write_all(&self.plain).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_ending_alone() {
        let random = [0xab; 16];
        let name = "ab".repeat(16);
        for (said, ending) in [
            ("My Secret.JPG", ".jpg"),
            ("a.tar.gz", ".gz"),
            ("secret", ""),
            (".secret plans", ""),
            ("a.longsecretname", ""),
            ("a.", ""),
            ("../x.sé", ""),
        ] {
            assert_eq!(hidden(said, random), format!("{name}{ending}"), "{said}");
        }
    }
}
