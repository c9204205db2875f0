//! Skipping ordinary bytes eight or sixteen at a time.
use wide::{CmpEq as _, CmpLt as _, i8x16};

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// The high bit of each byte that is `b`; bits above the lowest one may be wrong.
#[inline(always)]
fn equal(v: u64, b: u8) -> u64 {
    let x = v ^ (ONES * b as u64);
    x.wrapping_sub(ONES) & !x
}

/// The high bit of each byte below a space; bits above the lowest one may be wrong.
#[inline(always)]
fn control(v: u64) -> u64 {
    v.wrapping_sub(ONES * 0x20) & !v
}

/// The first byte from `at` that is one of `stops`, a control character or beyond ASCII; the length of `buf` if there
/// is none.
#[inline(always)]
fn find<const N: usize>(buf: &[u8], at: usize, stops: [u8; N]) -> usize {
    let mut rest = buf.get(at..).unwrap_or_default();
    let vectors = stops.map(|b| i8x16::splat(b as i8));
    while let Some((sixteen, more)) = rest.split_first_chunk::<16>() {
        let v: i8x16 = bytemuck::cast(*sixteen);
        // Signed: what is beyond ASCII is less than a space too.
        let hits = vectors.iter().fold(v.cmp_lt(i8x16::splat(0x20)), |hits, stop| hits | v.cmp_eq(*stop));
        let mask = hits.move_mask();
        if mask != 0 {
            return buf.len() - rest.len() + mask.trailing_zeros() as usize;
        }
        rest = more;
    }
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        let v = u64::from_le_bytes(*eight);
        let hits = HIGH & stops.iter().fold(v | control(v), |hits, stop| hits | equal(v, *stop));
        if hits != 0 {
            return buf.len() - rest.len() + (hits.trailing_zeros() / 8) as usize;
        }
        rest = more;
    }
    let stop = |b: &u8| *b < 0x20 || *b >= 0x80 || stops.contains(b);
    buf.len() - rest.iter().position(stop).map_or(0, |i| rest.len() - i)
}

/// The first byte from `at` that isn't plain ASCII of text: `<`, `&`, `]`, a control character, or beyond ASCII.
#[inline(always)]
pub(super) fn text_stop(buf: &[u8], at: usize) -> usize {
    find(buf, at, *b"<&]")
}

/// The same in an attribute value: `<`, `&`, the quote, a control character, or beyond ASCII.
#[inline(always)]
pub(super) fn value_stop(buf: &[u8], at: usize, quote: u8) -> usize {
    find(buf, at, [b'<', b'&', quote])
}

/// The first byte from `at` that may need escaping.
#[inline(always)]
pub(super) fn escape_stop(buf: &[u8], at: usize) -> usize {
    find(buf, at, *b"<&>'\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_stops_where_it_should() {
        for b in 0..=255u8 {
            for at in 0..40 {
                let mut buf = [b'x'; 43];
                buf[at] = b;
                let found = |stops: bool| if stops { at } else { buf.len() };
                let text = matches!(b, b'<' | b'&' | b']' | 0..0x20 | 0x80..);
                assert_eq!(text_stop(&buf, 0), found(text), "{b} at {at}");
                let value = matches!(b, b'<' | b'&' | b'"' | 0..0x20 | 0x80..);
                assert_eq!(value_stop(&buf, 0, b'"'), found(value), "{b} at {at}");
                let escape = matches!(b, b'<' | b'&' | b'>' | b'\'' | b'"' | 0..0x20 | 0x80..);
                assert_eq!(escape_stop(&buf, 0), found(escape), "{b} at {at}");
            }
        }
    }
}
