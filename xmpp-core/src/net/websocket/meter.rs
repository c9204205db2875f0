//! How much of what comes are frames that bring nothing: pings, pongs, empty fragments (RFC 6455 §5).

/// Follows the frames of one direction. What breaks their rules is for whoever reads them to refuse.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Octets of frames without content, since the last message was complete.
    empty: usize,
    /// Of them, those of the header that is being read.
    header: usize,
    last: bool,
    /// There is something in the message that is being read.
    filled: bool,
    at: Part,
    control: bool,
    masked: bool,
    /// What the header has said of its length.
    length: u64,
    /// Octets of the frame's content that are still to come.
    left: u64,
}

/// What the next octet is.
#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Opcode,
    Length,
    /// So many octets of a long length.
    Extended(u8),
    Mask(u8),
}

impl Meter {
    pub(super) fn empty(&self) -> usize {
        self.empty
    }

    /// Takes what has come.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= u64::try_from(count).unwrap_or(self.left);
                self.empty = self.empty.saturating_add(if self.control { count } else { 0 });
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            self.header(first);
            bytes = rest;
        }
    }

    /// One octet of a frame's header.
    fn header(&mut self, octet: u8) {
        self.empty = self.empty.saturating_add(1);
        self.header += 1;
        self.at = match self.at {
            Part::Opcode => {
                self.last = octet & 0x80 != 0;
                self.control = octet & 0x08 != 0;
                Part::Length
            }
            Part::Length => {
                self.masked = octet & 0x80 != 0;
                match octet & 0x7F {
                    126 => Part::Extended(2),
                    127 => Part::Extended(8),
                    short => self.mask(short.into()),
                }
            }
            Part::Extended(octets) => {
                self.length = self.length << 8 | u64::from(octet);
                match octets {
                    0 | 1 => self.mask(self.length),
                    more => Part::Extended(more - 1),
                }
            }
            Part::Mask(0 | 1) => self.content(),
            Part::Mask(more) => Part::Mask(more - 1),
        };
    }

    /// The length is known; what follows it?
    fn mask(&mut self, length: u64) -> Part {
        self.length = length;
        if self.masked { Part::Mask(4) } else { self.content() }
    }

    /// The header is complete.
    fn content(&mut self) -> Part {
        self.left = std::mem::take(&mut self.length);
        let header = std::mem::take(&mut self.header);
        if !self.control {
            if self.left > 0 {
                self.filled = true;
                self.empty = self.empty.saturating_sub(header);
            }
            if self.last && std::mem::take(&mut self.filled) {
                self.empty = 0;
            }
        }
        Part::Opcode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![opcode];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap_or_default()),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend(u64::try_from(length).unwrap_or_default().to_be_bytes());
            }
        }
        frame.resize(frame.len() + if masked { 4 } else { 0 } + length, 0xFF);
        frame
    }

    #[test]
    fn a_message_is_not_counted_however_long_it_is_or_takes() {
        for masked in [false, true] {
            let mut meter = Meter::default();
            for (opcode, length) in [(0x81, 5), (0x01, 126), (0x00, 70_000), (0x80, 3_000_000)] {
                for octets in frame(opcode, masked, length).chunks(977) {
                    meter.feed(octets);
                    assert!(meter.empty() < 14, "{}", meter.empty());
                }
                assert_eq!(meter.empty(), 0, "{length}");
            }
        }
    }

    #[test]
    fn abuse_a022_what_brings_nothing_is_counted_in_any_pieces() {
        let frames =
            [frame(0x89, true, 125), frame(0x8A, true, 0), frame(0x00, true, 0), frame(0x01, true, 0)].concat();
        for size in [1, 2, 3, 7, 1024] {
            let mut meter = Meter::default();
            frames.chunks(size).for_each(|octets| meter.feed(octets));
            assert_eq!(meter.empty(), frames.len(), "{size}");
            // A message of single octets does not make room for more of them.
            meter.feed(&frame(0x01, true, 1));
            meter.feed(&frame(0x00, true, 1));
            assert_eq!(meter.empty(), frames.len(), "{size}");
            meter.feed(&frame(0x80, true, 1));
            assert_eq!(meter.empty(), 0);
        }
    }
}
