//! Telling browsers where a domain's XMPP is to be had over HTTP (XEP-0156 §4, RFC 7395 §4, RFC 6415).

use super::{Server, WebPeer};
use crate::xml::Writer;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority};
use axum::response::{IntoResponse, Response};

/// The namespace of XRD documents.
const XRD: &str = "http://docs.oasis-open.org/ns/xri/xrd-1.0";

/// What is mounted: the relation that names it, the scheme over TLS and without, and the path.
const CONNECTIONS: &[(&str, [&str; 2], &str)] = &[
    ("urn:xmpp:alt-connections:websocket", ["wss", "ws"], super::WEBSOCKET_PATH),
    ("urn:xmpp:alt-connections:xbosh", ["https", "http"], super::BOSH_PATH),
];

/// `/.well-known/host-meta`, an XRD document.
pub(super) async fn xrd(
    State(server): State<Server>,
    Extension(peer): Extension<WebPeer>,
    headers: HeaderMap,
) -> Response {
    let Some(links) = links(&server, peer, &headers) else { return no_host() };
    let mut out = Writer::with_buffer("", b"<?xml version='1.0' encoding='UTF-8'?>".to_vec());
    out.open("XRD", XRD);
    for (rel, href) in links {
        out.open("Link", XRD);
        out.attr("rel", rel);
        out.attr("href", &href);
        out.close();
    }
    out.close();
    document("application/xrd+xml", out.finish())
}

/// `/.well-known/host-meta.json`, the same as JSON.
pub(super) async fn json(
    State(server): State<Server>,
    Extension(peer): Extension<WebPeer>,
    headers: HeaderMap,
) -> Response {
    let Some(links) = links(&server, peer, &headers) else { return no_host() };
    let links = links.into_iter().map(|(rel, href)| serde_json::json!({ "rel": rel, "href": href }));
    let links = serde_json::json!({ "links": links.collect::<Vec<_>>() });
    document("application/json", links.to_string().into_bytes())
}

fn links(server: &Server, peer: WebPeer, headers: &HeaderMap) -> Option<Vec<(&'static str, String)>> {
    let (secured, host) = match server.http().settings.public_url.as_deref().and_then(|url| url.split_once("://")) {
        Some((scheme, rest)) => (scheme.eq_ignore_ascii_case("https"), rest.to_owned()),
        None => {
            let host = headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok()?;
            (peer.secured, host.as_str().to_owned())
        }
    };
    let link = |(rel, [tls, open], path): &(&'static str, [&str; 2], &str)| {
        (*rel, format!("{}://{host}{path}", if secured { tls } else { open }))
    };
    let bosh = server.http().settings.bosh;
    Some(CONNECTIONS.iter().filter(|(_, _, path)| bosh || *path != super::BOSH_PATH).map(link).collect())
}

fn no_host() -> Response {
    (StatusCode::BAD_REQUEST, "which host is meant?\n").into_response()
}

/// Anybody may read it, whatever the origins that may connect.
pub(super) fn document(content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is said may depend on it.
    headers.insert(header::VARY, HeaderValue::from_static("Host"));
    response
}
