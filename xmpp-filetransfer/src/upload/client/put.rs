//! Uploading: a slot, and the file into it (§4, §7).

use super::{
    Transfer, UploadError, UploadService, Uploads,
    progress::{Counted, Hashed},
};
use crate::{
    share::{Disposition, FileMetadata, FileSharing, OutOfBand},
    upload::{Slot, SlotRequest},
};
use std::path::Path;
use tokio::io::AsyncRead;
use xmpp_core::{
    jid::Jid,
    net::https::{Https, HttpsError, Request, Response},
    payload::DateTime,
    stanza::{Iq, Message, MessageBuilder},
};

/// What a body without a type is.
const ANY: &str = "application/octet-stream";

/// A file that is there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// Where everybody who knows this can fetch it.
    pub url: String,
    /// What messages say of it (XEP-0446): its name, size, media type and SHA-256 so far. Others, such as its size in pixels or small
    /// pictures of it, are the application's to add.
    pub file: FileMetadata,
    /// How it is meant to be shown, if that is to be said.
    pub disposition: Option<Disposition>,
    stored: Stored,
}

impl Uploaded {
    /// What tells of it in a message (XEP-0447).
    pub fn sharing(&self) -> FileSharing {
        FileSharing { disposition: self.disposition, ..FileSharing::new(self.file.clone()).url(&self.url) }
    }

    /// Where it is, for a message of one's own (XEP-0066 §3).
    pub fn oob(&self) -> OutOfBand {
        OutOfBand::new(&self.url)
    }

    /// A message that shows it: what it is and where, and its address as body and out of band for clients that know no more; see
    /// [`FileSharing::tell`] for messages of other kinds.
    pub fn message(&self, to: impl Into<Jid>) -> MessageBuilder {
        self.sharing().tell(Message::chat(to))
    }

    /// Removes it, where the service takes a `DELETE` with what it was put with, as ours does; the document knows of none.
    ///
    /// # Errors
    /// [`UploadError::Status`] where it does not, [`UploadError::Https`].
    pub async fn delete(&self) -> Result<(), UploadError> {
        self.stored.delete().await
    }
}

/// A place to put a file.
#[derive(Clone)]
pub(super) struct Stored {
    put_url: String,
    headers: Vec<(&'static str, String)>,
    https: Https,
}

/// Without what opens it.
impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Stored {
    pub(super) async fn put(
        &self,
        reader: impl AsyncRead + Send + Unpin + 'static,
        size: u64,
        content_type: Option<&str>,
    ) -> Result<(), UploadError> {
        let request = Request::put(&self.put_url, reader, size).header("Content-Type", content_type.unwrap_or(ANY));
        success(&self.https.send(self.with_headers(request)).await?)
    }

    pub(super) async fn delete(&self) -> Result<(), UploadError> {
        success(&self.https.send(self.with_headers(Request::delete(&self.put_url))).await?)
    }

    fn with_headers(&self, request: Request) -> Request {
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

fn success(response: &Response) -> Result<(), UploadError> {
    if (200..300).contains(&response.status()) { Ok(()) } else { Err(UploadError::refusal(response)) }
}

impl Uploads {
    /// Asks for a slot; [`put`](Self::put) does so itself.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`], without asking if the service has said how much it takes; [`UploadError::Later`];
    /// [`UploadError::NoService`]; [`UploadError::Request`].
    pub async fn slot(&self, request: &SlotRequest) -> Result<Slot, UploadError> {
        let UploadService { jid, max_file_size } = self.service().await?;
        if max_file_size.is_some_and(|most| request.size > most) {
            return Err(UploadError::TooLarge { limit: max_file_size });
        }
        Ok(self.client.query(Iq::get(jid).payload(request)).await?)
    }

    /// Uploads what `reader` yields, which has to be `size` bytes, under a name and a media type for people and browsers.
    /// Returns when there is a slot and the upload has begun; then it goes on in a task of its own.
    ///
    /// # Errors
    /// Those of [`slot`](Self::slot), and [`HttpsError::Url`] where the slot is without TLS.
    pub async fn put(
        &self,
        reader: impl AsyncRead + Send + Unpin + 'static,
        size: u64,
        name: &str,
        content_type: Option<&str>,
    ) -> Result<Transfer<Uploaded>, UploadError> {
        let file = FileMetadata { media_type: content_type.map(str::to_owned), ..FileMetadata::new(name, size) };
        self.put_as(reader, size, file).await
    }

    /// Uploads a file of which messages say this.
    pub(crate) async fn put_as(
        &self,
        reader: impl AsyncRead + Send + Unpin + 'static,
        size: u64,
        mut file: FileMetadata,
    ) -> Result<Transfer<Uploaded>, UploadError> {
        let name = file.name.clone().unwrap_or_default();
        let wanted = SlotRequest { content_type: file.media_type.clone(), ..SlotRequest::new(name, size) };
        let (stored, url) = self.place(&wanted).await?;
        Ok(Transfer::start(Some(size), |progress| async move {
            let hashed = Hashed::new(Counted { inner: reader, progress });
            let hash = hashed.hash();
            stored.put(hashed, size, file.media_type.as_deref()).await?;
            file.hashes.push(hash.finish());
            Ok(Uploaded { url, file, disposition: None, stored })
        }))
    }

    /// A place for a file, and where it is then.
    pub(super) async fn place(&self, wanted: &SlotRequest) -> Result<(Stored, String), UploadError> {
        let slot = self.slot(wanted).await?;
        let is_secure = |url: &str| url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let open = [&slot.put.url, &slot.get.url].into_iter().any(|url| !is_secure(url));
        if open && !self.part.settings.allow_http {
            return Err(HttpsError::Url(slot.put.url).into());
        }
        let headers = slot.put.to_send().collect();
        Ok((Stored { headers, put_url: slot.put.url, https: self.https.clone() }, slot.get.url))
    }

    /// Uploads a file under its own name.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and [`UploadError::File`].
    pub async fn put_path(
        &self,
        path: impl AsRef<Path>,
        content_type: Option<&str>,
    ) -> Result<Transfer<Uploaded>, UploadError> {
        let (reader, size, mut file) = opened(path.as_ref()).await?;
        file.media_type = content_type.map(str::to_owned);
        self.put_as(reader, size, file).await
    }
}

/// A file to be uploaded, its length, and what it says of itself.
pub(super) async fn opened(path: &Path) -> Result<(tokio::fs::File, u64, FileMetadata), UploadError> {
    let name = path.file_name().map_or_else(|| "file".into(), |name| name.to_string_lossy());
    let file = tokio::fs::File::open(path).await?;
    let metadata = file.metadata().await?;
    let age = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let date = age.and_then(|age| DateTime::from_unix(i64::try_from(age.as_secs()).ok()?, 0));
    let size = metadata.len();
    Ok((file, size, FileMetadata { date, ..FileMetadata::new(name, size) }))
}
