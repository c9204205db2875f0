//! Logs: one line an event, on standard error.

use crate::Outcome;
use std::io::{self, Write};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Starts logging what `filter` says, or the environment variable `RUST_LOG`.
pub(crate) fn start(filter: &str) -> Outcome<()> {
    let filter = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()).unwrap_or_else(|| filter.to_owned());
    let parsed = EnvFilter::builder().parse(&filter).map_err(|error| format!("{filter:?} is no log level: {error}"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(parsed).with_ansi(false).with_writer(Lines);
    subscriber.try_init()
}

struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = EventWriter<io::Stderr>;
    fn make_writer(&'a self) -> Self::Writer {
        EventWriter(io::stderr())
    }
}

/// Gets a whole event with each write. Whatever a field's text came from, it must not look like another event, nor
/// speak to the terminal (ABUSE A096).
struct EventWriter<W>(W);

impl<W: Write> Write for EventWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn one_line(event: &str) -> String {
    let text = event.strip_suffix('\n').unwrap_or(event);
    let mut line = String::with_capacity(event.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn abuse_a096_no_text_starts_a_line_or_speaks_to_the_terminal() {
        assert_eq!(
            one_line("INFO a\nINFO b\r\x1b[31m\u{85}\u{202e}ü\n"),
            "INFO a\\nINFO b\\r\\u{1b}[31m\\u{85}\\u{202e}ü\n"
        );
        assert_eq!(one_line("no end"), "no end\n");
    }
}
