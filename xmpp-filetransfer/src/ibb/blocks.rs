//! One in-band stream without I/O: its numbers, its bounds and its end.

use std::collections::VecDeque;
use xmpp_core::stanza::StanzaError;

/// The bounds of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IbbLimits {
    /// Blocks sent whose answers are waited for. A longer way needs more of them for the same speed; peers and servers that
    /// count stanzas want fewer.
    pub window: usize,
    /// Bytes written that wait to be sent; at least a block.
    pub outgoing: usize,
    /// Bytes received and not read above which answers are held back, so that the peer waits.
    pub incoming: usize,
    /// Bytes received and not read at most: a peer that does not wait loses the stream. It has to leave room, above
    /// `incoming`, for the window of a peer that does.
    pub overrun: usize,
}

impl Default for IbbLimits {
    /// 8 blocks; 64 KiB, 128 KiB, 1 MiB.
    fn default() -> IbbLimits {
        IbbLimits { window: 8, outgoing: 64 << 10, incoming: 128 << 10, overrun: 1 << 20 }
    }
}

/// Why a stream has failed, or could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IbbError {
    /// The stream is closed.
    #[error("the in-band stream is closed")]
    Closed,
    /// A block did not have the number that comes next (XEP-0047 §2.2).
    #[error("a block came out of order")]
    OutOfOrder,
    /// A block is larger than was agreed.
    #[error("a block is larger than was agreed")]
    BlockTooLarge,
    /// A block is not base64.
    #[error("a block is not base64")]
    NotBase64,
    /// The peer has sent more than there is room for, without waiting.
    #[error("the peer has sent more than there is room for")]
    Overrun,
    /// The peer, or a server on the way, has refused what we sent.
    #[error("refused: {0}")]
    Refused(StanzaError),
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// Our session was lost, and with it the stream.
    #[error("the session was lost")]
    SessionLost,
    /// The client has ended.
    #[error("the client has ended")]
    ClientClosed,
    /// There is such a stream, or it is expected already.
    #[error("there is a stream of this id with this peer")]
    Exists,
    /// There are as many streams as there may be.
    #[error("too many in-band streams")]
    TooMany,
    /// The id cannot be one, or the size of the blocks is 0.
    #[error("no stream can be opened with these parameters")]
    Parameters,
    /// The client was built without in-band streams.
    #[error("the client was built without in-band streams")]
    Without,
}

impl From<IbbError> for std::io::Error {
    fn from(error: IbbError) -> std::io::Error {
        use std::io::ErrorKind;
        let kind = match &error {
            IbbError::Closed => ErrorKind::BrokenPipe,
            IbbError::OutOfOrder | IbbError::BlockTooLarge | IbbError::NotBase64 | IbbError::Overrun => {
                ErrorKind::InvalidData
            }
            IbbError::TimedOut => ErrorKind::TimedOut,
            IbbError::Refused(_) | IbbError::SessionLost | IbbError::ClientClosed => ErrorKind::ConnectionAborted,
            _ => ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

/// What is to be sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A block: its number, and its bytes.
    Block(u16, Vec<u8>),
    /// The end of the stream, once.
    Close,
}

/// When a block that was taken is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// At once.
    Now,
    /// When there [is room](Blocks::has_room).
    WithRoom,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Reading {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Wait,
    /// The peer has closed the stream, and all has been read.
    End,
    /// The stream has failed, and all has been read that came before.
    Failed(IbbError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// We want to: when all is sent.
    Wanted,
    /// We have said so, and the peer has not answered.
    Sent,
    /// The peer has said so; what was written before is still sent.
    ByPeer,
    /// It is closed on both sides.
    Done,
}

/// The state of a stream. Whoever has it sends what [`output`](Self::output) yields, in order, and tells of each answer.
#[derive(Clone, Debug)]
pub struct Blocks {
    block_size: usize,
    limits: IbbLimits,
    outgoing: VecDeque<u8>,
    next_out: u16,
    unanswered: usize,
    /// Less than a block may go.
    hurried: bool,
    incoming: VecDeque<u8>,
    next_in: u16,
    unread: bool,
    closing: Closing,
    failed: Option<IbbError>,
    /// The peer is to be told of the failure.
    close_owed: bool,
    /// It was closed before all that was written had been answered.
    cut_short: bool,
}

impl Blocks {
    /// A stream that was opened with blocks of so many bytes.
    pub fn new(block_size: u16, limits: IbbLimits) -> Blocks {
        Blocks {
            block_size: usize::from(block_size).max(1),
            limits,
            outgoing: VecDeque::new(),
            next_out: 0,
            unanswered: 0,
            hurried: false,
            incoming: VecDeque::new(),
            next_in: 0,
            unread: false,
            closing: Closing::No,
            failed: None,
            close_owed: false,
            cut_short: false,
        }
    }

    /// Takes bytes to be sent; how many, which is 0 when there is no room.
    ///
    /// # Errors
    /// Why nothing more can be sent.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, IbbError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.closing != Closing::No {
            return Err(IbbError::Closed);
        }
        let room = self.limits.outgoing.max(self.block_size).saturating_sub(self.outgoing.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.outgoing.extend(taken);
        Ok(taken.len())
    }

    /// Lets what was written go, also if it is less than a block.
    pub fn hurry(&mut self) {
        self.hurried = !self.outgoing.is_empty();
    }

    /// Whether all that was written has been answered.
    ///
    /// # Errors
    /// Why it never will.
    pub fn is_flushed(&self) -> Result<bool, IbbError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.cut_short => Err(IbbError::Closed),
            None => Ok(self.outgoing.is_empty() && self.unanswered == 0),
        }
    }

