//! Small documents over HTTPS.

use super::{HttpsError, Line, WebUrl};
use crate::net::Connector;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{StatusCode, header};

/// What a document may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Its octets.
    pub(crate) document: usize,
    /// Redirections on the way to it.
    pub(crate) redirects: usize,
}

/// Fetches what an address of HTTPS names. Each host's certificate has to be valid for it; redirections lead to HTTPS
/// only. Where the connector reaches public addresses alone, so does this. Not bounded in time.
pub(crate) async fn get(connector: &Connector, url: &str, bounds: Bounds) -> Result<Vec<u8>, HttpsError> {
    let mut at = url.to_owned();
    for _ in 0..=bounds.redirects {
        let Some(url) = WebUrl::parse(&at, ["https", "https"]) else { return Err(HttpsError::Url(at)) };
        let mut line = Line::<Empty<Bytes>>::open(connector, &url).await?;
        let request = url.request().header(header::CONNECTION, "close").body(Empty::new());
        let response = line.sender.send_request(request.map_err(|_| HttpsError::Url(at.clone()))?).await?;
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        match (response.status(), location) {
            (StatusCode::OK, _) => {
                let body = Limited::new(response.into_body(), bounds.document).collect().await;
                return Ok(body.map_err(|_| HttpsError::TooLarge)?.to_bytes().to_vec());
            }
            (status, Some(location)) if status.is_redirection() => at = url.join(location),
            (status, _) => return Err(HttpsError::Refused(status.as_u16())),
        }
    }
    Err(HttpsError::Redirected)
}
