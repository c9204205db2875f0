//! An adapter for [`tokio_util::codec::Framed`], for those who drive a stream that way.
use super::{Event, Scanner, Stanza, XmlError, XmlLimits};
use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Decodes [`Event`]s and encodes stanzas and raw bytes (headers, end tags).
#[derive(Debug)]
pub struct XmlCodec {
    scanner: Scanner,
}

/// Why a [`XmlCodec`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The peer's bytes were refused: answer with the stream error and close.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl XmlCodec {
    /// A codec that expects a stream header first.
    pub fn new(limits: XmlLimits) -> Self {
        XmlCodec { scanner: Scanner::new(limits) }
    }

    /// A codec around a scanner as it is.
    pub fn with_scanner(scanner: Scanner) -> Self {
        XmlCodec { scanner }
    }

    /// The scanner: to set limits, to restart it, to recycle stanzas.
    pub fn scanner_mut(&mut self) -> &mut Scanner {
        &mut self.scanner
    }
}

impl Decoder for XmlCodec {
    type Item = Event;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Event>, CodecError> {
        let mut rest: &[u8] = src;
        let event = self.scanner.scan(&mut rest)?;
        let taken = src.len() - rest.len();
        src.advance(taken);
        Ok(event)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Event>, CodecError> {
        match self.decode(src)? {
            Some(event) => Ok(Some(event)),
            None if self.scanner.is_idle() => Ok(None),
            None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

impl Encoder<&Stanza> for XmlCodec {
    type Error = CodecError;

    /// Writes the stanza as it came; one that must not be copied verbatim wants [`Stanza::rewrite`] first.
    fn encode(&mut self, stanza: &Stanza, dst: &mut BytesMut) -> Result<(), CodecError> {
        dst.extend_from_slice(stanza.as_str().as_bytes());
        Ok(())
    }
}

impl Encoder<&[u8]> for XmlCodec {
    type Error = CodecError;

    fn encode(&mut self, bytes: &[u8], dst: &mut BytesMut) -> Result<(), CodecError> {
        dst.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::tests::HEADER;
    use super::*;

    #[test]
    fn events_come_out_as_bytes_arrive() {
        let mut codec = XmlCodec::new(XmlLimits::default());
        let mut input = BytesMut::from(HEADER);
        assert!(matches!(codec.decode(&mut input).unwrap(), Some(Event::Open(_))));
        input.extend_from_slice(b"<a/><b");
        let Some(Event::Stanza(a)) = codec.decode(&mut input).unwrap() else { panic!("no stanza") };
        assert!(codec.decode(&mut input).unwrap().is_none());
        assert!(matches!(codec.decode_eof(&mut input), Err(CodecError::Io(_))), "the element is not complete");
        input.extend_from_slice(b"><</b>");
        assert!(matches!(codec.decode(&mut input), Err(CodecError::Xml(XmlError::NotWellFormed(_)))));
        let mut out = BytesMut::new();
        codec.encode(&a, &mut out).unwrap();
        codec.encode(b"</stream:stream>".as_slice(), &mut out).unwrap();
        assert_eq!(&out[..], b"<a/></stream:stream>");
    }
}
