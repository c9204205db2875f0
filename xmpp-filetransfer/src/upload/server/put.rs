//! Putting a file (§7): exactly what the slot was given out for, once.

use super::{Busy, Place, Service, files::Part, media, web::Refusal, web::text};
use crate::upload::store::Upload;
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use std::{error::Error, io, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Time for any file, beside what its size takes.
const GRACE: Duration = Duration::from_secs(60);
/// How far ahead of its time a file can be.
const AHEAD: Duration = Duration::from_secs(300);

impl Service {
    fn enter(self: &Arc<Self>, upload: &Upload) -> Result<Place, Refusal> {
        let mut busy = self.busy();
        if busy.contains_key(&upload.id) {
            return Err(Refusal::new(StatusCode::CONFLICT, "it is being put already\n"));
        }
        let owners = busy.values().filter_map(|busy| if let Busy::Put(owner) = busy { Some(owner) } else { None });
        let (mut all, mut own) = (0, 0);
        for owner in owners {
            all += 1;
            own += usize::from(*owner == upload.owner);
        }
        if own >= self.settings.puts_of_user {
            return Err(Refusal::later(StatusCode::TOO_MANY_REQUESTS, "too many of your files are under way\n"));
        }
        if all >= self.settings.puts {
            return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, "too many files are under way\n"));
        }
        busy.insert(upload.id.clone(), Busy::Put(upload.owner.clone()));
        Ok(Place { service: Arc::clone(self), id: upload.id.clone() })
    }

    /// Whether a file may still come.
    fn takes(&self, upload: &Upload) -> Result<(), Refusal> {
        if upload.published {
            return Err(Refusal::new(StatusCode::CONFLICT, "it is there already\n"));
        }
        if upload.expires.is_some_and(|expires| expires <= self.now()) {
            return Err(Refusal::new(StatusCode::GONE, "the slot has expired\n"));
        }
        Ok(())
    }

    pub(super) async fn put(
        self: &Arc<Self>,
        upload: Upload,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<Response, Refusal> {
        self.takes(&upload)?;
        check(&upload, headers)?;
        let place = self.enter(&upload)?;
        // Since it was looked up another may have put it, and left its place again; from here on nobody does.
        let upload = self.store.find(&upload.id).await?.ok_or_else(Refusal::not_found)?;
        self.takes(&upload)?;
        let mut part = self.folder.begin(&upload.id).await.map_err(unwritten)?;
        receive(body, &mut part, upload.size, self.settings.put_rate).await?;
        // From here on it does not matter whether the client still waits.
        let service = Arc::clone(self);
        let publishing = tokio::spawn(async move {
            let _place = place;
            service.publish(&upload, part).await
        });
        publishing.await.unwrap_or_else(|_| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "")))
    }

    async fn publish(&self, upload: &Upload, part: Part) -> Result<Response, Refusal> {
        self.folder.publish(part, &upload.id).await.map_err(unwritten)?;
        let kept = self.keep(upload.bucket).map(|keep| self.now().saturating_add(keep.as_secs()));
        let expires = [kept, upload.expire_before].into_iter().flatten().min();
        match self.store.publish(&upload.id, expires).await {
            Ok(true) => Ok(StatusCode::CREATED.into_response()),
            // The account went meanwhile, or the store is broken; a file that nobody knows of would stay for ever.
            other => {
                self.folder.remove(&upload.id).await.map_err(unwritten)?;
                other?;
                self.store.remove(&upload.id).await?;
                Err(Refusal::new(StatusCode::GONE, "the slot is gone\n"))
            }
        }
    }
}

/// What can be told before anything of the file was read (§7).
fn check(upload: &Upload, headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "files come whole\n"));
    }
    if text(headers, header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "files come as they are\n"));
    }
    let (asked, said) = (upload.content_type.as_deref(), text(headers, header::CONTENT_TYPE));
    if let (Some(asked), Some(said)) = (asked, said)
        && media::essence(asked) != media::essence(said)
    {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the slot is for another type\n"));
    }
    match text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > upload.size => Err(too_large()),
        Some(length) if length < upload.size => Err(too_small()),
        // Without a length it is counted as it comes.
        _ => Ok(()),
    }
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the file is larger than the slot\n")
}

fn too_small() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "the file is smaller than the slot\n")
}

/// Takes the file, as long as it keeps up with `rate`: whoever sends drop by drop does not hold a place for the time that
/// all of it may take.
async fn receive(body: &mut Body, part: &mut Part, size: u64, rate: u64) -> Result<(), Refusal> {
    let mut come: u64 = 0;
    let mut until = Instant::now() + GRACE;
    let slow = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the file comes too slowly\n");
    while let Some(frame) = timeout_at(until, body.frame()).await.map_err(slow)? {
        let Ok(octets) = frame.map_err(broken)?.into_data() else { continue };
        let count = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        come = come.saturating_add(count);
        if come > size {
            return Err(too_large());
        }
        part.write(&octets).await.map_err(unwritten)?;
        let worth = Duration::from_micros(count.saturating_mul(1_000_000) / rate.max(1));
        until = (until + worth.min(AHEAD)).min(Instant::now() + AHEAD);
    }
    if come < size { Err(too_small()) } else { Ok(()) }
}

/// The body broke off; most often there is nobody left to be told.
fn broken(error: axum::Error) -> Refusal {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return Refusal::new(StatusCode::REQUEST_TIMEOUT, "the file does not come\n");
        }
        cause = error.source();
    }
    Refusal::new(StatusCode::BAD_REQUEST, "the file breaks off\n")
}

fn unwritten(error: io::Error) -> Refusal {
    tracing::error!(%error, "an upload cannot be written");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Refusal::later(StatusCode::INSUFFICIENT_STORAGE, "the disk is full\n")
        }
        _ => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be written\n"),
    }
}
