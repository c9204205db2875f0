//! The character data of SASL elements: base64, with `=` for "present but empty" (RFC 6120 §6.3.5, §6.4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SaslCondition, SaslFailure};

/// The character data is not base64 as RFC 4648 §4 has it: white space, bad padding or padding bits that aren't zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SASL data is not base64")]
pub struct PayloadError;

impl From<PayloadError> for SaslFailure {
    fn from(_: PayloadError) -> SaslFailure {
        SaslCondition::IncorrectEncoding.into()
    }
}

/// Character data for a payload. `None` is no character data, and so is told apart from `Some(b"")`.
pub fn encode_payload(payload: Option<&[u8]>) -> String {
    match payload {
        None => String::new(),
        Some([]) => "=".to_owned(),
        Some(bytes) => STANDARD.encode(bytes),
    }
}

/// The payload in character data. An element without character data has none: for a challenge or response, where a
/// payload is always meant, that is the same as an empty one.
pub fn decode_payload(text: &str) -> Result<Option<Vec<u8>>, PayloadError> {
    match text {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        _ => STANDARD.decode(text).map(Some).map_err(|_| PayloadError),
    }
}
