//! Message styling (XEP-0393): bold, italics, code and quotations in plain text.
//!
//! The result is flat: lines, and within them runs of text with one style each, directives among them. Nothing that is
//! sent can make it deep, and it takes time in proportion to the text.

use xmpp_core::payload::Payload;

/// `urn:xmpp:styling:0`.
pub const NS: &str = "urn:xmpp:styling:0";

/// So many levels of quotation are told apart; `>` beyond them is text.
pub const MOST_QUOTES: u8 = 16;

/// The body is not to be styled (§6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "unstyled", ns = NS)]
pub struct Unstyled;

/// A line of a body. Put together again, [`prefix`](Self::prefix) and the runs' texts are the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// How deep it stands in quotations (§5.1.3).
    pub quotes: u8,
    /// The marks of quotation before it, and the blanks that belong to them.
    pub prefix: &'a str,
    /// Part of a preformatted block (§5.1.2): of its text, or one of the lines that enclose it.
    pub preformatted: Preformatted,
    /// What stands in it.
    pub runs: Vec<Run<'a>>,
}

/// Whether a line belongs to a preformatted block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preformatted {
    /// No.
    #[default]
    No,
    /// It is text in one.
    Text,
    /// It begins or ends one.
    Fence,
}

/// Text in one style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The text.
    pub text: &'a str,
    /// Its style.
    pub style: Style,
    /// It is a styling directive, which is shown in the style that it makes (§7).
    pub directive: bool,
}

/// How text is to look (§5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Style {
    /// `_emphasis_`, in italics.
    pub emphasis: bool,
    /// `*strong*`, in bold.
    pub strong: bool,
    /// `~struck~`, with a line through it.
    pub struck: bool,
    /// `` `pre` ``, in a monospace font.
    pub code: bool,
}

impl Style {
    fn with(mut self, directive: u8) -> Style {
        match directive {
            b'_' => self.emphasis = true,
            b'*' => self.strong = true,
            b'~' => self.struck = true,
            _ => self.code = true,
        }
        self
    }
}

/// Reads the styling of a body. Its lines are what `\n` separates.
///
/// ```
/// use xmpp_im::message::styling::parse;
/// let lines = parse("> hold *me*");
/// assert_eq!((lines[0].quotes, lines[0].prefix), (1, "> "));
/// let bold: String = lines[0].runs.iter().filter(|run| run.style.strong && !run.directive).map(|run| run.text).collect();
/// assert_eq!(bold, "me");
/// ```
pub fn parse(body: &str) -> Vec<Line<'_>> {
    // The depth of the preformatted block that is open.
    let mut fence: Option<u8> = None;
    body.split('\n')
        .map(|line| {
            if let Some(depth) = fence {
                let (quotes, text) = unquoted(line, depth);
                // A line with fewer marks ends the quotation, and the block in it.
                if quotes == depth {
                    let ends = text == "```";
                    fence = (!ends).then_some(depth);
                    return whole(line, text, depth, if ends { Preformatted::Fence } else { Preformatted::Text });
                }
            }
            let (quotes, text) = unquoted(line, MOST_QUOTES);
            let begins = text.starts_with("```");
            fence = begins.then_some(quotes);
            if begins {
                return whole(line, text, quotes, Preformatted::Fence);
            }
            Line { quotes, prefix: before(line, text), preformatted: Preformatted::No, runs: spans(text) }
        })
        .collect()
}

/// Without at most `most` marks of quotation, each with one blank behind it: how many there were, and the rest.
fn unquoted(line: &str, most: u8) -> (u8, &str) {
    let (mut quotes, mut rest) = (0, line);
    while quotes < most {
        let Some(inner) = rest.strip_prefix('>') else { break };
        rest = inner.strip_prefix(char::is_whitespace).unwrap_or(inner);
        quotes += 1;
    }
    (quotes, rest)
}

fn before<'a>(line: &'a str, rest: &str) -> &'a str {
    line.get(..line.len().saturating_sub(rest.len())).unwrap_or_default()
}

fn whole<'a>(line: &'a str, text: &'a str, quotes: u8, preformatted: Preformatted) -> Line<'a> {
    let style = Style { code: true, ..Style::default() };
    let runs = if text.is_empty() {
        Vec::new()
    } else {
        vec![Run { text, style, directive: preformatted == Preformatted::Fence }]
    };
    Line { quotes, prefix: before(line, text), preformatted, runs }
}

