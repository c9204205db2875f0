//! Fetching a file: whole or a part of it, as often as one likes.

use super::{
    Service, media, name,
    range::{Wanted, lists, wanted},
    web::{Refusal, list, text},
};
use crate::upload::store::Upload;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};
use std::{
    io::{self, SeekFrom},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncSeekExt as _, ReadBuf};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

impl Service {
    /// The answer to GET, or to HEAD, which is the same without the body.
    pub(super) async fn get(&self, upload: &Upload, asked: &HeaderMap, body: bool) -> Result<Response, Refusal> {
        let expired = upload.expires.is_some_and(|expires| expires <= self.now());
        if !upload.published || expired {
            return Err(Refusal::not_found());
        }
        let tag = format!("\"{}\"", upload.id);
        if list(asked, header::IF_MATCH).is_some_and(|tags| !lists(&tags, &tag, false)) {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "it is another file\n"));
        }
        let mut headers = self.headers(upload, &tag)?;
        if list(asked, header::IF_NONE_MATCH).is_some_and(|tags| lists(&tags, &tag, true)) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let (first, length, status) = match part(asked, &tag, upload.size, body) {
            Wanted::Whole => (0, upload.size, StatusCode::OK),
            Wanted::Part(first, last) => {
                headers.insert(header::CONTENT_RANGE, value(format!("bytes {first}-{last}/{}", upload.size))?);
                (first, last.saturating_sub(first).saturating_add(1), StatusCode::PARTIAL_CONTENT)
            }
            Wanted::Beyond => {
                let range = [(header::CONTENT_RANGE, value(format!("bytes */{}", upload.size))?)];
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range, "the file ends before that\n").into_response());
            }
        };
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let mut file = self.folder.read(&upload.id).await.map_err(unread)?;
        if file.metadata().await.map_err(unread)?.len() != upload.size {
            tracing::error!(id = upload.id, "an upload has lost a part of its file");
            return Err(Refusal::not_found());
        }
        if !body {
            return Ok((status, headers).into_response());
        }
        if first > 0 {
            file.seek(SeekFrom::Start(first)).await.map_err(unread)?;
        }
        file.set_max_buf_size(PIECE);
        let reading = Reading { file, left: length, scratch: Vec::new() };
        Ok((status, headers, Body::new(reading)).into_response())
    }

    fn headers(&self, upload: &Upload, tag: &str) -> Result<HeaderMap, Refusal> {
        let (content_type, shown) = media::served(upload.content_type.as_deref());
        let left = upload.expires.map_or(u64::MAX, |expires| expires.saturating_sub(self.now())).min(7 * 24 * 60 * 60);
        let all: [(HeaderName, String); 6] = [
            (header::CONTENT_TYPE, content_type.to_owned()),
            (header::CONTENT_DISPOSITION, name::disposition(&upload.name, shown)),
            (header::ETAG, tag.to_owned()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (header::CACHE_CONTROL, format!("private, max-age={left}, immutable")),
            (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin".to_owned()),
        ];
        all.into_iter().map(|(name, text)| Ok((name, value(text)?))).collect()
    }
}

/// What of the file is asked for: with `If-Range` a part only if it is still the same file (RFC 9110 §13.1.5).
fn part(asked: &HeaderMap, tag: &str, size: u64, body: bool) -> Wanted {
    let same = list(asked, header::IF_RANGE).is_none_or(|range| range.trim() == tag);
    match text(asked, header::RANGE).filter(|_| same && body) {
        Some(range) => wanted(range, size),
        None => Wanted::Whole,
    }
}

fn value(text: String) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(&text).map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, ""))
}

fn unread(error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::NotFound {
        return Refusal::not_found();
    }
    tracing::error!(%error, "an upload cannot be read");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
}

/// A part of a file, read as it is taken.
struct Reading {
    file: tokio::fs::File,
    left: u64,
    scratch: Vec<u8>,
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = usize::try_from(this.left).unwrap_or(PIECE).min(PIECE);
        this.scratch.resize(PIECE, 0);
        let mut buffer = ReadBuf::new(this.scratch.get_mut(..piece).unwrap_or_default());
        if let Err(error) = ready!(Pin::new(&mut this.file).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let octets = Bytes::copy_from_slice(buffer.filled());
        if octets.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left = this.left.saturating_sub(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(octets))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
