//! The routes: one address for each file, whatever is done with it.

use super::{
    Service,
    address::{self, Granted, Named, Query},
};
use crate::upload::store::{StorageError, Upload};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use sha2::{Digest as _, Sha256};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

/// Bytes that nobody wants and that are read all the same, and for how long.
const UNWANTED: usize = 4 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// What is done with a file.
const METHODS: &str = "OPTIONS, HEAD, GET, PUT, DELETE";

pub(super) fn routes(service: Arc<Service>) -> Router {
    Router::new().route("/upload/{*file}", any(answer)).with_state(service)
}

/// Why something is not done, and after how many seconds it may be.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    why: &'static str,
    retry: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: &'static str) -> Refusal {
        Refusal { status, why, retry: None }
    }

    pub(super) fn later(status: StatusCode, why: &'static str) -> Refusal {
        Refusal { status, why, retry: Some(10) }
    }

    pub(super) fn not_found() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "there is no such file\n")
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Refusal {
        tracing::error!("{error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the store failed\n")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.why).into_response();
        if let Some(seconds) = self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let mut response = service.respond(&head, &mut body).await.unwrap_or_else(Refusal::into_response);
    // Who asks first sends nothing now; to read would be to invite it.
    if !body.is_end_stream() && !head.headers.contains_key(header::EXPECT) {
        tokio::spawn(linger(body));
    }
    let headers = response.headers_mut();
    // Nothing here rests on cookies, so scripts of any origin may read it (§8), and what a file holds runs nowhere (§9.1).
    let always: [(HeaderName, &'static str); 5] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Retry-After",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Caches may keep a refusal too (RFC 9111 §4.2.2), and what is not there yet may come in the next moment.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Reads on for a moment: who still sends while the connection is closed may never see the answer (RFC 9112 §9.6).
async fn linger(mut body: Body) {
    let mut left = UNWANTED;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |octets| octets.len()));
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(LINGER, reading).await;
}

/// The answer to a browser that asks what a script may do.
fn preflight() -> Response {
    let headers = [
        (header::ALLOW, METHODS),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range"),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The header, if it is there once and is text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).into_iter();
    let one = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(one)
}

/// All of a header that is a list, which may be in several lines (RFC 9110 §5.3); `None` if it is not there.
pub(super) fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut all = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default()).peekable();
    all.peek()?;
    Some(all.collect::<Vec<_>>().join(","))
}

impl Service {
    /// The address of a file (§4: its name and ending stay).
    pub(super) fn url(&self, upload: &Upload) -> String {
        format!("{}{}", self.public_url, address::path(&self.keys, &upload.id, &upload.name))
    }

    /// The address to put it to.
    pub(super) fn put_url(&self, upload: &Upload) -> String {
        let granted = Granted {
            id: &upload.id,
            name: &upload.name,
            size: upload.size,
            content_type: upload.content_type.as_deref().unwrap_or_default(),
            until: upload.expires.unwrap_or_default(),
            token: &upload.token,
        };
        format!("{}{}", self.url(upload), granted.query(&self.keys))
    }

    async fn respond(self: Arc<Self>, head: &Parts, body: &mut Body) -> Result<Response, Refusal> {
        let Parts { method, uri, headers, .. } = head;
        if method == Method::OPTIONS {
            return Ok(preflight());
        }
        let named = address::named(&self.keys, uri.path()).ok_or_else(Refusal::not_found)?;
        match *method {
            Method::GET => self.get(&self.look_up(&named).await?, headers, true).await,
            Method::HEAD => self.get(&self.look_up(&named).await?, headers, false).await,
            Method::PUT => {
                self.granted(&named, uri.query(), headers)?;
                self.put(self.look_up(&named).await?, headers, body).await
            }
            Method::DELETE => {
                let hash = token(headers).ok_or_else(forbidden)?;
                let upload = self.look_up(&named).await?;
                if !bool::from(hash.ct_eq(&upload.token)) {
                    return Err(forbidden());
                }
                self.delete(&upload).await
            }
            _ => Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, METHODS)]).into_response()),
        }
    }

    /// Whether the slot was given out as it is asked for, and for whoever asks; all of that is in the signature.
    fn granted(&self, named: &Named<'_>, query: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
        let (query, token) = (query.and_then(Query::read), token(headers));
        let (query, token) = query.zip(token).ok_or_else(forbidden)?;
        let until = query.signed(&self.keys, named.id, &named.name, &token).ok_or_else(forbidden)?;
        if until <= self.now() {
            return Err(Refusal::new(StatusCode::GONE, "the slot has expired\n"));
        }
        Ok(())
    }

    /// What an address names. It has to be the one that was given out, but for other ways to encode the name.
    async fn look_up(&self, named: &Named<'_>) -> Result<Upload, Refusal> {
        if named.old && !self.has_old.load(Ordering::Relaxed) {
            return Err(Refusal::not_found());
        }
        let upload = self.store.find(named.id).await?;
        upload.filter(|upload| upload.name == named.name).ok_or_else(Refusal::not_found)
    }

    /// Removes a file, or a slot that nothing was put to.
    async fn delete(self: &Arc<Self>, upload: &Upload) -> Result<Response, Refusal> {
        let Some(place) = self.remove_alone(&upload.id) else {
            return Err(Refusal::new(StatusCode::CONFLICT, "it is being put\n"));
        };
        self.drop_file(&place).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

fn forbidden() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "this needs the address and the Authorization of a slot\n")
}

/// The hash of the token that was sent along.
fn token(headers: &HeaderMap) -> Option<[u8; 32]> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| Sha256::digest(token.trim().as_bytes()).into())
}
