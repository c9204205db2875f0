//! Answers that tell when they did not get through.

use super::{Bytes, Reply};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// An answer on its way to the client. Dropped before its content is taken, it says so.
#[derive(Debug)]
pub(super) struct Delivery {
    reply: Reply,
    lost: Option<Lost>,
}

/// Whom to tell.
#[derive(Debug)]
struct Lost {
    ticket: u64,
    session: mpsc::UnboundedSender<Unread>,
}

/// The ticket of an answer that did not get through, and its content.
pub(super) type Unread = (u64, Bytes);

impl From<Reply> for Delivery {
    fn from(reply: Reply) -> Delivery {
        Delivery { reply, lost: None }
    }
}

impl Delivery {
    pub(super) fn tracked(reply: Reply, ticket: u64, session: mpsc::UnboundedSender<Unread>) -> Delivery {
        Delivery { reply, lost: Some(Lost { ticket, session }) }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            let _ = lost.session.send((lost.ticket, self.reply.body.clone()));
        }
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.lost = None;
        let content = std::mem::take(&mut this.reply.body);
        Poll::Ready((!content.is_empty()).then(|| Ok(Frame::data(content))))
    }

    fn is_end_stream(&self) -> bool {
        self.reply.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.reply.body.len()).unwrap_or(u64::MAX))
    }
}

impl IntoResponse for Delivery {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.reply.status).unwrap_or(StatusCode::OK);
        let content_type = HeaderValue::from_str(&self.reply.content_type);
        let mut response = Response::new(Body::new(self));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Ok(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The client says of what type the answer is, and others write into it: a browser that is made to show it as a
        // page must run nothing.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let nothing = HeaderValue::from_static("default-src 'none'; sandbox");
        headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
        response
    }
}
