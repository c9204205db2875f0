//! What a room may hold: as much as there may be is taken, and the next is refused, or takes the place of the oldest.

use super::*;

/// A bound, what comes before it is met, the last that is within, and the first that is not.
struct Bound {
    name: &'static str,
    limits: RoomLimits,
    before: Vec<String>,
    last: String,
    more: String,
    condition: &'static str,
}

fn x(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn bans(users: std::ops::Range<usize>) -> String {
    admin(CRONE, &users.map(|number| format!("<item jid='u{number}@lit' affiliation='outcast'/>")).collect::<String>())
}

fn invites(count: usize, reason: usize) -> String {
    let reason = format!("<reason>{}</reason>", x(reason));
    let invites: String = (0..count).map(|number| format!("<invite to='u{number}@lit'>{reason}</invite>")).collect();
    format!("<message from='{CRONE}' to='{ROOM}'><x xmlns='{USER}'>{invites}</x></message>")
}

fn decline(reason: usize) -> String {
    let decline = format!("<decline to='crone@lit'><reason>{}</reason></decline>", x(reason));
    format!("<message from='u0@lit/a' to='{ROOM}'><x xmlns='{USER}'>{decline}</x></message>")
}

fn bounds() -> Vec<Bound> {
    let none = RoomLimits::default;
    let crone = || joining(CRONE, "crone", "");
    let hag = || joining("hag@lit/a", "hag", "");
    let kick =
        |reason: usize| admin(CRONE, &format!("<item nick='hag' role='none'><reason>{}</reason></item>", x(reason)));
    let destroy =
        |content: &str, bytes: usize| owner(CRONE, &format!("<destroy><{content}>{}</{content}></destroy>", x(bytes)));
    let moderate = |reason: usize| {
        let reason = format!("<reason>{}</reason>", x(reason));
        let retract = format!("<retract xmlns='urn:xmpp:message-retract:1'/>{reason}");
        format!(
            "<iq type='set' id='i' from='{CRONE}' to='{ROOM}'>\
             <moderate xmlns='urn:xmpp:message-moderate:1' id='1'>{retract}</moderate></iq>"
        )
    };
    let status =
        |bytes: usize| format!("<presence from='{CRONE}' to='{ROOM}/crone'><status>{}</status></presence>", x(bytes));
    let entering = |bytes: usize| {
        joining("hag@lit/a", "hag", "").replace("</presence>", &format!("<status>{}</status></presence>", x(bytes)))
    };
    let body = |bytes: usize| say(CRONE, &format!("<body>{}</body>", x(bytes)));
    let private = |bytes: usize| whisper(CRONE, "hag", &format!("<body>{}</body>", x(bytes)));
    let subject =
        |bytes: usize| say(CRONE, &format!("<subject>{}</subject><subject xml:lang='de'>12345</subject>", x(bytes)));
    let plain = |xml: String| announce::plain(&parse(&xml)).as_str().len();
    let named = |bytes: usize| form(CRONE, &[("muc#roomconfig_roomname", &x(bytes))]);
    let bound = |name, limits, before, last, more, condition| Bound { name, limits, before, last, more, condition };
    let full = "service-unavailable";
    let much = "resource-constraint";
    let large = "not-acceptable";
    vec![
        bound(
            "occupants",
            RoomLimits { occupants: 2, reserve: 1, ..none() },
            vec![hag()],
            joining("a@lit/a", "a", ""),
            joining("b@lit/a", "b", ""),
            full,
        ),
        bound(
            "reserve",
            RoomLimits { occupants: 1, reserve: 1, ..none() },
            vec![hag(), admin(CRONE, "<item jid='wiz@lit' affiliation='admin'/>")],
            crone(),
            joining("wiz@lit/a", "wiz", ""),
            full,
        ),
        bound(
            "visits",
            RoomLimits { visits: 2, ..none() },
            vec![hag()],
            joining("hag@lit/b", "hag", ""),
            joining("hag@lit/c", "hag", ""),
            much,
        ),
        bound("affiliated", RoomLimits { affiliated: 4, ..none() }, vec![bans(0..2)], bans(2..3), bans(3..4), much),
        bound(
            "presence",
            RoomLimits { presence_bytes: plain(status(90)), ..none() },
            vec![crone()],
            status(90),
            status(91),
            large,
        ),
        bound(
            "presence of who enters",
            RoomLimits { presence_bytes: plain(entering(90)), ..none() },
            vec![],
            entering(90),
            entering(91).replace("hag", "cat"),
            large,
        ),
        bound(
            "message",
            RoomLimits { message_bytes: body(90).len(), ..none() },
            vec![crone()],
            body(90),
            body(91),
            large,
        ),
        bound(
            "private message",
            RoomLimits { message_bytes: private(90).len(), ..none() },
            vec![crone(), hag()],
            private(90),
            private(91),
            large,
        ),
        bound(
            "reason of a kick",
            RoomLimits { reason_bytes: 9, ..none() },
            vec![crone(), hag(), joining("b@lit/a", "b", "")],
            kick(9).replace("hag", "b"),
            kick(10),
            large,
        ),
        bound(
            "reason of an end",
            RoomLimits { reason_bytes: 9, ..none() },
            vec![crone()],
            destroy("reason", 9),
            destroy("reason", 10),
            large,
        ),
        bound(
            "password of an end",
            RoomLimits { reason_bytes: 9, ..none() },
            vec![crone()],
            destroy("password", 9),
            destroy("password", 10),
            large,
        ),
        bound(
            "reason of a retraction",
            RoomLimits { reason_bytes: 9, ..none() },
            vec![crone()],
            moderate(9),
            moderate(10),
            large,
        ),
        bound(
            "reason of an invitation",
            RoomLimits { reason_bytes: 9, ..none() },
            vec![crone()],
            invites(1, 9),
            invites(1, 10),
            large,
        ),
        bound(
            "reason of a decline",
            RoomLimits { reason_bytes: 9, ..none() },
            vec![crone(), invites(1, 0), decline(0), invites(1, 0)],
            decline(9),
            decline(10),
            large,
        ),
        bound("items", RoomLimits { items: 3, ..none() }, vec![], bans(0..3), bans(0..4), much),
        bound(
            "invitations",
            RoomLimits { invitations: 3, ..none() },
            vec![crone()],
            invites(3, 0),
            invites(4, 0),
            much,
        ),
        bound("subject", RoomLimits { subject_bytes: 14, ..none() }, vec![crone()], subject(9), subject(10), large),
        bound("name", none(), vec![], named(crate::config::MAX_TEXT), named(crate::config::MAX_TEXT + 1), large),
    ]
}

#[test]
fn abuse_each_bound_takes_what_is_within_and_refuses_one_more() {
    let config = RoomConfig { persistent: true, ..RoomConfig::default() };
    for Bound { name, limits, before, last, more, condition } in bounds() {
        let stage = |last: &[&String]| {
            let mut stage = Stage::limited(config.clone(), limits.clone());
            for xml in before.iter().chain(last.iter().copied()) {
                let lines = stage.hear(xml);
                assert!(!lines.iter().any(|line| line.contains(" error ")), "{name}: {lines:?}");
            }
            stage
        };
        // What is large is refused by itself, what is many after the last.
        let mut small = stage(&[]);
        if condition == "not-acceptable" || matches!(name, "items" | "invitations") {
            small.refuses(&more, condition);
            assert!(!small.hear(&last).iter().any(|line| line.contains(" error ")), "{name}");
        } else {
            stage(&[&last]).refuses(&more, condition);
        }
    }
}

#[test]
fn abuse_each_memory_keeps_so_many_and_the_latest() {
    let limits = RoomLimits { history: 3, voices: 3, invitations: 1, ..RoomLimits::default() };
    let config = RoomConfig { persistent: true, moderated: true, ..RoomConfig::default() };
    let mut stage = Stage::limited(config, limits);
    stage.join(CRONE, "crone");
    let mut kept = Vec::new();
    for number in 0..150 {
        let (nick, client) = (format!("u{number}"), format!("u{number}@lit/a"));
        stage.join(&client, &nick);
        stage.hear(&voice(&client, &[("muc#role", "participant")]));
        stage.role(&nick, "participant");
        stage.hear(&say(&client, &format!("<body>{number}</body>")));
        stage.hear(&whisper(&client, "crone", "<body>psst</body>"));
        stage.hear(&invites(1, 0).replace("u0", &format!("guest{number}")));
        stage.leave(&client);
        let room = &stage.room;
        let voices = (0..=number).filter(|number| room.voices.of(&bare(&format!("u{number}@lit"))).is_some()).count();
        kept.push([room.history.len(), voices, room.invitations.len(), room.petitions.len(), room.whispers.len()]);
    }
    for (at, bound) in [3, 3, 10, 100, 100].into_iter().enumerate() {
        let all: Vec<usize> = kept.iter().map(|kept| kept[at]).collect();
        let expected: Vec<usize> = (1..=150).map(|number| number.min(bound)).collect();
        assert_eq!(all, expected, "{at}");
    }
    assert!(stage.room.voices.of(&bare("u149@lit")).is_some() && stage.room.voices.of(&bare("u146@lit")).is_none());
}

#[test]
fn abuse_history_is_bounded_to_the_byte() {
    let said = |bytes: usize| {
        let mut stage =
            Stage::limited(RoomConfig::default(), RoomLimits { history_bytes: bytes, ..RoomLimits::default() });
        stage.join(CRONE, "crone");
        for _ in 0..3 {
            stage.hear(&say(CRONE, "<body>double</body>"));
        }
        let all: Vec<usize> = stage.room.history().iter().map(|past| past.stanza.as_str().len()).collect();
        all
    };
    let three: usize = said(usize::MAX).iter().sum();
    assert_eq!((said(three).len(), said(three - 1).len()), (3, 2));
}
