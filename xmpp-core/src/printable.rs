//! Text of strangers, for logs and error messages.

use std::fmt::{self, Write};

/// Shows text in one line as it reads: what would break the line, drive a terminal or turn the reading direction is
/// escaped (CWE-117).
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => write!(f, "{}", c.escape_unicode()),
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abuse_a096_text_of_strangers_stays_in_its_line() {
        let shown = Printable("a'é\"\\ \r\nINFO \u{1b}[2J\u{202e}\u{2028}\u{85}").to_string();
        assert_eq!(shown, "a'é\"\\ \\r\\nINFO \\u{1b}[2J\\u{202e}\\u{2028}\\u{85}");
    }
}
