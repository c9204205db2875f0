//! The incremental scanner.
use super::build::{Build, Stop};
use super::chars::{BLANK, is};
use super::seek::Seek;
use super::tape::{Inner, MAX_BYTES, Outer};
use super::{Stanza, XmlError, XmlLimits, header, pool};
use std::sync::Arc;

/// What the scanner found.
#[derive(Debug)]
// A header comes once a stream: boxing it would burden every match for nothing.
#[allow(clippy::large_enum_variant)]
pub enum Event {
    /// The stream's start tag.
    Open(StreamHeader),
    /// One whole first-level element.
    Stanza(Stanza),
    /// The stream's end tag.
    Close,
}

/// A stream header, as received (RFC 6120 §4.7). Nothing in it has been judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHeader {
    /// Local name of the root, `stream` if all is well.
    pub name: String,
    /// Prefix of the root, `stream` if all is well (empty for none).
    pub prefix: String,
    /// Namespace of the root.
    pub ns: String,
    /// The default namespace declared: the content namespace.
    pub content_ns: String,
    /// `to`.
    pub to: Option<String>,
    /// `from`.
    pub from: Option<String>,
    /// `id`.
    pub id: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `xml:lang`.
    pub lang: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After a restart, before anything of the new stream; so many blanks were taken.
    Restarted(u32),
    /// Before the stream header; so many bytes of declaration and blanks were taken.
    Prolog(u32),
    /// Inside the stream; so many blanks in a row were taken.
    Content(u32),
    /// After the end tag.
    Closed(u32),
    Failed(XmlError),
}

/// An element that came in pieces.
#[derive(Debug)]
struct Partial {
    build: Box<Build>,
    seek: Seek,
}

/// Incremental scanner of one direction of one stream. Between elements it holds no memory of its own beside the
/// header's declarations.
#[derive(Debug)]
pub struct Scanner {
    limits: XmlLimits,
    framed: bool,
    state: State,
    pub(super) outer: Option<Arc<Outer>>,
    partial: Option<Partial>,
}

impl Scanner {
    /// A scanner that expects an (optional) XML declaration and a stream header.
    pub fn new(limits: XmlLimits) -> Self {
        Scanner { limits, framed: false, state: State::Prolog(0), outer: None, partial: None }
    }

    /// A scanner of WebSocket frames (RFC 7395 §3.3): each first-level element stands alone and declares its own
    /// namespaces; there is no stream header.
    pub fn framed(limits: XmlLimits) -> Self {
        Scanner { framed: true, state: State::Content(0), ..Scanner::new(limits) }
    }

    /// New bounds, from the next stanza on.
    pub fn set_limits(&mut self, limits: XmlLimits) {
        self.limits = limits;
    }

    /// Forgets all and expects a new stream header (after TLS, after SASL).
    ///
    /// White space before it counts as the old stream's: RFC 6120 §6.3.5 forbids clients to send any behind their last
    /// SASL element, but some (go-xmpp) end it with a line break all the same.
    pub fn restart(&mut self) {
        self.state = if self.framed { State::Content(0) } else { State::Restarted(0) };
        self.outer = None;
        self.partial = None;
    }

    /// Whether no byte of an unfinished element is held.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Gives a stanza's memory back for reuse, if this is its last handle.
    pub fn recycle(&mut self, stanza: Stanza) {
        pool::put_inner(stanza.0);
    }

    /// Takes bytes from the front of `input` until an event is complete; `None` when all were taken.
    /// After an error the scanner is spent: every later call returns the same error.
    pub fn scan(&mut self, input: &mut &[u8]) -> Result<Option<Event>, XmlError> {
        let result = self.next_event(input);
        if let Err(e) = result {
            self.state = State::Failed(e);
            self.partial = None;
        }
        result
    }

    fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<Event>, XmlError> {
        loop {
            if let Some(partial) = self.partial.take() {
                match self.resume(partial, input)? {
                    Found::Nothing => return Ok(None),
                    Found::Declaration => continue,
                    Found::Event(e) => return Ok(Some(e)),
                }
            }
            self.blanks(input)?;
            if input.is_empty() {
                return Ok(None);
            }
            match self.fresh(input)? {
                Found::Nothing => return Ok(None),
                Found::Declaration => {}
                Found::Event(e) => return Ok(Some(e)),
            }
        }
    }

