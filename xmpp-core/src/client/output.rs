//! The two halves of a connection, and what is gathered for the next write.

use super::{entity::Entity, ledger::Ledger};
use crate::{
    jid::FullJid,
    net::Transport,
    payload::Payload,
    xml::{Scanner, Writer, ns},
};
use std::{collections::VecDeque, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

/// The reading half.
pub(super) struct Reader {
    pub(super) reader: ReadHalf<Transport>,
    pub(super) buffer: Box<[u8]>,
    /// What of the buffer has been read and not scanned.
    pub(super) unread: std::ops::Range<usize>,
}

impl Reader {
    /// Reads more; all of the buffer has been scanned. Cancel-safe, as reading from a socket is.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        let count = self.reader.read(&mut self.buffer).await?;
        self.unread = 0..count;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// A session in this connection: what is read goes through the scanner, what is written through here.
pub(super) struct Session {
    pub(super) own: FullJid,
    pub(super) entity: Entity,
    pub(super) scanner: Scanner,
    pub(super) writer: WriteHalf<Transport>,
    /// Gathered for one write.
    pub(super) writing: Vec<u8>,
    pub(super) written: usize,
    /// Where in `writing` stanzas end.
    ends: VecDeque<usize>,
}

/// So much is gathered into one write.
pub(super) const GATHER: usize = 16 * 1024;

impl Session {
    pub(super) fn new(own: FullJid, entity: Entity, scanner: Scanner, writer: WriteHalf<Transport>) -> Session {
        Session { own, entity, scanner, writer, writing: Vec::new(), written: 0, ends: VecDeque::new() }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Whether more can be gathered: a write that has begun is finished first.
    pub(super) fn is_gathering(&self) -> bool {
        self.written == 0
    }

    /// Bytes that wait for the server to read.
    pub(super) fn backlog(&self) -> usize {
        self.writing.len() - self.written
    }

    /// Gathers stanzas for the next write.
    pub(super) fn put(&mut self, ledger: &mut Ledger) {
        ledger.put(&mut self.writing, &mut self.ends, GATHER);
    }

    /// Gathers an element that is no stanza, and does not count.
    pub(super) fn element(&mut self, element: &impl Payload) {
        let mut out = Writer::with_buffer(ns::CLIENT, std::mem::take(&mut self.writing));
        element.write(&mut out);
        self.writing = out.finish();
    }

    /// Writes what there is. Cancel-safe: what was written is noted.
    pub(super) async fn write(&mut self, ledger: &mut Ledger) -> io::Result<()> {
        while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.writer.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.written += count,
            }
        }
        self.writer.flush().await?;
        self.note(ledger);
        self.writing.clear();
        self.written = 0;
        Ok(())
    }

    /// Tells the books what the connection has taken as a whole. Of a stanza that was cut short the server can make
    /// nothing.
    pub(super) fn note(&mut self, ledger: &mut Ledger) {
        let whole = self.ends.iter().take_while(|end| **end <= self.written).count();
        self.ends.drain(..whole);
        ledger.taken(whole);
    }
}
