//! Where a domain has a WebSocket (XEP-0156 §4): its host-meta documents, over HTTPS alone.

use super::connect::{WebSocketError, WebUrl};
use super::https::{self, Bounds};
use crate::net::{Connector, ascii_domain};
use crate::xml::{Stanza, XmlLimits};
use tokio::time::timeout;

/// The relation that a WebSocket has to the domain.
const WEBSOCKET: &str = "urn:xmpp:alt-connections:websocket";
/// The namespace of XRD documents.
const XRD: &str = "http://docs.oasis-open.org/ns/xri/xrd-1.0";
/// Octets of a document, and redirections followed from one.
const BOUNDS: Bounds = Bounds { document: 64 * 1024, redirects: 3 };
/// WebSockets of a domain that are tried.
const MAX_LINKS: usize = 8;

/// The WebSockets of a domain that TLS protects, in the order in which it names them.
///
/// Both documents are asked for, JSON first. The certificate has to be the domain's; redirections lead to HTTPS only.
/// Where the connector reaches public addresses alone, so does this.
pub(crate) async fn discover(connector: &Connector, domain: &str) -> Result<Vec<WebUrl>, WebSocketError> {
    let ascii = ascii_domain(domain).ok_or_else(|| WebSocketError::Url(domain.to_owned()))?;
    let authority = match connector.options().https_port {
        443 => ascii,
        other => format!("{ascii}:{other}"),
    };
    let looking = async {
        for (name, read) in [("host-meta.json", json as fn(&[u8]) -> Vec<String>), ("host-meta", xrd)] {
            match https::get(connector, &format!("https://{authority}/.well-known/{name}"), BOUNDS).await {
                Ok(document) => {
                    let links = read(&document);
                    let links: Vec<_> = links.iter().filter_map(|href| WebUrl::parse(href, ["wss", "wss"])).collect();
                    if !links.is_empty() {
                        return Ok(links.into_iter().take(MAX_LINKS).collect());
                    }
                }
                Err(error @ (WebSocketError::Connect(_) | WebSocketError::Tls(_))) => return Err(error),
                Err(error) => tracing::debug!(%domain, name, %error, "no document"),
            }
        }
        Err(WebSocketError::NotOffered(domain.to_owned()))
    };
    timeout(connector.options().deadline, looking).await.map_err(|_| WebSocketError::TimedOut)?
}

/// The links of a JSON document.
fn json(document: &[u8]) -> Vec<String> {
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(document) else { return Vec::new() };
    let links = document.get("links").and_then(|links| links.as_array()).into_iter().flatten();
    let links = links.filter(|link| link.get("rel").and_then(|rel| rel.as_str()) == Some(WEBSOCKET));
    links.filter_map(|link| link.get("href")?.as_str().map(str::to_owned)).collect()
}

/// The links of an XRD document.
fn xrd(document: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(document);
    let Ok(document) = Stanza::document(text.trim_start_matches('\u{FEFF}').trim(), &XmlLimits::authenticated()) else {
        return Vec::new();
    };
    let root = document.root();
    if !root.is("XRD", XRD) {
        return Vec::new();
    }
    let links = root.children().filter(|link| link.is("Link", XRD));
    let links = links.filter(|link| link.attr("rel").as_deref() == Some(WEBSOCKET));
    links.filter_map(|link| Some(link.attr("href")?.into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xep0156_4_2_both_documents_are_read() {
        let document = "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n\
            <Link rel='urn:xmpp:alt-connections:xbosh' href='https://web.example.com:5280/bosh' />\n\
            <Link rel='urn:xmpp:alt-connections:websocket' href='wss://web.example.com:443/ws' />\n</XRD>\n";
        assert_eq!(xrd(document.as_bytes()), ["wss://web.example.com:443/ws"]);
        let document = r#"{"links": [
            {"rel": "urn:xmpp:alt-connections:xbosh", "href": "https://web.example.com:5280/bosh"},
            {"rel": "urn:xmpp:alt-connections:websocket", "href": "wss://web.example.com:443/ws"}]}"#;
        assert_eq!(json(document.as_bytes()), ["wss://web.example.com:443/ws"]);
    }

    #[test]
    fn what_is_no_host_meta_has_no_links() {
        for document in
            ["", "{", "[]", "{\"links\":{}}", "{\"links\":[1,{\"rel\":\"urn:xmpp:alt-connections:websocket\"}]}"]
        {
            assert!(json(document.as_bytes()).is_empty(), "{document}");
        }
        for document in
            ["", "<XRD/>", "<!DOCTYPE html><html>", "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>"]
        {
            assert!(xrd(document.as_bytes()).is_empty(), "{document}");
        }
        assert!(json("[".repeat(100_000).as_bytes()).is_empty());
    }
}
