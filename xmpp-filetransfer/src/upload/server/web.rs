//! The routes: one address for each file, whatever is done with it.

use super::{Service, name};
use crate::upload::store::{StorageError, Upload};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Where files are mounted.
const PATH: &str = "/upload/";

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
    let mut response = service.respond(request).await.unwrap_or_else(Refusal::into_response);
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
    response
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
    headers.get(name)?.to_str().ok()
}

impl Service {
    /// The address of a file (§4: its name and ending stay).
    pub(super) fn url(&self, upload: &Upload) -> String {
        format!("{}{PATH}{}/{}", self.public_url, upload.id, name::encoded(&upload.name))
    }

    async fn respond(self: Arc<Self>, request: Request<Body>) -> Result<Response, Refusal> {
        let method = request.method().clone();
        if method == Method::OPTIONS {
            return Ok(preflight());
        }
        let upload = self.named(request.uri().path()).await?;
        match method {
            Method::GET => self.get(&upload, request.headers(), true).await,
            Method::HEAD => self.get(&upload, request.headers(), false).await,
            Method::PUT => {
                authorised(&upload, request.headers())?;
                self.put(upload, request).await
            }
            Method::DELETE => {
                authorised(&upload, request.headers())?;
                self.delete(&upload).await
            }
            _ => Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, METHODS)]).into_response()),
        }
    }

    /// What an address names. It has to be the one that was given out, but for other ways to encode the name.
    async fn named(&self, path: &str) -> Result<Upload, Refusal> {
        let parts = path.strip_prefix(PATH).and_then(|rest| rest.split_once('/'));
        let (id, file) = parts.ok_or_else(Refusal::not_found)?;
        if id.len() != 32 || !id.bytes().all(|byte| super::ALPHABET.contains(&byte)) {
            return Err(Refusal::not_found());
        }
        let upload = self.store.find(id).await?;
        let upload = upload.filter(|upload| name::decoded(file).is_some_and(|file| file == upload.name));
        upload.ok_or_else(Refusal::not_found)
    }

    /// Removes a file, or a slot that nothing was put to.
    async fn delete(&self, upload: &Upload) -> Result<Response, Refusal> {
        if self.under_way().contains_key(&upload.id) {
            return Err(Refusal::new(StatusCode::CONFLICT, "it is being put\n"));
        }
        self.drop_file(&upload.id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

/// Whether this is the owner.
fn authorised(upload: &Upload, headers: &HeaderMap) -> Result<(), Refusal> {
    let token = text(headers, header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")).map(|(_, token)| token.trim());
    // Hashes of what cannot be guessed may be compared in any time.
    match token.map(|token| <[u8; 32]>::from(Sha256::digest(token.as_bytes()))) {
        Some(hash) if hash == upload.token => Ok(()),
        _ => Err(Refusal::new(StatusCode::FORBIDDEN, "this needs the Authorization that came with the slot\n")),
    }
}
