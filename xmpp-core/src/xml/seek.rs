//! Finds where a token ends, in pieces, looking at each byte once.

/// Where the search stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Seek {
    /// In text, or between tokens.
    #[default]
    Text,
    /// After `<`.
    Opened,
    /// In a tag, and in this kind of quotes (0 for none).
    Tag(u8),
    /// So many bytes of [`CDATA`] seen after `<!`.
    Bang(u8),
    /// In CDATA, after so many `]`.
    Cdata(u8),
    /// In an XML declaration, after `?` or not.
    Declaration(bool),
}

const CDATA: &[u8] = b"[CDATA[";

impl Seek {
    /// Goes over `bytes`; how many belong to the token at hand, when it ends within them or has to be looked at.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut i = 0;
        while let Some(&b) = bytes.get(i) {
            let rest = bytes.get(i..).unwrap_or_default();
            match *self {
                Seek::Text => {
                    i += memchr::memchr(b'<', rest)? + 1;
                    *self = Seek::Opened;
                    return Some(i);
                }
                Seek::Opened => {
                    i += 1;
                    *self = match b {
                        b'!' => Seek::Bang(0),
                        b'?' => Seek::Declaration(true),
                        _ => Seek::Tag(0),
                    };
                    if b == b'>' {
                        *self = Seek::Text;
                    }
                    return Some(i);
                }
                Seek::Tag(0) => {
                    let at = memchr::memchr3(b'>', b'\'', b'"', rest)?;
                    i += at + 1;
                    match rest.get(at) {
                        Some(b'>') => {
                            *self = Seek::Text;
                            return Some(i);
                        }
                        Some(&q) => *self = Seek::Tag(q),
                        None => {}
                    }
                }
                Seek::Tag(quote) => {
                    i += memchr::memchr(quote, rest)? + 1;
                    *self = Seek::Tag(0);
                }
                Seek::Bang(n) => {
                    i += 1;
                    if CDATA.get(usize::from(n)) != Some(&b) {
                        return Some(i);
                    }
                    let n = n + 1;
                    *self = if usize::from(n) == CDATA.len() { Seek::Cdata(0) } else { Seek::Bang(n) };
                }
                Seek::Cdata(n) => {
                    i += 1;
                    match b {
                        b'>' if n >= 2 => {
                            *self = Seek::Text;
                            return Some(i);
                        }
                        b']' => *self = Seek::Cdata((n + 1).min(2)),
                        _ => *self = Seek::Cdata(0),
                    }
                }
                Seek::Declaration(question) => {
                    i += 1;
                    if question && b == b'>' {
                        *self = Seek::Text;
                        return Some(i);
                    }
                    *self = Seek::Declaration(b == b'?');
                }
            }
        }
        None
    }
}

/// Length of the tag that `bytes` start with, if it is all there.
pub(super) fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut seek = Seek::Tag(0);
    seek.feed(bytes)
}
