//! The handshake of SOCKS5 (RFC 1928) as bytestreams use it (XEP-0065 §9), both ends, without I/O.
//!
//! Neither end ever asks for more bytes than belong to the handshake, so that none of what follows is taken.

use super::StreamHash;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NOTHING_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;
/// Replies (§6).
const NOT_ALLOWED: u8 = 2;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS_TYPE: u8 = 8;

/// What is wrong with what the other end sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It is another version, or no SOCKS at all.
    #[error("not SOCKS5")]
    Version,
    /// It wants to authenticate, which bytestreams do not.
    #[error("no method of authentication in common")]
    Method,
    /// It asks for something else than a connection.
    #[error("an unknown command")]
    Command,
    /// The destination is not 40 hexadecimal digits, or its port not 0.
    #[error("a destination that is no bytestream")]
    Destination,
    /// It has refused, with this reply (§6).
    #[error("refused with reply {0}")]
    Refused(u8),
    /// More bytes came than were asked for.
    #[error("more bytes than were asked for")]
    Surplus,
}

/// The handshake has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to send before the connection is closed; may be empty.
    pub reply: Vec<u8>,
    /// Why.
    pub error: HandshakeError,
}

impl Refusal {
    fn silent(error: HandshakeError) -> Refusal {
        Refusal { reply: Vec::new(), error }
    }
}

/// What follows from bytes that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    More,
    /// These are to be sent.
    Send(Vec<u8>),
    /// The stream that is asked for; for who asked, that it is granted.
    Stream(StreamHash),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The version and a count: of methods, or that of a request or reply with its first byte of the address.
    Greeting,
    Methods,
    Head,
    Address,
    Done,
}

/// Gathers bytes until there are as many as a stage has.
#[derive(Clone, Debug)]
struct Gather {
    stage: Stage,
    bytes: Vec<u8>,
    most: usize,
}

impl Gather {
    fn new(stage: Stage, most: usize) -> Gather {
        Gather { stage, bytes: Vec::with_capacity(most), most }
    }

    fn wants(&self) -> usize {
        self.most.saturating_sub(self.bytes.len())
    }

    /// Whether the stage is whole.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        if bytes.len() > self.wants() {
            return Err(Refusal::silent(HandshakeError::Surplus));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(self.wants() == 0)
    }
}

/// The end that is connected to.
#[derive(Clone, Debug)]
pub struct Accepting(Gather);

impl Default for Accepting {
    fn default() -> Accepting {
        Accepting::new()
    }
}

impl Accepting {
    /// Somebody has connected.
    pub fn new() -> Accepting {
        Accepting(Gather::new(Stage::Greeting, 2))
    }

    /// How many bytes may be given next; 0 when it is done. Never more than 257.
    pub fn wants(&self) -> usize {
        self.0.wants()
    }

    /// Takes bytes, of which there are at most [`wants`](Self::wants). After [`Progress::Stream`], whoever grants it sends
    /// [`granted`]; what is sent otherwise ends the connection.
    ///
    /// # Errors
    /// What is wrong, and what to reply.
    pub fn input(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        if !self.0.take(bytes)? || self.0.stage == Stage::Done {
            return Ok(Progress::More);
        }
        match (self.0.stage, self.0.bytes.as_slice()) {
            (Stage::Greeting, [VERSION, 0]) => Err(no_method()),
            (Stage::Greeting, [VERSION, methods]) => self.go_on(Stage::Methods, usize::from(*methods)),
            (Stage::Methods, methods) if methods.contains(&NO_AUTHENTICATION) => {
                self.0 = Gather::new(Stage::Head, 5);
                Ok(Progress::Send(vec![VERSION, NO_AUTHENTICATION]))
            }
            (Stage::Methods, _) => Err(no_method()),
            (Stage::Head, [VERSION, CONNECT, _, DOMAIN, 40]) => self.go_on(Stage::Address, 42),
            (Stage::Head, [VERSION, CONNECT, _, DOMAIN, _]) => Err(refused(NOT_ALLOWED, HandshakeError::Destination)),
            (Stage::Head, [VERSION, CONNECT, ..]) => Err(refused(NO_SUCH_ADDRESS_TYPE, HandshakeError::Destination)),
            (Stage::Head, [VERSION, ..]) => Err(refused(NO_SUCH_COMMAND, HandshakeError::Command)),
            (Stage::Address, [host @ .., 0, 0]) => match StreamHash::read(host) {
                Some(hash) => {
                    self.0 = Gather::new(Stage::Done, 0);
                    Ok(Progress::Stream(hash))
                }
                None => Err(refused(NOT_ALLOWED, HandshakeError::Destination)),
            },
            (Stage::Address, _) => Err(refused(NOT_ALLOWED, HandshakeError::Destination)),
            _ => Err(Refusal::silent(HandshakeError::Version)),
        }
    }

    fn go_on(&mut self, stage: Stage, most: usize) -> Result<Progress, Refusal> {
        self.0 = Gather::new(stage, most);
        Ok(Progress::More)
    }
}

fn no_method() -> Refusal {
    Refusal { reply: vec![VERSION, NOTHING_ACCEPTABLE], error: HandshakeError::Method }
}

