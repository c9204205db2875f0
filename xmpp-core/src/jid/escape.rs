//! Escaping what a local part must not hold (XEP-0106). For people's eyes and for gateways: a server neither escapes
//! nor unescapes, and addresses are compared as they are on the wire.
use std::borrow::Cow;

const ESCAPES: [(&str, char); 10] = [
    ("20", ' '),
    ("22", '"'),
    ("26", '&'),
    ("27", '\''),
    ("2f", '/'),
    ("3a", ':'),
    ("3c", '<'),
    ("3e", '>'),
    ("40", '@'),
    ("5c", '\\'),
];

/// The character of the escape sequence whose backslash came just before `rest`. Capital digits count: preparing the
/// local part makes them small.
fn sequence(rest: &str) -> Option<char> {
    let digits = rest.get(..2)?;
    ESCAPES.iter().find(|(code, _)| digits.eq_ignore_ascii_case(code)).map(|&(_, c)| c)
}

/// Escapes a name from elsewhere for use as a local part. `None` if it begins or ends with a space, which has no
/// escaped form (§4.2).
pub fn escape_local(name: &str) -> Option<Cow<'_, str>> {
    if name.starts_with(' ') || name.ends_with(' ') {
        return None;
    }
    let mut out = String::new();
    let mut done = 0;
    for (i, c) in name.char_indices() {
        let Some((code, _)) = ESCAPES.iter().find(|&&(_, e)| e == c) else { continue };
        // A backslash is escaped only where it would be taken for the start of a sequence.
        if c == '\\' && sequence(name.get(i + 1..)?).is_none() {
            continue;
        }
        out.push_str(name.get(done..i)?);
        out.push('\\');
        out.push_str(code);
        done = i + 1;
    }
    if done == 0 {
        return Some(name.into());
    }
    out.push_str(name.get(done..)?);
    Some(out.into())
}

/// What to show for a local part. A `\20` at either end, which nobody may write, stays as it is.
pub fn unescape_local(local: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(local.len());
    let mut rest = local;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let edge = out.is_empty() || after.len() == 2;
        match sequence(after).filter(|&c| c != ' ' || !edge) {
            Some(c) => {
                out.push(c);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    if out.is_empty() {
        return local.into();
    }
    out.push_str(rest);
    out.into()
}
