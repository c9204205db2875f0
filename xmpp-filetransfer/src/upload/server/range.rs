//! Parts of a file (RFC 9110 §14), and conditions on it (RFC 9110 §13).

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last byte, both counted.
    Part(u64, u64),
    /// What is not there.
    Beyond,
}

/// Reads a `Range` (§14.2). More than one range, or what is none, asks for the whole: a server may do so.
pub(super) fn wanted(range: &str, size: u64) -> Wanted {
    let Some((unit, spec)) = range.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let number = |text: &str| match text.trim() {
        text if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => None,
        // More digits than a size has are as good as the greatest.
        text => Some(text.parse().unwrap_or(u64::MAX)),
    };
    match (number(first), number(last), first.trim().is_empty(), last.trim().is_empty()) {
        (Some(first), Some(last), ..) if first > last => Wanted::Whole,
        (Some(first), ..) if first >= size => match number(last).is_some() || last.trim().is_empty() {
            true => Wanted::Beyond,
            false => Wanted::Whole,
        },
        (Some(first), Some(last), ..) => Wanted::Part(first, last.min(size.saturating_sub(1))),
        (Some(first), None, _, true) => Wanted::Part(first, size.saturating_sub(1)),
        (None, Some(0), true, _) => Wanted::Beyond,
        (None, Some(_), true, _) if size == 0 => Wanted::Beyond,
        (None, Some(count), true, _) => Wanted::Part(size.saturating_sub(count), size.saturating_sub(1)),
        _ => Wanted::Whole,
    }
}

/// Whether a list of tags (§13.1.1, §13.1.2) has this one, or is `*`. `weak` compares without regard to strength.
pub(super) fn lists(tags: &str, tag: &str, weak: bool) -> bool {
    tags.split(',').map(str::trim).any(|one| {
        let one = if weak { one.strip_prefix("W/").unwrap_or(one) } else { one };
        one == "*" || one == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9110_14_1_2_ranges_are_read() {
        for (range, is) in [
            ("bytes=0-499", Wanted::Part(0, 499)),
            ("bytes=500-999", Wanted::Part(500, 999)),
            ("bytes=-500", Wanted::Part(9500, 9999)),
            ("bytes=9500-", Wanted::Part(9500, 9999)),
            ("Bytes = 0-0", Wanted::Part(0, 0)),
            ("bytes=0-99999999999999999999999", Wanted::Part(0, 9999)),
            ("bytes=-99999", Wanted::Part(0, 9999)),
            ("bytes=10000-", Wanted::Beyond),
            ("bytes=99999999999999999999999-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=2-1", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(range, 10_000), is, "{range}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Beyond);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Beyond);
    }

    #[test]
    fn rfc9110_13_1_tags_are_compared() {
        assert!(lists("\"a\", \"b\"", "\"b\"", false) && lists("*", "\"b\"", false));
        assert!(lists("W/\"b\"", "\"b\"", true) && !lists("W/\"b\"", "\"b\"", false));
        assert!(!lists("\"a\"", "\"b\"", true) && !lists("", "\"b\"", true));
    }

    proptest! {
        #[test]
        fn no_range_is_outside_of_the_file(range in "(bytes=)?[0-9,-]{0,30}", size in 0u64..1000) {
            if let Wanted::Part(first, last) = wanted(&range, size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
