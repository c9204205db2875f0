//! What was said before (§7.2.13, §7.2.14), and where it comes from (§7.9).

use super::*;

/// Five messages, of which each is a hundred seconds older than the next.
fn stage() -> Stage {
    let mut stage = Stage::open();
    for number in 1..=5 {
        stage.hear(&say(CRONE, &format!("<body>{number}</body>")));
        stage.now += 99;
    }
    stage
}

/// The bodies that somebody gets who asks for so much.
fn bodies(stage: &mut Stage, history: &str) -> String {
    let lines = stage.hear(&joining("hag@lit/a", "hag", history));
    stage.leave("hag@lit/a");
    let of = |line: &&str| line.split_once("<body>").map(|(_, rest)| rest.split('<').next().unwrap().to_owned());
    to(&lines, "hag@lit/a").iter().filter_map(of).collect()
}

#[test]
fn xep0045_7_2_14_the_least_that_all_allow() {
    let mut stage = stage();
    let length = stage.room.history().iter().last().unwrap().stanza.as_str().chars().count();
    let mut expect = |history: &str, expected: &str| assert_eq!(bodies(&mut stage, history), expected, "{history}");
    expect("", "12345");
    expect("<history/>", "12345");
    expect("<history maxstanzas='2'/>", "45");
    expect("<history maxstanzas='0'/>", "");
    expect("<history maxchars='0'/>", "");
    expect(&format!("<history maxchars='{}'/>", 2 * length), "45");
    expect(&format!("<history maxchars='{}'/>", 3 * length - 1), "45");
    expect("<history seconds='250'/>", "45");
    expect("<history since='1970-01-01T00:00:00Z'/>", "12345");
    expect("<history maxstanzas='3' seconds='150'/>", "5");
}

#[test]
fn abuse_a076_what_is_asked_for_is_bounded() {
    let mut stage = stage();
    stage.configure(&[("muc#maxhistoryfetch", "3")]);
    for history in [
        "<history maxstanzas='1000000000'/>",
        "<history maxstanzas='99999999999999999999'/>",
        "<history maxchars='18446744073709551616' seconds='4294967295'/>",
        "<history since='0001-01-01T00:00:00Z'/>",
        "<history since='yesterday' seconds='-1' maxstanzas='x'/>",
    ] {
        assert_eq!(bodies(&mut stage, history), "345", "{history}");
    }
    assert_eq!(bodies(&mut stage, "<history maxstanzas='99999999999999999999' seconds='150'/>"), "5");
    stage.configure(&[("muc#maxhistoryfetch", "4294967295")]);
    let limits = RoomLimits { history: 2, ..RoomLimits::default() };
    let mut small = Stage::limited(RoomConfig { persistent: true, history: u32::MAX, ..RoomConfig::default() }, limits);
    small.join(CRONE, "crone");
    for number in 1..=5 {
        small.hear(&say(CRONE, &format!("<body>{number}</body>")));
    }
    assert_eq!(bodies(&mut small, ""), "45");
}

#[test]
fn abuse_a076_history_has_a_size_too() {
    let limits = RoomLimits { history_bytes: 3_000, ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join(CRONE, "crone");
    for _ in 0..20 {
        stage.hear(&say(CRONE, &format!("<body>{}</body>", "x".repeat(700))));
        assert!(stage.room.history().iter().map(|past| past.stanza.as_str().len()).sum::<usize>() <= 3_000);
    }
    assert_eq!(stage.room.history().len(), 2);
}

#[test]
fn xep0045_7_2_13_only_what_says_something() {
    let mut stage = Stage::open();
    stage.hear(&say(CRONE, "<composing xmlns='http://jabber.org/protocol/chatstates'/>"));
    stage.hear(&say(CRONE, "<body>x</body><no-store xmlns='urn:xmpp:hints'/>"));
    stage.hear(&say(CRONE, "<subject>x</subject>"));
    assert!(stage.room.history().is_empty());
}

#[test]
fn xep0045_7_9_an_owner_tells_what_was_said_elsewhere() {
    let mut stage = Stage::of_two();
    let delay = "<delay xmlns='urn:xmpp:delay' from='other@lit/a' stamp='2001-01-01T00:00:00Z'/>";
    let lines = stage.hear(&say(CRONE, &format!("<body>x</body>{delay}")));
    assert!(lines[0].contains(delay), "{lines:?}");
    let lines = stage.join("witch@lit/a", "witch");
    let past = to(&lines, "witch@lit/a").into_iter().find(|line| line.contains("<body>")).unwrap();
    assert_eq!(past.matches("<delay").count(), 1, "the room adds none: {past}");
    assert!(past.contains(delay));
    // Nobody else may, nor in the name of the room or of nobody.
    let lines = stage.hear(&say("hag@lit/a", &format!("<body>x</body>{delay}")));
    assert!(!lines[0].contains("<delay"), "{lines:?}");
    for from in ["from='coven@chat'", "from='chat'", "from='other@CHAT/x'", "", "from=''", "from=' coven@chat '"] {
        let delay = format!("<delay xmlns='urn:xmpp:delay' {from} stamp='2001-01-01T00:00:00Z'/>");
        let lines = stage.hear(&say(CRONE, &format!("<body>x</body>{delay}")));
        assert!(!lines[0].contains("<delay"), "{lines:?}");
    }
    // A subject has the time at which it was set.
    stage.hear(&say(CRONE, &format!("<subject>s</subject>{delay}")));
    let lines = stage.join("new@lit/a", "new");
    assert_eq!(to(&lines, "new@lit/a").last().unwrap().matches("<delay").count(), 1);
}
