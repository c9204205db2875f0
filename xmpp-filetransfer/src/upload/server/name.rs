//! Names that people gave to files: shown to people, never to the disk.

use std::fmt::Write as _;

/// The longest name that is kept, in bytes.
const MOST: usize = 255;

/// A name that shows as what it is: the last part of a path, without what is not printed or turns the direction of text,
/// and not hidden. The end of a long one is kept, since it tells the kind of file.
pub(super) fn sanitised(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown = |c: &char| {
        let turns = matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
        !c.is_control() && !turns
    };
    let clean: String = last.chars().filter(shown).collect();
    let clean = clean.trim_matches(|c: char| c.is_whitespace() || c == '.');
    let clean = if clean.len() > MOST { shortened(clean) } else { clean.to_owned() };
    if clean.is_empty() { "file".to_owned() } else { clean }
}

fn shortened(name: &str) -> String {
    let ending = name.rfind('.').map_or("", |dot| name.get(dot..).unwrap_or_default());
    let ending = if ending.len() <= 32 { ending } else { "" };
    let mut end = MOST - ending.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", name.get(..end).unwrap_or_default())
}

/// As a part of an address (RFC 3986 §2.1), and as the value of an extended parameter (RFC 8187 §3.2): all but letters,
/// digits and four signs is encoded.
pub(super) fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// What an encoded part of an address says; `None` if it is not well encoded. Its only use is to be compared.
pub(super) fn decoded(part: &str) -> Option<String> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        out.push(digit(bytes.next())? << 4 | digit(bytes.next())?);
    }
    String::from_utf8(out).ok()
}

/// The header that tells a browser how to show a file, and under which name to save it (RFC 6266 §4).
pub(super) fn disposition(name: &str, inline: bool) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    let kind = if inline { "inline" } else { "attachment" };
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", encoded(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn abuse_a087_no_name_is_a_path_or_hides_what_it_is() {
        for (name, clean) in [
            ("très cool.jpg", "très cool.jpg"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/etc/shadow", "shadow"),
            ("..", "file"),
            ("", "file"),
            ("a\0b\r\nSet-Cookie: x.txt", "abSet-Cookie: x.txt"),
            ("gpj.\u{202E}exe", "gpj.exe"),
            (".htaccess", "htaccess"),
            ("%2e%2e%2fpasswd", "%2e%2e%2fpasswd"),
            ("x/", "file"),
        ] {
            assert_eq!(sanitised(name), clean, "{name:?}");
        }
        let long = sanitised(&format!("{}.jpeg", "🙌".repeat(1024)));
        assert!(long.len() <= 255 && long.ends_with("🙌.jpeg"), "{long}");
    }

    #[test]
    fn rfc6266_4_names_are_told_to_old_and_new_browsers() {
        assert_eq!(disposition("a b.jpg", true), "inline; filename=\"a b.jpg\"; filename*=UTF-8''a%20b.jpg");
        let header = disposition("\"é\\%41.jpg", false);
        assert_eq!(header, "attachment; filename=\"____41.jpg\"; filename*=UTF-8''%22%C3%A9%5C%2541.jpg");
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_header_and_a_part_of_an_address(name in "(?s).{0,400}") {
            let clean = sanitised(&name);
            prop_assert!(!clean.is_empty() && clean.len() <= 255 && !clean.contains(['/', '\\', '\0', '\r', '\n']));
            prop_assert!(clean != "." && clean != "..");
            prop_assert!(axum::http::HeaderValue::from_str(&disposition(&clean, false)).unwrap().to_str().is_ok());
            prop_assert_eq!(decoded(&encoded(&clean)).unwrap(), clean);
        }

        #[test]
        fn no_part_of_an_address_is_too_odd_to_be_read(part in "[%0-9a-f.;]{0,40}") {
            let _ = decoded(&part);
        }
    }
}
