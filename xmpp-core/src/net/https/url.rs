//! Addresses of the web.

#[cfg(all(feature = "client", feature = "websocket"))]
use crate::net::WebSocketError;
use hyper::{Request, Uri, header};

/// An address of HTTP or of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebUrl {
    /// Whether it begins with TLS.
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` header says it.
    authority: String,
    pub(crate) path: String,
}

impl WebUrl {
    /// An address with one of these schemes, the first of which is the one with TLS.
    pub(crate) fn parse(url: &str, schemes: [&str; 2]) -> Option<WebUrl> {
        let uri: Uri = url.parse().ok()?;
        let scheme = schemes.iter().position(|one| uri.scheme_str().is_some_and(|s| s.eq_ignore_ascii_case(one)))?;
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let secure = scheme == 0;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(WebUrl {
            secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// The address of a WebSocket.
    #[cfg(all(feature = "client", feature = "websocket"))]
    pub(crate) fn websocket(url: &str) -> Result<WebUrl, WebSocketError> {
        WebUrl::parse(url, ["wss", "ws"]).ok_or_else(|| WebSocketError::Url(url.to_owned()))
    }

    /// An address of HTTP.
    pub(crate) fn http(url: &str) -> Option<WebUrl> {
        WebUrl::parse(url, ["https", "http"])
    }

    /// The address that a `Location` names, from here (RFC 3986 §5.2, but for relative paths).
    pub(crate) fn join(&self, location: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        match location.starts_with('/') {
            true if location.starts_with("//") => format!("{scheme}:{location}"),
            true => format!("{scheme}://{}{location}", self.authority),
            false => location.to_owned(),
        }
    }

    /// Whether both are at one place of the web: scheme, host and port (RFC 6454 §4).
    pub(crate) fn same_origin(&self, other: &WebUrl) -> bool {
        self.secure == other.secure && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }

    pub(crate) fn request_by(&self, method: hyper::Method) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(&self.path).header(header::HOST, &self.authority)
    }

    #[cfg(all(feature = "client", feature = "websocket"))]
    pub(crate) fn request(&self) -> hyper::http::request::Builder {
        self.request_by(hyper::Method::GET)
    }

    #[cfg(feature = "bosh")]
    pub(crate) fn post(&self) -> hyper::http::request::Builder {
        self.request_by(hyper::Method::POST)
    }
}

impl std::fmt::Display for WebUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    #[cfg(all(feature = "client", feature = "websocket"))]
    fn addresses_are_taken_apart() {
        let url = WebUrl::websocket("wss://chat.example.org/xmpp-websocket?x=y").unwrap();
        assert!(url.secure);
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("chat.example.org", 443, "/xmpp-websocket?x=y"));
        let url = WebUrl::websocket("WS://[::1]:5280").unwrap();
        assert_eq!((url.secure, url.host.as_str(), url.port, url.path.as_str()), (false, "[::1]", 5280, "/"));
        for wrong in ["", "https://example.org/", "wss:///x", "wss://a@b/", "/xmpp-websocket", "wss://"] {
            assert!(WebUrl::websocket(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rfc3986_5_2_locations_count_from_where_they_were_told() {
        let url = WebUrl::http("https://a.example:8443/x/y").unwrap();
        assert_eq!(url.to_string(), "https://a.example:8443/x/y");
        assert_eq!(url.join("/z"), "https://a.example:8443/z");
        assert_eq!(url.join("//b.example/z"), "https://b.example/z");
        assert_eq!(url.join("http://b.example/z"), "http://b.example/z");
        assert!(url.same_origin(&WebUrl::http("https://A.example:8443/q").unwrap()));
        assert!(!url.same_origin(&WebUrl::http("https://a.example/q").unwrap()));
    }
}
