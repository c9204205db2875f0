//! Memory that scanners and writers on one thread hand each other, so that an idle one holds none.
use super::build::Build;
use super::tape::Inner;
use super::writer::Stack;
use std::cell::RefCell;
use std::sync::Arc;

/// A pool keeps this many of each.
const BUILDS: usize = 4;
const STANZAS: usize = 32;
/// And none that is larger than this many bytes.
const KEPT_BYTES: usize = 32 * 1024;

thread_local! {
    // Boxed because it moves between here and the scanners.
    #[allow(clippy::vec_box)]
    static SCRATCH: RefCell<Vec<Box<Build>>> = const { RefCell::new(Vec::new()) };
    static SPARE: RefCell<Vec<Arc<Inner>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn build() -> Box<Build> {
    SCRATCH.try_with(|p| p.try_borrow_mut().ok()?.pop()).ok().flatten().unwrap_or_default()
}

pub(super) fn put_build(build: Box<Build>) {
    if build.held() > KEPT_BYTES {
        return;
    }
    let _ = SCRATCH.try_with(|p| {
        if let Ok(mut p) = p.try_borrow_mut()
            && p.len() < BUILDS
        {
            p.push(build);
        }
    });
}

/// A recycled stanza's memory, if there is one that would not waste much on a text of this length.
pub(super) fn inner(len: usize) -> Option<Arc<Inner>> {
    let mut inner = SPARE.try_with(|p| p.try_borrow_mut().ok()?.pop()).ok().flatten()?;
    let spare = Arc::get_mut(&mut inner)?;
    if spare.text.capacity() > 4 * len + 1024 {
        spare.text = String::new();
        spare.tape = Vec::new();
    }
    Some(inner)
}

pub(super) fn put_inner(mut inner: Arc<Inner>) {
    let Some(spare) = Arc::get_mut(&mut inner) else { return };
    if spare.text.capacity() + 4 * spare.tape.capacity() > KEPT_BYTES {
        return;
    }
    spare.outer = None;
    spare.extra = Box::default();
    let _ = SPARE.try_with(|p| {
        if let Ok(mut p) = p.try_borrow_mut()
            && p.len() < STANZAS
        {
            p.push(inner);
        }
    });
}

thread_local! {
    static STACKS: RefCell<Vec<Stack>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn stack() -> Stack {
    STACKS.try_with(|p| p.try_borrow_mut().ok()?.pop()).ok().flatten().unwrap_or_default()
}

pub(super) fn put_stack(mut stack: Stack) {
    if stack.held() > KEPT_BYTES {
        return;
    }
    stack.clear();
    let _ = STACKS.try_with(|p| {
        if let Ok(mut p) = p.try_borrow_mut()
            && p.len() < BUILDS
        {
            p.push(stack);
        }
    });
}
