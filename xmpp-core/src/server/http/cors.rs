//! Who among the scripts of browsers may use a resource (the Fetch Standard's CORS protocol).

use super::Http;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

impl Http {
    /// The origin that a request names, unless it is none that is admitted.
    #[allow(clippy::result_large_err)] // The answer is as large as answers are.
    pub(super) fn check_origin<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, Response> {
        match headers.get(header::ORIGIN) {
            None => Ok(None),
            Some(origin) if origin.to_str().is_ok_and(|origin| self.admits(origin)) => Ok(Some(origin)),
            Some(_) => Err((StatusCode::FORBIDDEN, "this origin is not admitted\n").into_response()),
        }
    }

    /// Tells the browser that scripts may read the answer.
    pub(super) fn allow_origin(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        match (origin, &self.origins) {
            (_, None) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            (Some(origin), Some(_)) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            (None, Some(_)) => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
        }
    }

    /// The answer to a browser that asks before it lets a script use `methods`, with a `Content-Type` of its choice.
    pub(super) fn preflight(&self, request: &HeaderMap, methods: &[Method]) -> Response {
        let origin = match self.check_origin(request) {
            Ok(origin) => origin,
            Err(refused) => return refused,
        };
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        self.allow_origin(origin, headers);
        let methods = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        if let Ok(methods) = HeaderValue::from_str(&methods) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        response
    }
}
