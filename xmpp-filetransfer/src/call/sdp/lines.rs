//! The lines of SDP (RFC 8866 §5).

use super::{MAX_BYTES, MAX_MEDIA, SdpError};

/// What is wrong with a line that is more than text.
pub(super) const CONTROLS: &str = "it has control characters";

/// The value of a line, and which it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) value: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn wrong(self, problem: &'static str) -> SdpError {
        SdpError::Line { line: self.number, problem }
    }

    /// `name:value` of an attribute; the value is empty if there is none.
    pub(super) fn attribute(self) -> (&'a str, &'a str) {
        self.value.split_once(':').unwrap_or((self.value, ""))
    }
}

/// A medium.
#[derive(Debug)]
pub(super) struct Media<'a> {
    pub(super) line: Line<'a>,
    /// `audio`, `video` and so on.
    pub(super) kind: &'a str,
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    pub(super) formats: Vec<&'a str>,
    pub(super) bandwidth: Option<Line<'a>>,
    pub(super) attributes: Vec<Line<'a>>,
}

impl<'a> Media<'a> {
    /// The attributes of that name.
    pub(super) fn named(&self, name: &'static str) -> impl Iterator<Item = Line<'a>> {
        named(&self.attributes, name)
    }
}

/// The values of the attributes of that name.
pub(super) fn named<'a>(attributes: &[Line<'a>], name: &'static str) -> impl Iterator<Item = Line<'a>> {
    attributes.iter().filter_map(move |line| {
        let (found, value) = line.attribute();
        (found == name).then_some(Line { number: line.number, value })
    })
}

/// A description of a session.
#[derive(Debug, Default)]
pub(super) struct Sdp<'a> {
    pub(super) attributes: Vec<Line<'a>>,
    pub(super) media: Vec<Media<'a>>,
}

impl<'a> Sdp<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Sdp<'a>, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::TooLong);
        }
        let mut sdp = Sdp::default();
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end_matches('\r'))) {
            let wrong = |problem| SdpError::Line { line: number, problem };
            if line.chars().any(char::is_control) {
                // XML has no place for most of them, and no line that we write has any.
                return Err(wrong(CONTROLS));
            }
            let (kind, value) = line.split_once('=').ok_or_else(|| wrong("it is not of the form k=value"))?;
            let line = Line { number, value };
            if kind == "m" && sdp.media.len() == MAX_MEDIA {
                return Err(SdpError::TooLong);
            }
            match (kind, sdp.media.last_mut()) {
                ("v", None) if value != "0" => return Err(wrong("another version of SDP")),
                ("m", _) => sdp.media.push(media(line)?),
                ("a", None) => sdp.attributes.push(line),
                ("a", Some(media)) => media.attributes.push(line),
                ("b", Some(media)) => media.bandwidth = Some(line),
                (kind, _) if kind.len() == 1 => {}
                _ => return Err(wrong("it is not of the form k=value")),
            }
            if number == 1 && kind != "v" {
                return Err(wrong("SDP begins with its version"));
            }
        }
        Ok(sdp)
    }
}

/// `m=audio 9 UDP/TLS/RTP/SAVPF 111 0`.
fn media(line: Line<'_>) -> Result<Media<'_>, SdpError> {
    let mut words = line.value.split(' ').filter(|word| !word.is_empty());
    let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
        return Err(line.wrong("a medium has a kind, a port and a protocol"));
    };
    let port = port.split('/').next().unwrap_or_default();
    let port = port.parse().map_err(|_| line.wrong("a port is a number"))?;
    let formats = words.collect();
    Ok(Media { line, kind, port, protocol, formats, bandwidth: None, attributes: Vec::new() })
}
