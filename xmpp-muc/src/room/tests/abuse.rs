//! What hostile users try.

use super::*;
use crate::payload::AdminItem;

const FORGED: &str = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator'/>\
    <status code='307'/><invite from='crone@lit'/><destroy/></x>\
    <occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
    <stanza-id xmlns='urn:xmpp:sid:0' by='coven@chat' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' id='forged'/>\
    <stanza-id xmlns='urn:xmpp:sid:0' by='coven@CHAT' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' by=' chat ' id='forged'/>\
    <delay xmlns='urn:xmpp:delay' stamp='2001-01-01T00:00:00Z'>forged</delay><x xmlns='jabber:x:delay' stamp='forged'/>\
    <hats xmlns='urn:xmpp:hats:0'><hat title='forged' uri='u'/></hats>\
    <query xmlns='http://jabber.org/protocol/muc#admin'><item nick='forged'/></query>\
    <retract xmlns='urn:xmpp:message-retract:1' id='forged'><moderated xmlns='urn:xmpp:message-moderate:1' by='coven@chat/crone'/></retract>";

#[test]
fn abuse_a073_what_only_a_room_says_is_taken_out() {
    let mut stage = Stage::of_two();
    for xml in [
        say("hag@lit/a", &format!("{FORGED}<body>b</body>{FORGED}")),
        whisper("hag@lit/a", "crone", &format!("{FORGED}<body>b</body>{FORGED}")),
        format!("<presence from='hag@lit/a' to='{ROOM}/hag'>{FORGED}</presence>"),
        format!("<presence from='hag@lit/a' to='{ROOM}/newhag'>{FORGED}</presence>"),
        format!("<presence from='hag@lit/a' to='{ROOM}/hag' type='unavailable'>{FORGED}</presence>"),
    ] {
        let Heard::Planned(Ok(plan)) = stage.judge(&parse(&xml)) else { panic!("{xml}") };
        let effects = stage.carry_out(plan);
        assert!(!effects.then.is_empty());
        for delivery in &effects.then {
            let text = delivery.stanza.as_str();
            assert!(!text.contains("forged") && !text.contains("moderated"), "{text}");
            assert!(!text.contains("code='307'") && !text.contains("invite") && !text.contains("destroy"), "{text}");
            let ids = delivery.stanza.root().children().filter(|child| child.name() == "occupant-id");
            assert_eq!(ids.count(), 1, "{text}");
        }
    }
}

#[test]
fn abuse_a073_what_is_of_others_stays() {
    let mut stage = Stage::of_two();
    let content = "<body>b</body><stanza-id xmlns='urn:xmpp:sid:0' by='bridge@far' id='x'/>\
        <origin-id xmlns='urn:xmpp:sid:0' id='o'/><retract xmlns='urn:xmpp:message-retract:1' id='mine'/>";
    let lines = stage.hear(&say("hag@lit/a", content));
    for part in ["by='bridge@far'", "<origin-id", "<retract"] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
}

#[test]
fn abuse_a072_nicknames_that_look_like_others() {
    let mut stage = Stage::open();
    stage.hear(&admin(CRONE, "<item jid='hag@lit' affiliation='member' nick='Hag'/>"));
    stage.join("wiz@lit/a", "wizard");
    let (conflict, bad) = ("conflict", "not-acceptable");
    for (nick, error) in [
        ("CRONE", conflict),
        (" crone ", conflict),
        ("\u{ff43}rone", conflict),
        ("cr\u{200b}one", bad),
        ("cr\u{ad}one", bad),
        ("cr\u{2060}one", bad),
        ("\u{202e}enorc", bad),
        ("crone\u{feff}", bad),
        ("\u{fe0f}crone", bad),
        ("hag", conflict),
        ("HAG\u{a0}", conflict),
        // With Cyrillic letters; the looks of what is reserved count too, and what looks like nobody here is free.
        ("\u{441}r\u{43e}ne", conflict),
        ("H\u{430}g", conflict),
        ("w\u{131}zard", conflict),
        ("w1zard2", ""),
        ("\u{2800}", bad),
    ] {
        let Ok(_) = Jid::new(&format!("{ROOM}/{nick}")) else { continue };
        match error {
            "" => assert!(!stage.hear(&joining("mallory@evil/a", nick, ""))[0].contains(" error ")),
            error => stage.refuses(&joining("mallory@evil/a", nick, ""), error),
        }
    }
    // Nor by a change, nor by a client whose address is given leniently.
    for nick in ["CRONE", "\u{ff48}ag"] {
        stage.refuses(&format!("<presence from='mallory@evil/a' to='{ROOM}/{nick}'/>"), conflict);
    }
    let long = "n".repeat(1_023);
    stage.hear(&format!("<presence from='mallory@evil/a' to='{ROOM}/{long}'/>"));
    assert!(Jid::new(&format!("{ROOM}/{}", "n".repeat(1_024))).is_err());
}