    /// Takes white space, and makes sure that markup follows it.
    fn blanks(&mut self, input: &mut &[u8]) -> Result<(), XmlError> {
        let limits = self.limits;
        let (count, limit, what) = match &mut self.state {
            State::Failed(e) => return Err(*e),
            State::Prolog(n) => (n, limits.stanza_bytes, "stanza-too-big"),
            State::Restarted(n) | State::Content(n) | State::Closed(n) => (n, limits.blank_bytes, "blanks"),
        };
        let len = super::build::skip(input, 0, BLANK);
        // One more than the limit is as bad as all that follow.
        let taken = count.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if taken > limit {
            return Err(XmlError::Limit(what));
        }
        *count = taken;
        *input = input.get(len..).unwrap_or_default();
        if !input.is_empty() && matches!(self.state, State::Restarted(_)) {
            self.state = State::Prolog(0);
        }
        match (input.first(), self.state) {
            (None, _) => Ok(()),
            (Some(b'<'), State::Closed(_)) => Err(XmlError::NotWellFormed("markup after the end of the stream")),
            (Some(b'<'), _) => Ok(()),
            // What UTF-16 and UTF-32 start with.
            (Some(0xFE | 0xFF | 0), State::Prolog(0)) => Err(XmlError::UnsupportedEncoding),
            (Some(_), _) => Err(XmlError::NotWellFormed("text outside of stanzas")),
        }
    }

    fn room(&self, limits: &XmlLimits) -> usize {
        let used = match self.state {
            State::Prolog(used) => used,
            _ => 0,
        };
        (limits.stanza_bytes.saturating_sub(used) as usize).min(MAX_BYTES)
    }

    /// An element whose first byte is the input's: read where it lies if it is all there.
    fn fresh(&mut self, input: &mut &[u8]) -> Result<Found, XmlError> {
        let mut build = pool::build();
        build.reset(self.limits);
        let all = *input;
        let room = self.room(&self.limits);
        let buf = all.get(..room).unwrap_or(all);
        match self.tokens(&mut build, buf) {
            Ok(token) => {
                let (taken, rest) = all.split_at_checked(token.len()).unwrap_or((all, &[]));
                *input = rest;
                let found = self.found(token, &mut build, taken);
                pool::put_build(build);
                found
            }
            Err(Stop::Bad(e)) => Err(e),
            Err(Stop::More) if all.len() > room => Err(TOO_BIG),
            Err(Stop::More) => {
                let mut partial = Partial { build, seek: Seek::default() };
                let mut rest = all.get(partial.build.at..).unwrap_or_default();
                while let Some(n) = partial.seek.feed(rest) {
                    rest = rest.get(n..).unwrap_or_default();
                }
                partial.build.pending.extend_from_slice(all);
                *input = &[];
                self.partial = Some(partial);
                Ok(Found::Nothing)
            }
        }
    }

    /// Adds bytes to an element token by token, so that none beyond its end are held.
    fn resume(&mut self, mut partial: Partial, input: &mut &[u8]) -> Result<Found, XmlError> {
        let room = self.room(&partial.build.limits);
        loop {
            let end = partial.seek.feed(input);
            let (taken, rest) = input.split_at_checked(end.unwrap_or(input.len())).unwrap_or((input, &[]));
            if partial.build.pending.len() + taken.len() > room {
                return Err(TOO_BIG);
            }
            partial.build.pending.extend_from_slice(taken);
            *input = rest;
            if end.is_none() {
                if partial.build.is_fresh() && self.is_nested(&partial.build.pending) {
                    return Err(NESTED);
                }
                self.partial = Some(partial);
                return Ok(Found::Nothing);
            }
            let pending = std::mem::take(&mut partial.build.pending);
            match self.tokens(&mut partial.build, &pending) {
                Ok(token) => {
                    let found = self.found(token, &mut partial.build, &pending);
                    partial.build.pending = pending;
                    pool::put_build(partial.build);
                    return found;
                }
                Err(Stop::Bad(e)) => return Err(e),
                Err(Stop::More) => partial.build.pending = pending,
            }
        }
    }

    /// Takes the tokens there are; says what they make when that is complete.
    fn tokens(&self, build: &mut Build, buf: &[u8]) -> Result<Token, Stop> {
        match self.state {
            State::Prolog(used) => match buf.get(1) {
                None => Err(Stop::More),
                Some(b'?') if used == 0 => match memchr::memmem::find(buf, b"?>") {
                    Some(at) => Ok(Token::Declaration(at + 2)),
                    None => Err(Stop::More),
                },
                Some(b'?') => Err(XmlError::Restricted("processing instruction").into()),
                Some(b'!') => Err(XmlError::Restricted("comment or document type").into()),
                Some(b'/') => Err(XmlError::NotWellFormed("an end tag without start tag").into()),
                Some(0) => Err(XmlError::UnsupportedEncoding.into()),
                Some(&b) if b < 0x80 && !is(b, super::chars::NAME_START) => Err(super::build::no_name(b).into()),
                Some(_) => build.start_tag_or_undo(buf, 0, None).map(Token::Header),
            },
            _ if build.is_fresh() && buf.get(1) == Some(&b'/') => self.end_of_stream(buf).map(Token::End),
            _ if build.is_fresh() && buf.get(1) == Some(&b's') && self.is_header(buf) => Err(NESTED.into()),
            _ => build.element(buf, self.outer.as_deref()).map(Token::Stanza),
        }
    }

