//! The fast path: one pass over an address that is all ASCII, as nearly every address is.
//!
//! What passes here needs no tables; what does not is not wrong, it takes the slow path.
use super::{MAX_PART, MAX_TEXT};

const LOCAL: u8 = 1;
const HOST: u8 = 2;
const UPPER: u8 = 4;

static CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut i = 0x20u8;
    while i < 0x7f {
        let mut class = 0;
        if i != b' ' && !super::prepare::forbidden_in_local(i as char) {
            class |= LOCAL;
        }
        if i.is_ascii_alphanumeric() || i == b'-' || i == b'_' {
            class |= HOST;
        }
        if i.is_ascii_uppercase() {
            class |= UPPER;
        }
        table[i as usize] = class;
        i += 1;
    }
    table
};

/// Where the parts of an address lie.
#[derive(Clone, Copy)]
pub(super) struct Split {
    /// The `@`, or 0.
    pub(super) at: u16,
    /// The first `/`, or the length.
    pub(super) slash: u16,
    /// Whether a letter before the `/` has yet to become small.
    pub(super) fold: bool,
}

/// Splits an ASCII address and checks each part; `None` sends it to the slow path.
pub(super) fn scan(text: &str) -> Option<Split> {
    let bytes = text.as_bytes();
    if bytes.len() > MAX_TEXT {
        return None;
    }
    let (head, mut any) = run(bytes, LOCAL);
    let mut at = 0;
    let mut start = 0;
    if bytes.get(head) == Some(&b'@') {
        if head == 0 || head > MAX_PART {
            return None;
        }
        at = head;
        start = head + 1;
    } else {
        any = 0;
    }
    let (len, upper) = host(bytes.get(start..)?)?;
    let slash = start + len;
    if slash < bytes.len() {
        let resource = bytes.get(slash + 1..)?;
        // Without a way out of the loop, which lets it take many bytes at once.
        let printable = resource.iter().fold(true, |all, &b| all & (b.wrapping_sub(b' ') < 0x5f));
        if resource.is_empty() || resource.len() > MAX_PART || !printable {
            return None;
        }
    }
    Some(Split { at: u16::try_from(at).ok()?, slash: u16::try_from(slash).ok()?, fold: upper || any & UPPER != 0 })
}

/// Whether these bytes are the labels of one ASCII host name, and whether one has a capital letter.
pub(super) fn host_name(text: &str) -> Option<bool> {
    let (len, upper) = host(text.as_bytes())?;
    (len == text.len()).then_some(upper)
}

/// How many bytes at the start are of this class, and the classes they have together.
fn run(bytes: &[u8], class: u8) -> (usize, u8) {
    let mut any = 0;
    let mut of_class = |&b: &u8| {
        let has = CLASS[b as usize];
        any |= has;
        has & class != 0
    };
    let len = bytes.iter().take_while(|b| of_class(b)).count();
    (len, any)
}

/// Reads a host name up to a `/` or the end; answers its length and whether it has a capital letter.
fn host(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut rest = bytes;
    let mut any = 0;
    loop {
        let (len, has) = run(rest, HOST);
        any |= has;
        let (label, after) = rest.split_at_checked(len)?;
        let hyphens = label.first() == Some(&b'-') || label.last() == Some(&b'-');
        // The canonical form of a label in Punycode is the one it stands for: the slow path's.
        let ace = label.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"xn--"));
        if len == 0 || len > 63 || hyphens || ace {
            return None;
        }
        match after {
            [b'.', next @ ..] => rest = next,
            [] | [b'/', ..] => {
                let len = bytes.len() - after.len();
                return (len <= 253).then_some((len, any & UPPER != 0));
            }
            _ => return None,
        }
    }
}
