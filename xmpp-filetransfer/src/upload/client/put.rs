//! Uploading: a slot, and the file into it (§4, §7).

use super::{Transfer, UploadError, UploadService, Uploads, progress::Counted};
use crate::{
    share::OutOfBand,
    upload::{Slot, SlotRequest},
};
use std::path::Path;
use tokio::io::AsyncRead;
use xmpp_core::{
    jid::Jid,
    net::https::{Https, HttpsError, Request, Response},
    stanza::{Iq, Message, MessageBuilder},
};

/// What a body without a type is.
const ANY: &str = "application/octet-stream";

/// A file that is there.
#[derive(Clone)]
#[non_exhaustive]
pub struct Uploaded {
    /// Where everybody who knows this can fetch it.
    pub url: String,
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub content_type: Option<String>,
    put_url: String,
    headers: Vec<(&'static str, String)>,
    https: Https,
}

impl std::fmt::Debug for Uploaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Uploaded");
        out.field("url", &self.url).field("name", &self.name).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Uploaded {
    /// Where it is, for a message (XEP-0066 §3).
    pub fn oob(&self) -> OutOfBand {
        OutOfBand::new(&self.url)
    }

    /// A message that shows it: its address as body and out of band, as clients expect it of files.
    pub fn message(&self, to: impl Into<Jid>) -> MessageBuilder {
        Message::chat(to).body(&self.url).payload(&self.oob())
    }

    /// Removes it, where the service takes a `DELETE` with what it was put with, as ours does; the document knows of none.
    ///
    /// # Errors
    /// [`UploadError::Status`] where it does not, [`UploadError::Https`].
    pub async fn delete(&self) -> Result<(), UploadError> {
        let request = Request::delete(&self.put_url);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        success(&self.https.send(request).await?)
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
        let content_type = content_type.map(str::to_owned);
        let wanted = SlotRequest { content_type: content_type.clone(), ..SlotRequest::new(name, size) };
        let slot = self.slot(&wanted).await?;
        let is_secure = |url: &str| url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let open = [&slot.put.url, &slot.get.url].into_iter().any(|url| !is_secure(url));
        if open && !self.part.settings.allow_http {
            return Err(HttpsError::Url(slot.put.url).into());
        }
        let uploaded = Uploaded {
            headers: slot.put.to_send().collect(),
            url: slot.get.url,
            put_url: slot.put.url,
            name: name.to_owned(),
            size,
            content_type,
            https: self.https.clone(),
        };
        Ok(Transfer::start(Some(size), |progress| async move {
            let reader = Counted { inner: reader, progress };
            let request = Request::put(&uploaded.put_url, reader, size)
                .header("Content-Type", uploaded.content_type.as_deref().unwrap_or(ANY));
            let request = uploaded.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            success(&uploaded.https.send(request).await?)?;
            Ok(uploaded)
        }))
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
        let path = path.as_ref();
        let name = path.file_name().map_or_else(|| "file".into(), |name| name.to_string_lossy());
        let file = tokio::fs::File::open(path).await?;
        let size = file.metadata().await?.len();
        self.put(file, size, &name, content_type).await
    }
}
