//! Channel bindings (RFC 9266, RFC 5929) and their announcement (XEP-0440).

use std::fmt;

/// A channel-binding type that both roles support. `tls-unique` is not among them: it is broken by renegotiation and
/// undefined for TLS 1.3 (RFC 9266 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindingType {
    /// `tls-server-end-point` (RFC 5929 §4): a hash of the server's certificate. Binds to the certificate only, so it
    /// doesn't notice a thief of its key.
    TlsServerEndPoint,
    /// `tls-exporter` (RFC 9266): keying material of this very connection.
    TlsExporter,
}

impl BindingType {
    /// All, the strongest first.
    pub const ALL: [BindingType; 2] = [BindingType::TlsExporter, BindingType::TlsServerEndPoint];

    /// The name registered with IANA.
    pub const fn name(self) -> &'static str {
        match self {
            BindingType::TlsExporter => "tls-exporter",
            BindingType::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    /// The type of that name, which is case-sensitive.
    pub fn from_name(name: &str) -> Option<BindingType> {
        Self::ALL.into_iter().find(|binding| binding.name() == name)
    }
}

/// What this end knows of the TLS connection. Empty for a connection without TLS.
///
/// `tls-unique` is absent: TLS 1.3 has none, and `tls-exporter` replaces it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// 32 bytes exported under the label `EXPORTER-Channel-Binding` with an empty context (RFC 9266 §2). Only for TLS
    /// 1.3, or TLS 1.2 with extended master secret.
    pub exporter: Option<[u8; 32]>,
    /// The hash of the server's certificate (RFC 5929 §4.1).
    pub end_point: Option<Vec<u8>>,
    /// The version of TLS as it goes over the wire, such as 0x0304 for TLS 1.3: no binding, but what XEP-0515
    /// compares.
    pub tls_version: Option<u16>,
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exporter's value is a secret of the connection.
        f.debug_list().entries(self.types()).finish()
    }
}

impl ChannelBindings {
    /// The data of a type, if known.
    pub fn get(&self, binding: BindingType) -> Option<&[u8]> {
        match binding {
            BindingType::TlsExporter => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            BindingType::TlsServerEndPoint => self.end_point.as_deref(),
        }
    }

    /// The known types, the strongest first: what a server announces (XEP-0440 §2).
    pub fn types(&self) -> Vec<BindingType> {
        BindingType::ALL.into_iter().filter(|binding| self.get(*binding).is_some()).collect()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.end_point.is_none()
    }
}