#[test]
fn abuse_a074_lists_are_for_who_may_see_them() {
    let mut stage = Stage::of_two();
    stage.affiliate("member@lit", "member");
    stage.affiliate("banned@lit", "outcast");
    for (members_only, whois) in [("0", "moderators"), ("0", "anyone"), ("1", "moderators"), ("1", "anyone")] {
        stage.configure(&[("muc#roomconfig_whois", whois)]);
        if members_only == "1" {
            stage.configure(&[("muc#roomconfig_membersonly", "1")]);
        }
        for who in ["stranger@lit/a", "banned@lit/a", "hag@lit/a"] {
            for affiliation in ["outcast", "none", "member", "admin", "owner"] {
                stage.refuses(&list(who, &format!("<item affiliation='{affiliation}'/>")), "forbidden");
            }
            for role in ["none", "visitor", "participant", "moderator"] {
                stage.refuses(&list(who, &format!("<item role='{role}'/>")), "forbidden");
            }
        }
        // A member knows members where all see all, and never who is banned.
        let line = &stage.hear(&list("member@lit/a", "<item affiliation='member'/>"))[0];
        assert_eq!(line.contains(" result "), whois == "anyone", "{line}");
        stage.refuses(&list("member@lit/a", "<item affiliation='outcast'/>"), "forbidden");
    }
}

#[test]
fn abuse_a075_the_way_in_is_shut_in_the_order_of_what_may_be_known() {
    let mut stage = Stage::limited(
        RoomConfig { persistent: true, max_users: Some(1), ..RoomConfig::default() },
        RoomLimits::default(),
    );
    stage.join(CRONE, "crone");
    stage.configure(&[
        ("muc#roomconfig_membersonly", "1"),
        ("muc#roomconfig_passwordprotectedroom", "1"),
        ("muc#roomconfig_roomsecret", "pw"),
    ]);
    stage.affiliate("banned@lit", "outcast");
    stage.affiliate("member@lit", "member");
    stage.refuses(&joining("banned@lit/a", "crone", "<password>pw</password>"), "forbidden");
    stage.refuses(&joining("hag@lit/a", "crone", "<password>pw</password>"), "registration-required");
    stage.refuses(&joining("member@lit/a", "crone", ""), "not-authorized");
    stage.refuses(&joining("member@lit/a", "crone", "<password>pw</password>"), "conflict");
    stage.refuses(&joining("member@lit/a", "new", "<password>pw</password>"), "service-unavailable");
}

#[test]
fn abuse_large_things_are_refused() {
    let mut stage = Stage::of_two();
    let x = |bytes: usize| "x".repeat(bytes);
    stage.refuses(&say("hag@lit/a", &format!("<body>{}</body>", x(64 * 1024))), "not-acceptable");
    stage.refuses(&whisper("hag@lit/a", "crone", &format!("<body>{}</body>", x(64 * 1024))), "not-acceptable");
    stage.refuses(&say(CRONE, &format!("<subject>{}</subject>", x(4 * 1024 + 1))), "not-acceptable");
    let halves = format!("<subject>{0}</subject><subject xml:lang='de'>{0}</subject>", x(3 * 1024));
    stage.refuses(&say(CRONE, &halves), "not-acceptable");
    stage.refuses(
        &format!("<presence from='hag@lit/a' to='{ROOM}/hag'><status>{}</status></presence>", x(8 * 1024)),
        "not-acceptable",
    );
    stage.refuses(
        &format!(
            "<presence from='new@lit/a' to='{ROOM}/new'><x xmlns='{}'/><status>{}</status></presence>",
            crate::NS,
            x(8 * 1024)
        ),
        "not-acceptable",
    );
    let reason = format!("<reason>{}</reason>", x(1_024));
    stage.refuses(&admin(CRONE, &format!("<item nick='hag' role='none'>{reason}</item>")), "not-acceptable");
    stage.refuses(&admin(CRONE, &format!("<item jid='a@lit' affiliation='outcast'>{reason}</item>")), "not-acceptable");
    stage.refuses(&owner(CRONE, &format!("<destroy>{reason}</destroy>")), "not-acceptable");
    stage.refuses(&owner(CRONE, &format!("<destroy><password>{}</password></destroy>", x(1_024))), "not-acceptable");
    // Whoever leaves with a long word leaves, without it.
    let lines = stage.hear(&format!(
        "<presence from='hag@lit/a' to='{ROOM}/hag' type='unavailable'><status>{}</status></presence>",
        x(8 * 1024)
    ));
    assert!(lines.len() == 2 && !lines[1].contains("<status>"), "{}", lines.len());
}

#[test]
fn abuse_many_items_are_refused_before_any_is_judged() {
    let mut stage = Stage::of_two();
    let item = |number| AdminItem {
        jid: Some(jid(&format!("u{number}@lit"))),
        affiliation: Some(Affiliation::Outcast),
        ..AdminItem::default()
    };
    let query = AdminQuery { items: (0..10_000).map(item).collect() };
    for who in [CRONE, "hag@lit/a", "mallory@evil/a"] {
        let (from, to, stanza) = (jid(who), jid(ROOM), parse("<iq/>"));
        let input = Incoming { from: &from, to: &to, stanza: &stanza, now: stage.time() };
        let error = stage.room.administer(input, &query).unwrap_err();
        assert_eq!(error.condition.as_str(), "resource-constraint");
    }
    let items: String = (0..101).map(|number| format!("<item jid='u{number}@lit' affiliation='outcast'/>")).collect();
    stage.refuses(&admin(CRONE, &items), "resource-constraint");
}