/// A character that may be a directive.
struct Mark {
    at: usize,
    directive: u8,
    /// It is followed by something else than a blank.
    opens: bool,
    /// It stands at the beginning or behind a blank.
    apart: bool,
    /// The next of its kind that can close a span, among the marks.
    closed_by: Option<usize>,
}

/// All that may be directives, each with what would close it.
fn marks(text: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut closes = Vec::new();
    let mut last: Option<char> = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if let '*' | '_' | '~' | '`' = character {
            let opens = characters.peek().is_some_and(|(_, next)| !next.is_whitespace());
            let apart = last.is_none_or(char::is_whitespace);
            closes.push(!apart);
            let directive = u8::try_from(character).unwrap_or(b'*');
            marks.push(Mark { at, directive, opens, apart, closed_by: None });
        }
        last = Some(character);
    }
    let mut next = [None; 4];
    for (number, (mark, closes)) in marks.iter_mut().zip(&closes).enumerate().rev() {
        let kind = match mark.directive {
            b'*' => &mut next[0],
            b'_' => &mut next[1],
            b'~' => &mut next[2],
            _ => &mut next[3],
        };
        mark.closed_by = *kind;
        if *closes {
            *kind = Some(number);
        }
    }
    marks
}

/// The spans of a line (§5.2): from left to right, each closed by the first directive that can. A span holds no other
/// of its kind, so that there are never more than four within each other.
fn spans(text: &str) -> Vec<Run<'_>> {
    let marks = marks(text);
    let mut runs = Runs { text, done: 0, runs: Vec::new() };
    // The spans that are open: the mark that closes each, and the style in it.
    let mut open: Vec<(usize, Style)> = Vec::new();
    // Where an opening directive has just ended.
    let mut opened = None;
    let mut number = 0;
    while let Some(mark) = marks.get(number) {
        let style = open.last().map_or_else(Style::default, |(_, style)| *style);
        if open.last().is_some_and(|(close, _)| *close == number) {
            runs.text_until(mark.at, style);
            runs.directive(mark.at, style);
            open.pop();
            number += 1;
            continue;
        }
        let may_open = mark.opens && (mark.apart || opened == Some(mark.at));
        let bound = open.last().map_or(marks.len(), |(close, _)| *close);
        let close = mark.closed_by.filter(|close| may_open && *close < bound);
        match close.and_then(|close| Some((close, marks.get(close)?.at))) {
            // Nothing stands between them: neither counts.
            Some((close, at)) if at == mark.at + 1 => number = close + 1,
            Some((close, at)) => {
                let inner = style.with(mark.directive);
                runs.text_until(mark.at, style);
                runs.directive(mark.at, inner);
                opened = Some(mark.at + 1);
                open.push((close, inner));
                number += 1;
                if mark.directive == b'`' {
                    runs.text_until(at, inner);
                    number = close;
                }
            }
            None => number += 1,
        }
    }
    runs.text_until(text.len(), Style::default());
    runs.runs
}

struct Runs<'a> {
    text: &'a str,
    done: usize,
    runs: Vec<Run<'a>>,
}