    /// What is to be sent now. A small write goes at once if nothing is on its way; otherwise blocks are filled.
    pub fn output(&mut self) -> Option<Output> {
        if std::mem::take(&mut self.close_owed) {
            return Some(Output::Close);
        }
        if self.failed.is_some() || matches!(self.closing, Closing::Sent | Closing::Done) {
            return None;
        }
        let whole = self.outgoing.len() >= self.block_size;
        let ready = whole || self.hurried || self.unanswered == 0 || self.closing != Closing::No;
        if !self.outgoing.is_empty() && ready && self.unanswered < self.limits.window.max(1) {
            let bytes = self.outgoing.drain(..self.block_size.min(self.outgoing.len())).collect();
            let seq = self.next_out;
            self.next_out = seq.wrapping_add(1);
            self.unanswered += 1;
            self.hurried &= !self.outgoing.is_empty();
            return Some(Output::Block(seq, bytes));
        }
        if self.closing == Closing::Wanted && self.outgoing.is_empty() && self.unanswered == 0 {
            self.closing = Closing::Sent;
            return Some(Output::Close);
        }
        None
    }

    /// A block was answered, or will not be. After an error the stream is closed (§2.2).
    pub fn answered(&mut self, answer: Result<(), IbbError>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Err(error) = answer {
            self.break_off(error);
        }
    }

    /// A block has come.
    ///
    /// # Errors
    /// What to answer; the stream is closed then, unless it was before.
    pub fn receive(&mut self, seq: u16, bytes: &[u8]) -> Result<Acknowledge, StanzaError> {
        if self.failed.is_some() || matches!(self.closing, Closing::ByPeer | Closing::Done) {
            return Err(StanzaError::item_not_found());
        }
        if seq != self.next_in {
            self.break_off(IbbError::OutOfOrder);
            return Err(unexpected_block());
        }
        if bytes.len() > self.block_size {
            self.break_off(IbbError::BlockTooLarge);
            return Err(bad_block("the block is larger than was agreed"));
        }
        if !self.unread && self.incoming.len().saturating_add(bytes.len()) > self.limits.overrun {
            self.break_off(IbbError::Overrun);
            return Err(StanzaError::resource_constraint());
        }
        self.next_in = seq.wrapping_add(1);
        if !self.unread {
            self.incoming.extend(bytes);
        }
        Ok(if self.has_room() { Acknowledge::Now } else { Acknowledge::WithRoom })
    }

    /// A block has come that is not base64.
    pub fn receive_garbage(&mut self) -> StanzaError {
        if self.failed.is_some() || matches!(self.closing, Closing::ByPeer | Closing::Done) {
            return StanzaError::item_not_found();
        }
        self.break_off(IbbError::NotBase64);
        bad_block("the block is not base64")
    }

    /// Whether the peer may send more.
    pub fn has_room(&self) -> bool {
        self.incoming.len() <= self.limits.incoming || self.failed.is_some()
    }

