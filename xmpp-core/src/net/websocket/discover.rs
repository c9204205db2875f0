//! Where a domain has a WebSocket, or BOSH (XEP-0156 §4): its host-meta documents, over HTTPS alone.

use super::connect::WebSocketError;
use crate::net::https::{self, Bounds, HttpsError, WebUrl};
use crate::net::{Connector, ascii_domain};
use crate::xml::{Stanza, XmlLimits};
use tokio::time::timeout;

/// The relation that a WebSocket has to the domain.
const WEBSOCKET: &str = "urn:xmpp:alt-connections:websocket";
/// The namespace of XRD documents.
const XRD: &str = "http://docs.oasis-open.org/ns/xri/xrd-1.0";
/// Octets of a document, and redirections followed from one.
const BOUNDS: Bounds = Bounds { document: 64 * 1024, redirects: 3 };
/// WebSockets of a domain that are tried, and as many places of BOSH.
const MAX_LINKS: usize = 8;
/// The relation that BOSH has to the domain.
#[cfg(feature = "bosh")]
const BOSH: &str = "urn:xmpp:alt-connections:xbosh";

/// What a domain has on the web under TLS, each kind in the order in which it is named.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) websockets: Vec<WebUrl>,
    #[cfg(feature = "bosh")]
    pub(crate) bosh: Vec<WebUrl>,
}

impl Places {
    /// Of pairs of relation and address.
    fn of(links: &[(String, String)]) -> Places {
        let those = |relation: &str, scheme: &'static str| {
            let links = links.iter().filter(|(rel, _)| rel == relation);
            links.filter_map(|(_, href)| WebUrl::parse(href, [scheme, scheme])).take(MAX_LINKS).collect()
        };
        Places {
            websockets: those(WEBSOCKET, "wss"),
            #[cfg(feature = "bosh")]
            bosh: those(BOSH, "https"),
        }
    }

    fn are_none(&self) -> bool {
        *self == Places::default()
    }
}

/// What the domain tells of.
///
/// Both documents are asked for, JSON first. The certificate has to be the domain's; redirections lead to HTTPS only.
/// Where the connector reaches public addresses alone, so does this.
pub(crate) async fn discover(connector: &Connector, domain: &str) -> Result<Places, WebSocketError> {
    let ascii = ascii_domain(domain).ok_or_else(|| WebSocketError::Url(domain.to_owned()))?;
    let authority = match connector.options().https_port {
        443 => ascii,
        other => format!("{ascii}:{other}"),
    };
    let looking = async {
        for (name, read) in [("host-meta.json", json as fn(&[u8]) -> Vec<(String, String)>), ("host-meta", xrd)] {
            match https::get(connector, &format!("https://{authority}/.well-known/{name}"), BOUNDS).await {
                Ok(document) => {
                    let places = Places::of(&read(&document));
                    if !places.are_none() {
                        return Ok(places);
                    }
                }
                Err(error @ (HttpsError::Connect(_) | HttpsError::Tls(_))) => return Err(error.into()),
                Err(error) => tracing::debug!(%domain, name, %error, "no document"),
            }
        }
        Err(WebSocketError::NotOffered(domain.to_owned()))
    };
    timeout(connector.options().deadline, looking).await.map_err(|_| WebSocketError::TimedOut)?
}

/// The links of a JSON document.
fn json(document: &[u8]) -> Vec<(String, String)> {
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(document) else { return Vec::new() };
    let links = document.get("links").and_then(|links| links.as_array()).into_iter().flatten();
    let text = |link: &serde_json::Value, name| Some(link.get(name)?.as_str()?.to_owned());
    links.filter_map(|link| Some((text(link, "rel")?, text(link, "href")?))).collect()
}

/// The links of an XRD document.
fn xrd(document: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(document);
    let Ok(document) = Stanza::document(text.trim_start_matches('\u{FEFF}').trim(), &XmlLimits::authenticated()) else {
        return Vec::new();
    };
    let root = document.root();
    if !root.is("XRD", XRD) {
        return Vec::new();
    }
    let links = root.children().filter(|link| link.is("Link", XRD));
    links.filter_map(|link| Some((link.attr("rel")?.into_owned(), link.attr("href")?.into_owned()))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0156_4_2_both_documents_are_read() {
        let document = "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n\
            <Link rel='urn:xmpp:alt-connections:xbosh' href='https://web.example.com:5280/bosh' />\n\
            <Link rel='urn:xmpp:alt-connections:websocket' href='wss://web.example.com:443/ws' />\n</XRD>\n";
        let links = xrd(document.as_bytes());
        let document = r#"{"links": [
            {"rel": "urn:xmpp:alt-connections:xbosh", "href": "https://web.example.com:5280/bosh"},
            {"rel": "urn:xmpp:alt-connections:websocket", "href": "wss://web.example.com:443/ws"}]}"#;
        assert_eq!(json(document.as_bytes()), links);
        let places = Places::of(&links);
        assert_eq!(places.websockets, [WebUrl::websocket("wss://web.example.com:443/ws").unwrap()]);
        #[cfg(feature = "bosh")]
        assert_eq!(places.bosh, [WebUrl::http("https://web.example.com:5280/bosh").unwrap()]);
    }

    #[test]
    fn xep0156_6_what_is_not_under_tls_does_not_count() {
        let open = [("urn:xmpp:alt-connections:xbosh", "http://a.example/b"), (WEBSOCKET, "ws://a.example/w")];
        assert!(Places::of(&open.map(|(rel, href)| (rel.to_owned(), href.to_owned()))).are_none());
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