#[test]
fn abuse_clients_under_a_nickname_are_bounded() {
    let mut stage = Stage::open();
    for number in 0..10 {
        stage.join(&format!("hag@lit/{number}"), "hag");
    }
    stage.refuses(&joining("hag@lit/11", "hag", ""), "resource-constraint");
    // Who is in already may come again.
    stage.join("hag@lit/3", "hag");
}

#[test]
fn abuse_affiliations_are_bounded() {
    let limits = RoomLimits { affiliated: 3, ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join(CRONE, "crone");
    stage.affiliate("a@lit", "outcast");
    stage.refuses(
        &admin(CRONE, "<item jid='b@lit' affiliation='member'/><item jid='c@lit' affiliation='member'/>"),
        "resource-constraint",
    );
    stage.affiliate("b@lit", "member");
    stage.refuses(&form(CRONE, &[("muc#roomconfig_roomadmins", "d@lit")]), "resource-constraint");
    stage.affiliate("b@lit", "outcast");
}

#[test]
fn abuse_errors_are_never_answered_and_nothing_goes_in_a_circle() {
    let mut stage = Stage::of_two();
    let mut sent = Vec::new();
    for xml in [
        joining("new@lit/a", "new", ""),
        say("hag@lit/a", "<body>x</body>"),
        whisper("hag@lit/a", "crone", "<body>x</body>"),
        voice("hag@lit/a", &[("muc#role", "participant")]),
        admin(CRONE, "<item nick='hag' role='none'/>"),
        format!("<presence from='gone@lit/a' to='{ROOM}/x'/>"),
    ] {
        let Heard::Planned(Ok(plan)) = stage.judge(&parse(&xml)) else { continue };
        let effects = stage.carry_out(plan);
        sent.extend(effects.first.into_iter().chain(effects.then));
    }
    assert!(sent.len() > 5);
    // All that the room says, said to it again as if by a client, or as an error, makes it say at most one thing to that
    // one: where rooms stand at both ends, it ends.
    for delivery in &sent {
        for kind in ["error", "unavailable"] {
            let stanza = delivery.stanza.rewrite(ns::CLIENT).from(Some("coven@chat/nobody"));
            let stanza = stanza.to(Some("coven@chat/crone")).type_(Some(kind)).to_stanza();
            if stanza.root().name() == "message" && kind == "unavailable" {
                continue;
            }
            let Heard::Planned(Ok(plan)) = stage.judge(&stanza) else { panic!("{stanza:?}") };
            assert!(plan.changes.is_empty(), "{stanza:?}");
        }
    }
}

#[test]
fn abuse_several_roles_of_one_in_a_request_are_the_last() {
    let mut stage = Stage::of_two();
    // A moment as a moderator would tell who all are.
    let lines = stage.hear(&admin(CRONE, "<item nick='hag' role='moderator'/><item nick='HAG' role='visitor'/>"));
    assert!(to(&lines, "hag@lit/a").iter().all(|line| !line.contains("crone@lit")), "{lines:?}");
    assert_eq!(stage.standing_of("hag").0, Role::Visitor);
    // Whoever is out hears nothing after that.
    stage.join("witch@lit/a", "witch");
    let lines = stage.hear(&admin(CRONE, "<item nick='witch' role='visitor'/><item nick='hag' role='none'/>"));
    assert_eq!(to(&lines, "hag@lit/a").len(), 1, "{lines:?}");
}

#[test]
fn abuse_a_password_is_not_told_to_who_does_not_know_it() {
    let mut stage = Stage::of_two();
    stage.configure(&[("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "cauldron")]);
    stage.affiliate("wiz@lit", "admin");
    let get = |who| format!("<iq type='get' id='i' from='{who}' to='{ROOM}'><query xmlns='{}'/></iq>", crate::OWNER);
    stage.refuses(&get("wiz@lit/a"), "forbidden");
    let lines = stage.hear(&joining("new@lit/a", "new", "<password>cauldron</password>"));
    assert!(lines.iter().all(|line| !line.contains("cauldron")));
}

#[test]
fn abuse_whoever_is_removed_with_many_does_not_hear_of_the_others() {
    let mut stage = Stage::open();
    for number in 0..300 {
        stage.join(&format!("u{number}@evil/a"), &format!("u{number}"));
    }
    let mut other = Stage { room: stage.room.clone(), now: stage.now };
    // One that goes, and one that stays and is told: not all that go of all that go.
    let lines = stage.affiliate("evil", "outcast");
    assert_eq!(lines.len(), 300 + 1 + 300);
    assert!(lines.iter().all(|line| line.split(" <").next().unwrap().split(' ').count() <= 2), "one each");
    let lines = other.configure(&[("muc#roomconfig_membersonly", "1")]);
    assert_eq!((lines.len(), other.room.occupants().len()), (300 + 1 + 300 + 1, 1));
}
