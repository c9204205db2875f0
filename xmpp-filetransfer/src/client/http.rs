//! The road by way of the server's store of files (XEP-0363), for who cannot take a file now: it is uploaded, and a message
//! says where it is.

use super::{Phase, Report, Road, TransferError, jingle::Job, progress::Brake, source::Source};
use crate::{
    file::File,
    share::FileMetadata,
    upload::client::{UploadClient, UploadError},
};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncSeekExt, ReadBuf},
    time::Instant,
};
use xmpp_core::{BoxFuture, client::Client, jid::Jid};

/// Uploads a file, and tells somebody.
pub(super) async fn send(
    client: &Client,
    to: Jid,
    file: &File,
    mut source: Source,
    job: &mut Job,
) -> Result<Report, TransferError> {
    let uploads = client.uploads().map_err(|_| TransferError::NobodyThere)?;
    let (brake, size) = (job.brake.clone(), source.size);
    job.meter.phase(Phase::Connecting);
    // It may have been read for its hash.
    source.file.rewind().await.map_err(TransferError::File)?;
    let reader = Braked { inner: source.file, brake: brake.clone(), held: None };
    // It is hashed on its way.
    let said = FileMetadata { size: Some(size), hashes: Vec::new(), ..FileMetadata::from(file) };
    let slot = uploads.put_as(reader, size, said);
    let mut upload = tokio::select! {
        slot = slot => slot.map_err(failure)?,
        () = brake.cancelled() => return Err(TransferError::Cancelled),
    };
    job.meter.road(Road::Http);
    job.meter.phase(Phase::Running);
    loop {
        tokio::select! {
            further = upload.changed() => match further {
                Some(progress) => {
                    job.meter.phase(if brake.is_free() { Phase::Running } else { Phase::Paused });
                    job.meter.at(progress.done, Instant::now());
                }
                None => break,
            },
            () = brake.cancelled() => return Err(TransferError::Cancelled),
        }
    }
    let uploaded = upload.finish().await.map_err(failure)?;
    client.send(uploaded.message(to)).await?;
    Ok(Report {
        path: None,
        url: Some(uploaded.url),
        road: Road::Http,
        bytes: size,
        moved: size,
        verified: None,
        compared: None,
        elapsed: job.started.elapsed(),
    })
}

fn failure(error: UploadError) -> TransferError {
    match error {
        UploadError::NoService => TransferError::NobodyThere,
        UploadError::TooLarge { limit } => TransferError::TooLarge { limit },
        UploadError::Later { error, .. } => TransferError::Refused(*error),
        UploadError::Request(error) => (*error).into(),
        UploadError::File(error) => TransferError::File(error),
        UploadError::Cancelled => TransferError::Cancelled,
        error => TransferError::Stream(io::Error::other(error)),
    }
}

/// Yields nothing while the transfer is paused.
struct Braked<R> {
    inner: R,
    brake: Brake,
    held: Option<BoxFuture<'static, ()>>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Braked<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.held.is_some() || !this.brake.is_free() {
            let brake = this.brake.clone();
            let held = this.held.get_or_insert_with(|| Box::pin(async move { brake.go().await }));
            ready!(held.as_mut().poll(cx));
            this.held = None;
        }
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}