fn refused(reply: u8, error: HandshakeError) -> Refusal {
    Refusal { reply: vec![VERSION, reply, 0, IPV4, 0, 0, 0, 0, 0, 0], error }
}

/// The reply that grants a stream: its address is the one that was asked for (XEP-0065 §5.3.2).
pub fn granted(hash: &StreamHash) -> Vec<u8> {
    message(0, hash)
}

/// A request and its reply are alike.
fn message(code: u8, hash: &StreamHash) -> Vec<u8> {
    let mut bytes = vec![VERSION, code, 0, DOMAIN, 40];
    bytes.extend_from_slice(hash.as_str().as_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

/// The end that connects.
#[derive(Clone, Debug)]
pub struct Asking {
    gather: Gather,
    hash: StreamHash,
}

impl Asking {
    /// Asks for a stream; with what is to be sent first.
    pub fn new(hash: StreamHash) -> (Asking, Vec<u8>) {
        (Asking { gather: Gather::new(Stage::Methods, 2), hash }, vec![VERSION, 1, NO_AUTHENTICATION])
    }

    /// How many bytes may be given next; 0 when it is done. Never more than 257.
    pub fn wants(&self) -> usize {
        self.gather.wants()
    }

    /// Takes bytes, of which there are at most [`wants`](Self::wants). With [`Progress::Stream`] it is done. Which address the
    /// reply names does not matter.
    ///
    /// # Errors
    /// What is wrong; there is nothing to reply.
    pub fn input(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        if !self.gather.take(bytes)? || self.gather.stage == Stage::Done {
            return Ok(Progress::More);
        }
        let rest = match (self.gather.stage, self.gather.bytes.as_slice()) {
            (Stage::Methods, [VERSION, NO_AUTHENTICATION]) => {
                self.gather = Gather::new(Stage::Head, 5);
                return Ok(Progress::Send(message(CONNECT, &self.hash)));
            }
            (Stage::Methods, [VERSION, _]) => return Err(Refusal::silent(HandshakeError::Method)),
            // With the first byte of the address.
            (Stage::Head, [VERSION, 0, _, IPV4, _]) => 3 + 2,
            (Stage::Head, [VERSION, 0, _, IPV6, _]) => 15 + 2,
            (Stage::Head, [VERSION, 0, _, DOMAIN, length]) => usize::from(*length) + 2,
            (Stage::Head, [VERSION, 0, ..]) => return Err(Refusal::silent(HandshakeError::Destination)),
            (Stage::Head, [VERSION, reply, ..]) => return Err(Refusal::silent(HandshakeError::Refused(*reply))),
            (Stage::Address, _) => {
                self.gather = Gather::new(Stage::Done, 0);
                return Ok(Progress::Stream(self.hash));
            }
            _ => return Err(Refusal::silent(HandshakeError::Version)),
        };
        self.gather = Gather::new(Stage::Address, rest);
        Ok(Progress::More)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGITS: &[u8; 40] = b"972b7bf47291ca609517f67f86b5081086052dad";

    fn hash() -> StreamHash {
        StreamHash::read(DIGITS).unwrap()
    }

    fn request(command: u8, kind: u8, host: &[u8], port: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![5, command, 0, kind, u8::try_from(host.len()).unwrap()];
        bytes.extend_from_slice(host);
        bytes.extend_from_slice(&port);
        bytes
    }

    /// Gives it bytes in pieces of a size, as long as it wants them; what it sent, and how it ended.
    fn fed(bytes: &[u8], size: usize) -> (Vec<u8>, Result<Option<StreamHash>, Refusal>, usize) {
        let (mut end, mut sent, mut rest) = (Accepting::new(), Vec::new(), bytes);
        while !rest.is_empty() && end.wants() > 0 {
            let (piece, later) = rest.split_at(size.min(end.wants()).min(rest.len()));
            rest = later;
            match end.input(piece) {
                Ok(Progress::More) => {}
                Ok(Progress::Send(reply)) => sent.extend(reply),
                Ok(Progress::Stream(hash)) => return (sent, Ok(Some(hash)), rest.len()),
                Err(refusal) => return (sent, Err(refusal), rest.len()),
            }
        }
        (sent, Ok(None), rest.len())
    }

    #[test]
    fn rfc1928_3_the_greeting_and_the_request_may_come_in_any_pieces() {
        for greeting in [&[5, 1, 0][..], &[5, 3, 2, 0, 1], &[5, 2, 9, 0]] {
            let bytes = [greeting, &request(1, 3, DIGITS, [0, 0]), b"data"].concat();
            for size in [1, 2, 7, 300] {
                let (sent, ended, left) = fed(&bytes, size);
                assert_eq!((sent.as_slice(), ended), (&[5, 0][..], Ok(Some(hash()))), "{size}");
                assert_eq!(left, 4, "what follows is the stream's");
            }
        }
    }

    #[test]
    fn rfc1928_6_what_is_no_bytestream_is_refused_as_the_document_says() {
        let no_method = vec![5, 255];
        let reply = |code| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let asked = |request: Vec<u8>| [&[5, 1, 0][..], &request].concat();
        let upper = request(1, 3, &DIGITS.to_ascii_uppercase(), [0, 0]);
        assert_eq!(fed(&asked(upper), 9).1, Ok(Some(hash())));
        for (bytes, reply, error) in [
            (vec![4, 1], vec![], HandshakeError::Version),
            (b"GET / HTTP/1.1\r\n".to_vec(), vec![], HandshakeError::Version),
            (vec![5, 0], no_method.clone(), HandshakeError::Method),
            (vec![5, 2, 1, 2], no_method, HandshakeError::Method),
            (asked(request(2, 3, DIGITS, [0, 0])), reply(7), HandshakeError::Command),
            (asked(request(3, 3, DIGITS, [0, 0])), reply(7), HandshakeError::Command),
            (asked(vec![5, 1, 0, 1, 127, 0, 0, 1, 0, 80]), reply(8), HandshakeError::Destination),
            (asked(vec![5, 1, 0, 4, 0]), reply(8), HandshakeError::Destination),
            (asked(request(1, 3, b"example.org", [0, 0])), reply(2), HandshakeError::Destination),
            (asked(request(1, 3, &[b'x'; 40], [0, 0])), reply(2), HandshakeError::Destination),
            (asked(request(1, 3, &[b'0'; 41], [0, 0])), reply(2), HandshakeError::Destination),
            (asked(request(1, 3, DIGITS, [0, 80])), reply(2), HandshakeError::Destination),
            (asked(request(1, 3, &[], [0, 0])), reply(2), HandshakeError::Destination),
            (asked(vec![4, 1, 0, 3, 40]), vec![], HandshakeError::Version),
        ] {
            assert_eq!(fed(&bytes, 1).1, Err(Refusal { reply, error }), "{bytes:?}");
        }
        let mut end = Accepting::new();
        assert_eq!(end.input(&[5, 1, 0]).unwrap_err().error, HandshakeError::Surplus, "no more than was asked for");
    }

    #[test]
    fn xep0065_5_3_2_both_ends_agree() {
        let (mut asking, greeting) = Asking::new(hash());
        let mut accepting = Accepting::new();
        let mut to_server = greeting;
        let mut granted_to = None;
        while granted_to.is_none() {
            let mut to_client = Vec::new();
            for byte in std::mem::take(&mut to_server) {
                match accepting.input(&[byte]).unwrap() {
                    Progress::More => {}
                    Progress::Send(reply) => to_client.extend(reply),
                    Progress::Stream(hash) => to_client.extend(granted(&hash)),
                }
            }
            for byte in to_client {
                match asking.input(&[byte]).unwrap() {
                    Progress::More => {}
                    Progress::Send(request) => to_server.extend(request),
                    Progress::Stream(hash) => granted_to = Some(hash),
                }
            }
        }
        assert_eq!((granted_to, asking.wants(), accepting.wants()), (Some(hash()), 0, 0));
    }

    #[test]
    fn rfc1928_6_replies_with_any_address_are_read_to_their_end() {
        let ipv4 = vec![5, 0, 0, 1, 127, 0, 0, 1, 4, 56];
        let ipv6 = [&[5, 0, 0, 4][..], &[0; 18]].concat();
        let none = vec![5, 0, 0, 3, 0, 0, 0];
        for reply in [ipv4, ipv6, none, request(0, 3, b"example.org", [0, 0])] {
            let (mut asking, _) = Asking::new(hash());
            asking.input(&[5, 0]).unwrap();
            for (place, byte) in reply.iter().enumerate() {
                let progress = asking.input(&[*byte]).unwrap();
                assert_eq!(progress == Progress::Stream(hash()), place + 1 == reply.len(), "{reply:?} {place}");
            }
        }
        for (replies, error) in [
            (&[&[5, 255][..]][..], HandshakeError::Method),
            (&[&[5, 2][..]], HandshakeError::Method),
            (&[&[4, 0][..]], HandshakeError::Version),
            (&[&[5, 0][..], &[5, 5, 0, 1, 0]], HandshakeError::Refused(5)),
            (&[&[5, 0][..], &[5, 0, 0, 9, 0]], HandshakeError::Destination),
            (&[&[5, 0][..], &[0; 5]], HandshakeError::Version),
        ] {
            let (mut asking, _) = Asking::new(hash());
            let ended = replies.iter().find_map(|reply| asking.input(reply).err());
            assert_eq!(ended.unwrap().error, error);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Pieces change nothing, and no more is asked for than the longest handshake has.
        #[test]
        fn rfc1928_any_bytes_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
            let bytes = [&[5_u8, 2, 0, 1][..], &bytes].concat();
            prop_assert_eq!(fed(&bytes, size), fed(&bytes, 1));
            let (mut asking, _) = Asking::new(hash());
            let mut rest = bytes.as_slice();
            while !rest.is_empty() && asking.wants() > 0 {
                prop_assert!(asking.wants() <= 257);
                let (piece, later) = rest.split_at(asking.wants().min(size).min(rest.len()));
                rest = later;
                if asking.input(piece).is_err() {
                    break;
                }
            }
        }
    }
}
