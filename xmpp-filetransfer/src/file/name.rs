//! Names of files that a peer has made up (XEP-0234 §12).

/// The longest name that file systems take, in bytes.
const LONGEST: usize = 255;
/// An ending that is longer than that is none.
const ENDING: usize = 32;

/// Makes of what a peer calls a file a name that is nothing but a name, on every file system: one component of a path, at most
/// 255 bytes, without separators, controls, characters that reorder or hide text, devices of Windows, dots at its ends, or what
/// a shell takes for an option. Of a path the last component is kept. `None` if nothing is left.
///
/// ```
/// use xmpp_filetransfer::file::name::safe;
///
/// assert_eq!(safe("../../etc/passwd").as_deref(), Some("passwd"));
/// assert_eq!(safe("CON.txt").as_deref(), Some("_CON.txt"));
/// assert_eq!(safe("..").as_deref(), None);
/// ```
pub fn safe(name: &str) -> Option<String> {
    let mut clean = String::with_capacity(name.len().min(LONGEST));
    let parts = name.rsplit(['/', '\\']).map(cleaned);
    clean.push_str(&parts.into_iter().find(|part| !part.is_empty())?);
    // A name that was cut can end in what it must not end in.
    loop {
        let before = clean.clone();
        clean = trim(&clean).to_owned();
        if clean.starts_with(['-', '~']) || is_device(&clean) {
            clean.insert(0, '_');
        }
        clean = cut(clean);
        if clean == before {
            break;
        }
    }
    (!clean.is_empty()).then_some(clean)
}

fn trim(name: &str) -> &str {
    name.trim_matches(|char: char| char == '.' || char.is_whitespace())
}

/// Without what is not to be in a name. White space becomes single spaces, so that no ending is pushed out of sight.
fn cleaned(part: &str) -> String {
    let mut out = String::with_capacity(part.len().min(LONGEST));
    for char in part.chars() {
        match char {
            char if char.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            char if is_hidden(char) => {}
            '<' | '>' | ':' | '"' | '|' | '?' | '*' => out.push('_'),
            char => out.push(char),
        }
    }
    trim(&out).to_owned()
}

/// Controls, and what changes how other characters are shown, or is not shown at all.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(u32::from(char),
            0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180E
            | 0x200B | 0x200E | 0x200F | 0x2028..=0x202E | 0x2060..=0x206F
            | 0x3164 | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0xE000..=0xF8FF | 0xE0000..=0xE0FFF | 0xF0000..)
        || u32::from(char) & 0xFFFE == 0xFFFE
        || (0xFDD0..=0xFDEF).contains(&u32::from(char))
}

/// What Windows takes for a device, whatever ending it has.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let Some(number) = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT")) else { return false };
    let mut chars = number.chars();
    let is_number = |char: char| char.is_ascii_digit() || matches!(char, '¹' | '²' | '³');
    matches!((chars.next(), chars.next()), (Some(char), None) if is_number(char))
}

/// At most so long, with its ending.
fn cut(mut name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let ending = name.rfind('.').and_then(|dot| name.get(dot..)).filter(|ending| ending.len() <= ENDING);
    let ending = ending.unwrap_or_default().to_owned();
    let mut stem = LONGEST - ending.len();
    while !name.is_char_boundary(stem) {
        stem -= 1;
    }
    name.truncate(stem);
    name.push_str(&ending);
    name
}
