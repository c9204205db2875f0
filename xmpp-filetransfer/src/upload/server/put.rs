//! Putting a file (§7): exactly what the slot was given out for, once.

use super::{Service, files::Part, media, web::Refusal, web::text};
use crate::upload::store::Upload;
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use std::{error::Error, io, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Time for any file, beside what its size takes.
const GRACE: Duration = Duration::from_secs(60);

/// A file's place among those that are under way.
struct Place {
    service: Arc<Service>,
    id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.under_way().remove(&self.id);
    }
}

impl Service {
    fn enter(self: &Arc<Self>, upload: &Upload) -> Result<Place, Refusal> {
        let mut under_way = self.under_way();
        if under_way.contains_key(&upload.id) {
            return Err(Refusal::new(StatusCode::CONFLICT, "it is being put already\n"));
        }
        if under_way.values().filter(|owner| **owner == upload.owner).count() >= self.settings.puts_of_user {
            return Err(Refusal::later(StatusCode::TOO_MANY_REQUESTS, "too many of your files are under way\n"));
        }
        if under_way.len() >= self.settings.puts {
            return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, "too many files are under way\n"));
        }
        under_way.insert(upload.id.clone(), upload.owner.clone());
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

    pub(super) async fn put(self: &Arc<Self>, upload: Upload, request: Request<Body>) -> Result<Response, Refusal> {
        self.takes(&upload)?;
        check(&upload, request.headers())?;
        let place = self.enter(&upload)?;
        // Since it was looked up another may have put it, and left its place again; from here on nobody does.
        let upload = self.store.find(&upload.id).await?.ok_or_else(Refusal::not_found)?;
        self.takes(&upload)?;
        let mut part = self.folder.begin(&upload.id).await.map_err(unwritten)?;
        let seconds = upload.size / self.settings.put_rate.max(1);
        let time = GRACE.saturating_add(Duration::from_secs(seconds));
        let receiving = receive(request.into_body(), &mut part, upload.size);
        let slow = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the file comes too slowly\n");
        timeout(time, receiving).await.map_err(slow)??;
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
        let kept = self.settings.keep.map(|keep| self.now().saturating_add(keep.as_secs()));
        let expires = [kept, upload.expire_before].into_iter().flatten().min();
        match self.store.publish(&upload.id, expires).await {
            Ok(true) => Ok(StatusCode::CREATED.into_response()),
            // The account went meanwhile, or the store is broken; a file that nobody knows of would stay for ever.
            other => {
                self.folder.remove(&upload.id).await.map_err(unwritten)?;
                other?;
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

async fn receive(mut body: Body, part: &mut Part, size: u64) -> Result<(), Refusal> {
    let mut come: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(octets) = frame.map_err(broken)?.into_data() else { continue };
        come = come.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        if come > size {
            return Err(too_large());
        }
        part.write(&octets).await.map_err(unwritten)?;
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