    /// Moves what has come into `out`.
    pub fn read(&mut self, out: &mut [u8]) -> Reading {
        if out.is_empty() {
            return Reading::Bytes(0);
        }
        if !self.incoming.is_empty() {
            let (first, _) = self.incoming.as_slices();
            let some = first.len().min(out.len());
            if let (Some(to), Some(from)) = (out.get_mut(..some), first.get(..some)) {
                to.copy_from_slice(from);
            }
            self.incoming.drain(..some);
            return Reading::Bytes(some);
        }
        match (&self.failed, self.closing) {
            (Some(error), _) => Reading::Failed(error.clone()),
            (None, Closing::ByPeer | Closing::Done) => Reading::End,
            _ => Reading::Wait,
        }
    }

    /// Nobody will read any more: what comes is answered and dropped.
    pub fn stop_reading(&mut self) {
        self.unread = true;
        self.incoming = VecDeque::new();
    }

    /// Closes the stream, when all that was written has been answered (§2.3).
    pub fn close(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::Wanted;
        }
    }

    /// The peer closes the stream. It gets its answer when [`is_drained`](Self::is_drained).
    ///
    /// # Errors
    /// What to answer where nothing is open.
    pub fn peer_closes(&mut self) -> Result<(), StanzaError> {
        if self.failed.is_some() {
            return Err(StanzaError::item_not_found());
        }
        match self.closing {
            Closing::ByPeer | Closing::Done => Err(StanzaError::item_not_found()),
            // Both have closed it: nobody has more to send.
            Closing::Sent => Ok(()),
            Closing::No | Closing::Wanted => {
                self.closing = Closing::ByPeer;
                Ok(())
            }
        }
    }

    /// Whether nothing more will be sent, so that a peer that has closed can be answered.
    pub fn is_drained(&self) -> bool {
        self.failed.is_some()
            || matches!(self.closing, Closing::Sent | Closing::Done)
            || (self.closing == Closing::ByPeer && self.outgoing.is_empty() && self.unanswered == 0)
    }

    /// The peer has been answered that the stream is closed, or has answered that; whatever it said.
    pub fn closed(&mut self) {
        self.closing = Closing::Done;
        self.cut_short |= !self.outgoing.is_empty() || self.unanswered > 0;
        self.outgoing = VecDeque::new();
    }

    /// Whether it is closed on both sides, or has failed and the peer need not be told of it any more.
    pub fn is_over(&self) -> bool {
        self.closing == Closing::Done || (self.failed.is_some() && !self.close_owed)
    }

    /// Whether we have closed it, and the peer has answered.
    ///
    /// # Errors
    /// How else it has ended.
    pub fn is_closed(&self) -> Result<bool, IbbError> {
        match (&self.failed, self.closing) {
            (Some(error), _) => Err(error.clone()),
            (None, Closing::Done) => Ok(true),
            // The peer was first; what we had written still goes.
            (None, Closing::ByPeer) => Ok(self.is_drained()),
            _ => Ok(false),
        }
    }

    /// The stream has failed in a way that the peer need not be told of.
    pub fn fail(&mut self, error: IbbError) {
        if self.closing != Closing::Done && self.failed.is_none() {
            self.failed = Some(error);
            self.outgoing = VecDeque::new();
        }
    }

    /// The stream has failed, and the peer is to be told.
    fn break_off(&mut self, error: IbbError) {
        if self.closing != Closing::Done && self.failed.is_none() {
            self.close_owed = matches!(self.closing, Closing::No | Closing::Wanted);
            self.fail(error);
        }
    }
}

fn unexpected_block() -> StanzaError {
    StanzaError::unexpected_request()
        .with_type(xmpp_core::stanza::ErrorType::Cancel)
        .with_text("the block does not have the number that comes next")
}

