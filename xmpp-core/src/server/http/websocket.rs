//! Where browsers open a WebSocket (RFC 7395 §3.1, RFC 6455 §4.2).

use super::listen::ConnectionPermit;
use super::patient::Patient;
use super::{Server, WebPeer};
use crate::net::Transport;
use crate::net::websocket::{SUBPROTOCOL, WebSocket, accept_key};
use crate::stream::framing::Side;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;

/// Whether a header that is a list has this among its members.
fn lists(headers: &HeaderMap, name: HeaderName, member: &str, any_case: bool) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let mut members = values.flat_map(|value| value.split(',')).map(str::trim);
    members.any(|one| if any_case { one.eq_ignore_ascii_case(member) } else { one == member })
}

/// The key of a proper opening handshake, or what is to be answered to it.
#[allow(clippy::result_large_err)] // The answer is as large as answers are.
fn key(headers: &HeaderMap) -> Result<&HeaderValue, Response> {
    let refuse = |why: &'static str| (StatusCode::BAD_REQUEST, why).into_response();
    if !lists(headers, header::CONNECTION, "upgrade", true) || !lists(headers, header::UPGRADE, "websocket", true) {
        let upgrade = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
        return Err((StatusCode::UPGRADE_REQUIRED, upgrade, "XMPP over WebSocket, RFC 7395\n").into_response());
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        return Err((StatusCode::UPGRADE_REQUIRED, version, "another version of WebSocket\n").into_response());
    }
    let key =
        headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
    let key = key.ok_or_else(|| refuse("no key\n"))?;
    if !lists(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL, false) {
        return Err(refuse("the subprotocol has to be xmpp\n"));
    }
    Ok(key)
}

/// Opens a WebSocket, and runs a stream over it.
pub(super) async fn open(
    State(server): State<Server>,
    Extension(peer): Extension<WebPeer>,
    Extension(permit): Extension<ConnectionPermit>,
    mut request: Request,
) -> Response {
    let headers = request.headers();
    if let Err(refused) = server.http().settings.check_origin(headers) {
        return refused;
    }
    let accept = match key(headers) {
        Ok(key) => accept_key(key.as_bytes()),
        Err(refused) => return refused,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = server.inner().tasks.clone();
    tasks.spawn(async move {
        let stop = server.inner().stop.clone();
        let phase = tokio::time::timeout(server.limits().phase, upgrade);
        let Some(Ok(Ok(upgraded))) = stop.run_until_cancelled(phase).await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Patient>>() else { return };
        let (below, limits) = (parts.io.into_inner().transport, server.limits().unauthenticated);
        let socket = WebSocket::new(below, parts.read_buf.to_vec(), Side::Server, limits);
        server.accept_web(Transport::WebSocket(Box::new(socket)), peer, permit.take());
    });
    let headers = [
        (header::UPGRADE, "websocket"),
        (header::CONNECTION, "upgrade"),
        (header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
        (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}
