//! A small pool of byte buffers for each thread, so that a silent session holds none.

use std::cell::RefCell;

/// What one read takes from a socket at most.
pub(crate) const READ_BYTES: usize = 16 * 1024;
const KEPT: usize = 8;
const KEPT_CAPACITY: usize = 64 * 1024;
/// What is kept to write into, in bytes: what a room says waits in as many buffers as there are who hear it.
const KEPT_BYTES: usize = KEPT * KEPT_CAPACITY;

thread_local! {
    static READ: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static WRITE: RefCell<Writable> = const { RefCell::new(Writable { pool: Vec::new(), bytes: 0 }) };
}

/// Buffers to write into, and their capacity in all.
struct Writable {
    pool: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer of [`READ_BYTES`] to read into.
pub(crate) fn take_read() -> Box<[u8]> {
    READ.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice())
}

/// Gives a read buffer back.
pub(crate) fn give_read(buffer: Box<[u8]>) {
    READ.with_borrow_mut(|pool| {
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    });
}

/// An empty buffer to write into, with capacity if one is at hand.
pub(crate) fn take_write() -> Vec<u8> {
    WRITE.with_borrow_mut(|kept| {
        let buffer = kept.pool.pop().unwrap_or_default();
        kept.bytes = kept.bytes.saturating_sub(buffer.capacity());
        buffer
    })
}

/// Gives a write buffer back.
pub(crate) fn give_write(mut buffer: Vec<u8>) {
    let capacity = buffer.capacity();
    if capacity == 0 || capacity > KEPT_CAPACITY {
        return;
    }
    buffer.clear();
    WRITE.with_borrow_mut(|kept| {
        if kept.bytes + capacity <= KEPT_BYTES {
            kept.bytes += capacity;
            kept.pool.push(buffer);
        }
    });
}