fn bad_block(text: &str) -> StanzaError {
    StanzaError::bad_request().with_type(xmpp_core::stanza::ErrorType::Cancel).with_text(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xmpp_core::stanza::Condition;

    fn stream(block_size: u16) -> Blocks {
        Blocks::new(block_size, IbbLimits { window: 2, outgoing: 8, incoming: 8, overrun: 16 })
    }

    fn all(blocks: &mut Blocks) -> Vec<u8> {
        let mut bytes = [0; 64];
        match blocks.read(&mut bytes) {
            Reading::Bytes(count) => bytes[..count].to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn xep0047_2_2_blocks_are_numbered_and_no_larger_than_agreed() {
        let mut blocks = stream(4);
        assert_eq!(blocks.write(b"abcdefghij").unwrap(), 8, "no more than there is room for");
        assert_eq!(blocks.output(), Some(Output::Block(0, b"abcd".to_vec())));
        assert_eq!(blocks.output(), Some(Output::Block(1, b"efgh".to_vec())));
        assert_eq!(blocks.write(b"ij").unwrap(), 2);
        assert_eq!(blocks.output(), None, "the window is full");
        blocks.answered(Ok(()));
        assert_eq!(blocks.output(), None, "less than a block waits while something is on its way");
        blocks.hurry();
        assert_eq!(blocks.output(), Some(Output::Block(2, b"ij".to_vec())));
        assert!(!blocks.is_flushed().unwrap());
        blocks.answered(Ok(()));
        blocks.answered(Ok(()));
        assert!(blocks.is_flushed().unwrap());
        blocks.write(b"k").unwrap();
        assert_eq!(blocks.output(), Some(Output::Block(3, b"k".to_vec())), "nothing is on its way");
    }

    #[test]
    fn xep0047_2_2_numbers_begin_again_after_65535() {
        let (mut one, mut two) = (stream(1), stream(1));
        for round in 0..=65_536_u32 {
            one.write(&[7]).unwrap();
            let Some(Output::Block(seq, bytes)) = one.output() else { panic!("no block") };
            assert_eq!(u32::from(seq), round % 65_536);
            assert_eq!(two.receive(seq, &bytes).unwrap(), Acknowledge::Now);
            assert_eq!(all(&mut two), [7]);
            one.answered(Ok(()));
        }
    }

    #[test]
    fn xep0047_2_2_a_block_out_of_sequence_closes_the_stream() {
        for seq in [1, 2, 65_535] {
            let mut blocks = stream(4);
            blocks.receive(0, b"ab").unwrap();
            if seq == 1 {
                blocks.receive(1, b"cd").unwrap();
            }
            // A number that was used already, and two that leave some out.
            let error = blocks.receive(seq, b"xx").unwrap_err();
            assert_eq!(error.condition, Condition::UnexpectedRequest);
            assert_eq!(error.type_, xmpp_core::stanza::ErrorType::Cancel);
            assert_eq!(blocks.receive(1, b"cd").unwrap_err().condition, Condition::ItemNotFound, "nor any that follow");
            assert_eq!(blocks.output(), Some(Output::Close));
            assert_eq!(blocks.output(), None, "once");
            assert_eq!(all(&mut blocks).get(..2).unwrap(), b"ab", "what came before can be read");
            assert!(matches!(blocks.read(&mut [0]), Reading::Failed(IbbError::OutOfOrder)));
            assert!(blocks.write(b"x").is_err());
        }
    }

    #[test]
    fn xep0047_2_2_bounds_hold_at_n_and_n_plus_1() {
        let mut blocks = stream(4);
        blocks.receive(0, b"abcd").unwrap();
        assert_eq!(blocks.receive(1, b"efghi").unwrap_err().condition, Condition::BadRequest);
        assert_eq!(blocks.output(), Some(Output::Close));

        let mut blocks = stream(4);
        for (seq, acknowledge) in
            [Acknowledge::Now, Acknowledge::Now, Acknowledge::WithRoom, Acknowledge::WithRoom].into_iter().enumerate()
        {
            assert_eq!(blocks.receive(u16::try_from(seq).unwrap(), b"abcd").unwrap(), acknowledge, "{seq}");
        }
        assert!(!blocks.has_room());
        let mut over = blocks.clone();
        assert_eq!(over.receive(4, b"x").unwrap_err().condition, Condition::ResourceConstraint);
        assert!(over.output() == Some(Output::Close) && over.has_room(), "nobody waits for room in what has ended");
        all(&mut blocks);
        assert!(blocks.has_room());
        assert_eq!(blocks.receive(4, b"x").unwrap(), Acknowledge::Now);
    }

    #[test]
    fn xep0047_2_3_the_stream_is_closed_when_all_was_answered() {
        let mut blocks = stream(4);
        blocks.write(b"abcde").unwrap();
        blocks.close();
        assert!(matches!(blocks.write(b"x"), Err(IbbError::Closed)));
        assert_eq!(blocks.output(), Some(Output::Block(0, b"abcd".to_vec())));
        assert_eq!(blocks.output(), Some(Output::Block(1, b"e".to_vec())), "the rest need not fill a block");
        assert_eq!(blocks.output(), None);
        blocks.answered(Ok(()));
        assert_eq!(blocks.output(), None);
        blocks.answered(Ok(()));
        assert_eq!(blocks.output(), Some(Output::Close));
        assert!(!blocks.is_closed().unwrap());
        assert_eq!(blocks.receive(0, b"late").unwrap(), Acknowledge::Now, "until the peer answers it may send");
        blocks.closed();
        assert!(blocks.is_closed().unwrap() && blocks.is_over());
        assert_eq!(all(&mut blocks), b"late");
        assert!(matches!(blocks.read(&mut [0]), Reading::End));
    }

    #[test]
    fn xep0047_2_3_who_is_told_of_the_end_sends_what_it_has_first() {
        let mut blocks = stream(4);
        blocks.write(b"abcde").unwrap();
        assert!(matches!(blocks.output(), Some(Output::Block(0, _))));
        blocks.peer_closes().unwrap();
        assert!(!blocks.is_drained() && blocks.write(b"x").is_err());
        assert_eq!(blocks.receive(0, b"x").unwrap_err().condition, Condition::ItemNotFound, "it is closed");
        assert!(matches!(blocks.read(&mut [0]), Reading::End));
        assert!(matches!(blocks.output(), Some(Output::Block(1, _))));
        blocks.answered(Ok(()));
        let mut impatient = blocks.clone();
        blocks.answered(Ok(()));
        assert!(blocks.is_drained() && blocks.output().is_none());
        blocks.closed();
        assert!(blocks.is_flushed().unwrap() && blocks.is_over());
        assert_eq!(blocks.peer_closes().unwrap_err().condition, Condition::ItemNotFound);
        impatient.closed();
        assert!(matches!(impatient.is_flushed(), Err(IbbError::Closed)), "not all of it has arrived");
    }

    #[test]
    fn xep0047_2_2_an_error_in_answer_to_a_block_closes_the_stream() {
        let mut blocks = stream(4);
        blocks.write(b"abcd").unwrap();
        blocks.output();
        blocks.answered(Err(IbbError::Refused(StanzaError::item_not_found())));
        assert_eq!(blocks.output(), Some(Output::Close));
        assert!(blocks.is_over() && blocks.is_flushed().is_err() && blocks.is_closed().is_err());
        blocks.closed();
        assert!(blocks.is_closed().is_err(), "it has not ended well");
        // Both may close it at the same time.
        let mut blocks = stream(4);
        blocks.close();
        assert_eq!(blocks.output(), Some(Output::Close));
        blocks.peer_closes().unwrap();
        assert!(blocks.is_drained());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is written at one end comes out at the other, whatever the sizes, and nothing grows beyond its bounds.
        #[test]
        fn xep0047_bytes_arrive_in_order(
            steps in proptest::collection::vec((0_u8..5, 0_usize..20), 0..200),
            block_size in 1_u16..9,
        ) {
            let limits = IbbLimits { window: 2, outgoing: 8, incoming: 8, overrun: 24 };
            let (mut from, mut to) = (Blocks::new(block_size, limits.clone()), Blocks::new(block_size, limits));
            let (mut sent, mut read, mut counter) = (Vec::new(), Vec::new(), 0_u8);
            let mut held = 0;
            let mut step = |kind: u8, size: usize, from: &mut Blocks, to: &mut Blocks| {
                match kind {
                    0 => {
                        let bytes: Vec<u8> = (0..size).map(|_| { counter = counter.wrapping_add(1); counter }).collect();
                        let taken = from.write(&bytes).unwrap();
                        counter = counter.wrapping_sub(u8::try_from(bytes.len() - taken).unwrap());
                        sent.extend_from_slice(&bytes[..taken]);
                    }
                    1 => from.hurry(),
                    2 | 3 => if let Some(Output::Block(seq, bytes)) = from.output() {
                        assert!(bytes.len() <= usize::from(block_size));
                        match to.receive(seq, &bytes).unwrap() {
                            Acknowledge::Now => from.answered(Ok(())),
                            Acknowledge::WithRoom => held += 1,
                        }
                    },
                    _ => {
                        let mut out = vec![0; size];
                        if let Reading::Bytes(count) = to.read(&mut out) {
                            read.extend_from_slice(&out[..count]);
                        }
                        while held > 0 && to.has_room() {
                            held -= 1;
                            from.answered(Ok(()));
                        }
                    }
                }
                assert!(to.incoming.len() <= 8 + 2 * usize::from(block_size));
                assert!(from.outgoing.len() <= 8.max(usize::from(block_size)));
            };
            for (kind, size) in steps {
                step(kind, size, &mut from, &mut to);
            }
            for _ in 0..60 {
                for kind in 1..5 {
                    step(kind, 20, &mut from, &mut to);
                }
            }
            prop_assert_eq!(sent, read);
        }
    }
}
