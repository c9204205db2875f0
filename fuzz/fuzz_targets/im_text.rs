//! Bodies: the styling of any text nests, loses nothing and takes time in proportion to the text (XEP-0393), and what is
//! there for older clients can be told from the rest (XEP-0428, XEP-0461).
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_im::message::{
    fallback, me, reply,
    styling::{Line, MOST_QUOTES, Preformatted, Style, parse},
};

fuzz_target!(|text: &str| {
    let lines = parse(text);
    let mut back = Vec::new();
    for line in &lines {
        assert!(line.quotes <= MOST_QUOTES);
        back.push(line.runs.iter().fold(line.prefix.to_owned(), |all, run| all + run.text));
        nests(line);
    }
    assert_eq!(back.join("\n"), text);
    if (1..=4).contains(&text.len()) {
        // What takes the square of its length takes longer than a fuzzer waits.
        drop(parse(&text.repeat(256 * 1024 / text.len())));
    }
    let _ = me::action(text);
    let (quoted, rest) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let (body, range) = reply::quote(quoted, rest);
    assert_eq!(fallback::strip(&body, &[reply::fallback(range)], &[reply::NS]), rest);
});

/// Directives open and close like brackets, and what is between them has the styles that are open.
fn nests(line: &Line<'_>) {
    assert!(line.runs.iter().all(|run| !run.text.is_empty()), "{line:?}");
    if line.preformatted != Preformatted::No {
        return;
    }
    let mut open: Vec<char> = Vec::new();
    for run in &line.runs {
        if !run.directive {
            assert_eq!(run.style, style(&open), "{line:?}");
            continue;
        }
        let directive = run.text.chars().next().filter(|_| run.text.len() == 1).expect("one character");
        if open.contains(&directive) {
            assert_eq!(run.style, style(&open), "{line:?}");
            assert_eq!(open.pop(), Some(directive), "{line:?}");
        } else {
            open.push(directive);
            assert_eq!(run.style, style(&open), "{line:?}");
        }
    }
    assert!(open.is_empty(), "{open:?} of {line:?}");
}

fn style(open: &[char]) -> Style {
    let has = |directive| open.contains(&directive);
    Style { emphasis: has('_'), strong: has('*'), struck: has('~'), code: has('`') }
}
