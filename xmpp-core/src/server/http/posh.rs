//! Telling which certificates the server of a domain shows (POSH, RFC 7711 §3.1, RFC 7712 §5.2).

use super::Server;
use crate::jid::Jid;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header, uri::Authority};
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};

/// Seconds for which the document may be kept: certificates are replaced without notice.
const EXPIRES: u32 = 3600;

/// The document of the domain whose web server was asked. It is the same for clients and servers.
pub(super) async fn document(State(server): State<Server>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let domain = host.and_then(|host| Jid::new(host.host()).ok()).filter(|domain| server.hosts(domain.as_str()));
    let (Some(domain), Some(tls)) = (domain, &server.inner().tls) else { return StatusCode::NOT_FOUND.into_response() };
    let fingerprints = tls.fingerprints(domain.as_str()).into_iter().map(
        |one| serde_json::json!({ "sha-256": STANDARD.encode(one.sha256), "sha-512": STANDARD.encode(one.sha512) }),
    );
    let document = serde_json::json!({ "fingerprints": fingerprints.collect::<Vec<_>>(), "expires": EXPIRES });
    super::host_meta::document("application/json", document.to_string().into_bytes())
}