    /// Whether what has come of an element begins a second header.
    fn is_nested(&self, buf: &[u8]) -> bool {
        !matches!(self.state, State::Prolog(_)) && buf.get(1) == Some(&b's') && self.is_header(buf)
    }

    /// Whether a second header begins. That is said at once, not when it ends: it never does.
    #[cold]
    fn is_header(&self, buf: &[u8]) -> bool {
        let root = self.outer.as_ref().map_or("", |outer| &outer.root);
        let rest = buf.get(1..).and_then(|tag| tag.strip_prefix(root.as_bytes())).filter(|_| !root.is_empty());
        rest.and_then(<[u8]>::first).is_some_and(|&byte| is(byte, BLANK) || matches!(byte, b'>' | b'/'))
    }

    fn end_of_stream(&self, buf: &[u8]) -> Result<usize, Stop> {
        let len = super::seek::tag_end(buf).ok_or(Stop::More)?;
        let name = buf.get(2..len - 1).unwrap_or_default();
        let root = self.outer.as_ref().filter(|_| !self.framed).map_or("", |o| &o.root);
        match name.strip_prefix(root.as_bytes()) {
            Some(blanks) if !root.is_empty() && super::build::skip(blanks, 0, BLANK) == blanks.len() => Ok(len),
            _ => Err(XmlError::NotWellFormed("an end tag without start tag").into()),
        }
    }

    fn found(&mut self, token: Token, build: &mut Build, taken: &[u8]) -> Result<Found, XmlError> {
        match token {
            Token::Declaration(len) => {
                header::declaration(taken)?;
                self.state = State::Prolog(u32::try_from(len).unwrap_or(u32::MAX));
                Ok(Found::Declaration)
            }
            Token::Header(_) => {
                let (header, outer) = header::header(build, taken)?;
                if taken.ends_with(b"/>") {
                    return Err(XmlError::NotWellFormed("a stream that ends in its header"));
                }
                self.outer = Some(header::shared(outer));
                self.state = State::Content(0);
                Ok(Found::Event(Event::Open(header)))
            }
            Token::Stanza(_) => {
                self.state = State::Content(0);
                Ok(Found::Event(Event::Stanza(stanza(build, taken, self.outer.as_ref())?)))
            }
            Token::End(_) => {
                self.state = State::Closed(0);
                Ok(Found::Event(Event::Close))
            }
        }
    }
}

const NESTED: XmlError = XmlError::NotWellFormed("a stream inside a stream");
const TOO_BIG: XmlError = XmlError::Limit("stanza-too-big");

/// What first-level tokens make, and their length.
enum Token {
    Declaration(usize),
    Header(usize),
    Stanza(usize),
    End(usize),
}

impl Token {
    fn len(&self) -> usize {
        match *self {
            Token::Declaration(n) | Token::Header(n) | Token::Stanza(n) | Token::End(n) => n,
        }
    }
}

#[allow(clippy::large_enum_variant)] // As `Event`.
enum Found {
    Nothing,
    Declaration,
    Event(Event),
}

/// Puts text and tape into memory of their own, recycled if possible.
pub(super) fn stanza(build: &mut Build, bytes: &[u8], outer: Option<&Arc<Outer>>) -> Result<Stanza, XmlError> {
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| XmlError::UnsupportedEncoding)?;
    let mut arc = pool::inner(bytes.len()).unwrap_or_default();
    if let Some(inner) = Arc::get_mut(&mut arc) {
        fill(inner, build, text, outer);
        return Ok(Stanza(arc));
    }
    let mut inner = Inner::default();
    fill(&mut inner, build, text, outer);
    Ok(Stanza(Arc::new(inner)))
}

fn fill(inner: &mut Inner, build: &mut Build, text: &str, outer: Option<&Arc<Outer>>) {
    inner.text.clear();
    inner.text.reserve_exact(text.len());
    inner.text.push_str(text);
    inner.tape.clear();
    inner.tape.reserve_exact(build.tape.len());
    inner.tape.extend_from_slice(&build.tape);
    inner.outer = outer.cloned();
    inner.extra = if build.extra.is_empty() { Box::default() } else { std::mem::take(&mut build.extra).into() };
    inner.content = build.content;
    inner.plain = build.plain;
}