impl Runs<'_> {
    fn text_until(&mut self, end: usize, style: Style) {
        self.push(end, style, false);
    }

    fn directive(&mut self, at: usize, style: Style) {
        self.push(at + 1, style, true);
    }

    fn push(&mut self, end: usize, style: Style, directive: bool) {
        if let Some(text) = self.text.get(self.done..end).filter(|text| !text.is_empty()) {
            self.runs.push(Run { text, style, directive });
            self.done = end;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is styled in a line, directives included, as `[style text]`.
    fn styled(text: &str) -> String {
        let mut out = String::new();
        let mut last = Style::default();
        for run in parse(text).into_iter().flat_map(|line| line.runs) {
            if run.style != last {
                out.push('|');
            }
            let Style { emphasis, strong, struck, code } = run.style;
            for (set, letter) in [(emphasis, 'e'), (strong, 'b'), (struck, 's'), (code, 'c')] {
                if set && run.style != last {
                    out.push(letter);
                }
            }
            if run.style != last {
                out.push(':');
            }
            last = run.style;
            out.push_str(run.text);
        }
        out
    }

    #[test]
    fn xep0393_5_2_examples_of_spans() {
        for (text, expected) in [
            ("plain span", "plain span"),
            ("*strong span*", "|b:*strong span*"),
            ("plain _emphasis_ plain", "plain |e:_emphasis_|: plain"),
            ("`pre` plain *strong*", "|c:`pre`|: plain |b:*strong*"),
            ("*strong*plain*", "|b:*strong*|:plain*"),
            ("* plain *strong*", "* plain |b:*strong*"),
            ("not strong*", "not strong*"),
            ("*not strong", "*not strong"),
            ("*not \n strong*", "*not  strong*"),
            ("*not *strong", "*not *strong"),
            ("**", "**"),
            ("***", "***"),
            ("****", "****"),
            ("Everyone ~dis~likes cake.", "Everyone |s:~dis~|:likes cake."),
            ("This is `*monospace*`", "This is |c:`*monospace*`"),
            ("This is *`monospace and bold`*", "This is |b:*|bc:`monospace and bold`|b:*"),
            ("*a _b* c_", "|b:*a _b*|: c_"),
            ("_*~`all`~*_", "|e:_|eb:*|ebs:~|ebsc:`all`|ebs:~|eb:*|e:_"),
        ] {
            assert_eq!(styled(text), expected, "{text:?}");
        }
    }

    fn shape(text: &str) -> Vec<(u8, Preformatted)> {
        parse(text).iter().map(|line| (line.quotes, line.preformatted)).collect()
    }

    #[test]
    fn xep0393_5_1_examples_of_blocks() {
        use Preformatted::{Fence, No, Text};
        let code = "```ignored\n(println \"Hello, world!\")\n```\nplain";
        assert_eq!(shape(code), [(0, Fence), (0, Text), (0, Fence), (0, No)]);
        let quoted = "> ```\n> (println \"Hello, world!\")\n\nplain";
        assert_eq!(shape(quoted), [(1, Fence), (1, Text), (0, No), (0, No)]);
        assert_eq!(shape(">> That that is, is.\n> Said the old\nWho?"), [(2, No), (1, No), (0, No)]);
        let inner = "> ```\n>> *text*\n> ```";
        assert_eq!(parse(inner)[1].runs[0].text, "> *text*", "marks in a block are its text");
        assert_eq!(shape(inner), [(1, Fence), (1, Text), (1, Fence)]);
    }

    /// The same, with recursion and without any table: what stands at each byte.
    fn naive(text: &str, style: Style, out: &mut Vec<Style>) {
        let mut at = 0;
        let mut after_opening = true;
        while let Some(character) = text[at..].chars().next() {
            let next = at + character.len_utf8();
            let apart = after_opening || text[..at].chars().next_back().is_none_or(char::is_whitespace);
            let opens = apart && text[next..].chars().next().is_some_and(|c| !c.is_whitespace());
            after_opening = false;
            if "*_~`".contains(character) && opens {
                let closes = |i: usize| !text[..i].ends_with(char::is_whitespace);
                let close = text[next..].match_indices(character).map(|(i, _)| next + i).find(|i| closes(*i));
                match close {
                    Some(close) if close == next => {
                        out.extend([style, style]);
                        at = next + 1;
                        continue;
                    }
                    Some(close) => {
                        let inner = style.with(character as u8);
                        out.push(inner);
                        if character == '`' {
                            out.extend(std::iter::repeat_n(inner, close - next));
                        } else {
                            naive(&text[next..close], inner, out);
                        }
                        out.push(inner);
                        at = close + 1;
                        continue;
                    }
                    None => {}
                }
            }
            out.extend(std::iter::repeat_n(style, character.len_utf8()));
            at = next;
        }
    }

    proptest! {
        #[test]
        fn a_line_has_the_styles_that_the_rules_give_it(text in "[a *_~`é]{0,24}") {
            let mut expected = Vec::new();
            naive(&text, Style::default(), &mut expected);
            let runs = spans(&text);
            let found: Vec<Style> = runs.iter().flat_map(|run| std::iter::repeat_n(run.style, run.text.len())).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn nothing_is_lost(text in "([>`*_~ \n\u{a0}]|.){0,80}") {
            let lines = parse(&text);
            let back: Vec<String> = lines
                .iter()
                .map(|line| line.runs.iter().fold(line.prefix.to_owned(), |all, run| all + run.text))
                .collect();
            prop_assert_eq!(back.join("\n"), text);
        }
    }

    #[test]
    fn what_is_sent_can_neither_nest_without_end_nor_take_quadratic_time() {
        let size = 200_000;
        for pattern in ["*a ", " *", "*_~`", ">", "> ", "_a*", "`a ", "*\n", "> ```\n", "~a~ "] {
            let text = pattern.repeat(size / pattern.len());
            let lines = parse(&text);
            assert!(lines.iter().all(|line| line.quotes <= MOST_QUOTES));
            let runs: usize = lines.iter().map(|line| line.runs.len()).sum();
            assert!(runs <= 2 * size, "{pattern:?}: {runs}");
        }
    }
}
