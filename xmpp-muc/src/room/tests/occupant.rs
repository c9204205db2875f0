//! What occupants do: messages, private ones, nicknames, presence, leaving (§7.4 to §7.7, §7.14), requests (§6.6, §16.4).

use super::*;

#[test]
fn xep0045_7_4_a_message_goes_to_all_from_the_occupant_with_its_id() {
    let mut stage = Stage::of_two();
    stage.plays(
        &format!(
            "<message type='groupchat' id='msg1' from='hag@lit/a' to='{ROOM}' xml:lang='en'><body>Harpier cries</body>\
             <html xmlns='http://jabber.org/protocol/xhtml-im'/></message>"
        ),
        "crone@lit/a hag@lit/a <message type='groupchat' id='msg1' from='coven@chat/hag' lang='en'><body>Harpier cries</body>\
         <html xmlns='http://jabber.org/protocol/xhtml-im'/><stanza-id xmlns='urn:xmpp:sid:0' id='archived-1000000003' by='coven@chat'/></message>",
    );
    // Without an id it gets one, the same for all.
    let lines = stage.hear(&format!("<message type='groupchat' from='hag@lit/a' to='{ROOM}'><body>x</body></message>"));
    assert!(lines.len() == 1 && lines[0].contains(" id='*'"), "{lines:?}");
}

#[test]
fn xep0045_7_4_who_may_not_speak() {
    let mut stage = Stage::of_two();
    stage.refuses(&say("guest@lit/a", "<body>x</body>"), "not-acceptable");
    stage.refuses(&say("hag@lit/other", "<body>x</body>"), "not-acceptable");
    stage.role("hag", "visitor");
    stage.refuses(&say("hag@lit/a", "<body>x</body>"), "forbidden");
    // §16.2: an owner too is to be there.
    stage.leave(CRONE);
    stage.refuses(&say(CRONE, "<body>x</body>"), "not-acceptable");
    // Wrong types are refused.
    for kind in ["chat", "normal", "headline"] {
        let xml = format!("<message type='{kind}' from='hag@lit/a' to='{ROOM}'><body>x</body></message>");
        stage.refuses(&xml, "bad-request");
    }
}

#[test]
fn xep0045_7_5_a_private_message() {
    let mut stage = Stage::of_two();
    stage.plays(
        &whisper("hag@lit/a", "CRONE", "<body>I'll give thee a wind.</body>"),
        "crone@lit/a <message type='chat' id='m' from='coven@chat/hag'><body>I'll give thee a wind.</body><x/></message>",
    );
    // The element that says so is there once.
    let x = format!("<body>b</body><x xmlns='{USER}'/>");
    stage.plays(
        &whisper(CRONE, "hag", &x),
        "hag@lit/a <message type='chat' id='m' from='coven@chat/crone'><body>b</body><x/></message>",
    );
    let groupchat = whisper(CRONE, "hag", "<body>b</body>").replace("'chat'", "'groupchat'");
    stage.refuses(&groupchat, "bad-request");
    stage.refuses(&whisper(CRONE, "nobody", "<body>b</body>"), "item-not-found");
    let lines = stage.hear(&whisper(CRONE, "hag", "<body>b</body>").replace("type='chat'", ""));
    assert_eq!(lines.len(), 1, "no type is normal");
}

#[test]
fn xep0045_7_5_who_may_send_private_messages_is_configured() {
    let mut stage = Stage::of_two();
    stage.join("witch@lit/a", "witch");
    stage.role("witch", "visitor");
    for (value, crone, hag, witch) in [
        ("anyone", true, true, true),
        ("participants", true, true, false),
        ("moderators", true, false, false),
        ("none", false, false, false),
    ] {
        stage.configure(&[("muc#roomconfig_allowpm", value)]);
        for (who, may) in [(CRONE, crone), ("hag@lit/a", hag), ("witch@lit/a", witch)] {
            let lines = stage.hear(&whisper(who, "hag", "<body>b</body>"));
            let expected = format!("{who} error forbidden");
            assert_eq!(lines.contains(&expected), !may, "{value}: {lines:?}");
        }
    }
}

#[test]
fn abuse_a078_nobody_reaches_occupants_from_outside() {
    let mut stage = Stage::of_two();
    for nick in ["hag", "nobody"] {
        stage.refuses(&whisper("mallory@evil/a", nick, "<body>x</body>"), "not-acceptable");
        let iq = |child: &str| format!("<iq type='get' id='i' from='mallory@evil/a' to='{ROOM}/{nick}'>{child}</iq>");
        stage.refuses(&iq("<ping xmlns='urn:xmpp:ping'/>"), "not-acceptable");
        stage.refuses(&iq("<vCard xmlns='vcard-temp'/>"), "not-acceptable");
        // §6.6.
        stage.refuses(&iq("<query xmlns='http://jabber.org/protocol/disco#info'/>"), "bad-request");
        stage.refuses(&iq("<query xmlns='http://jabber.org/protocol/disco#items'/>"), "bad-request");
    }
}

#[test]
fn xep0045_7_6_a_nickname_changes() {
    let mut stage = Stage::of_two();
    stage.join("witch@lit/a", "witch");
    stage.plays(
        &format!("<presence from='hag@lit/a' to='{ROOM}/oldhag'><show>xa</show></presence>"),
        "crone@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' nick='oldhag' role='participant'/><status code='303'/></x></presence>
         witch@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' nick='oldhag' role='participant'/><status code='303'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' nick='oldhag' role='participant'/><status code='303'/><status code='110'/></x></presence>
         crone@lit/a <presence from='coven@chat/oldhag'><show>xa</show><x><item affiliation='none' jid='hag@lit/a' role='participant'/></x></presence>
         witch@lit/a <presence from='coven@chat/oldhag'><show>xa</show><x><item affiliation='none' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/oldhag'><show>xa</show><x><item affiliation='none' jid='hag@lit/a' role='participant'/><status code='110'/></x></presence>",
    );
    stage.refuses(&format!("<presence from='hag@lit/a' to='{ROOM}/Witch'/>"), "conflict");
    // The old one is free, and other letters are another nickname of the same.
    stage.join("new@lit/a", "hag");
    let lines = stage.hear(&format!("<presence from='hag@lit/a' to='{ROOM}/OldHag'/>"));
    assert!(lines[0].contains("nick='OldHag'"), "{lines:?}");
    // Changed by the room.
    let lines = stage.hear(&format!("<presence from='hag@lit/a' to='{ROOM}/old  hag'/>"));
    let own = to(&lines, "hag@lit/a");
    assert!(
        own[0].contains("nick='old hag'") && own[1].contains("<status code='210'/><status code='110'/>"),
        "{own:?}"
    );
}

#[test]
fn xep0045_7_6_not_to_that_of_another_client_of_ones_own() {
    let mut stage = Stage::of_two();
    stage.join("hag@lit/b", "second");
    stage.refuses(&format!("<presence from='hag@lit/b' to='{ROOM}/hag'/>"), "conflict");
}

#[test]
fn xep0045_7_7_availability() {
    let mut stage = Stage::of_two();
    stage.plays(
        &format!("<presence id='p' from='hag@lit/a' to='{ROOM}/hag'><show>xa</show><status>gone</status><c xmlns='http://jabber.org/protocol/caps' ver='v'/></presence>"),
        "crone@lit/a <presence from='coven@chat/hag'><show>xa</show><status>gone</status><c xmlns='http://jabber.org/protocol/caps' ver='v'/><x><item affiliation='none' jid='hag@lit/a' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag' id='p'><show>xa</show><status>gone</status><c xmlns='http://jabber.org/protocol/caps' ver='v'/><x><item affiliation='none' jid='hag@lit/a' role='participant'/><status code='110'/></x></presence>",
    );
}

#[test]
fn xep0045_7_14_leaving() {
    let mut stage = Stage::of_two();
    stage.plays(
        &format!("<presence from='hag@lit/a' to='{ROOM}/hag' type='unavailable'><status>gone where the goblins go</status></presence>"),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><status>gone where the goblins go</status><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='110'/></x></presence>
         crone@lit/a <presence from='coven@chat/hag' type='unavailable'><status>gone where the goblins go</status><x><item affiliation='none' jid='hag@lit/a' role='none'/></x></presence>",
    );
    stage.leave(CRONE);
    assert!(stage.room.is_empty() && !stage.room.has_ended(), "it is persistent");
    let mut stage = Stage::new(RoomConfig::default());
    stage.join("hag@lit/a", "hag");
    stage.join("hag@lit/b", "hag");
    stage.leave("hag@lit/a");
    assert!(!stage.room.has_ended());
    stage.leave("hag@lit/b");
    assert!(stage.room.has_ended(), "a temporary room ends with its last occupant");
}

#[test]
fn xep0045_16_4_requests_pass_without_addresses() {
    let mut stage = Stage::of_two();
    stage.join("witch@lit/a", "witch");
    let lines = stage.hear(&format!(
        "<iq type='get' id='v1' from='hag@lit/a' to='{ROOM}/witch'><query xmlns='jabber:iq:version'/></iq>"
    ));
    let asked = lines[0].strip_prefix("witch@lit/a <iq type='get' ").unwrap();
    assert!(!asked.contains("hag@lit") && asked.contains("from='coven@chat/hag'"), "{lines:?}");
    // The id that the other sees, which the transcript hides.
    let input = parse(&format!(
        "<iq type='get' id='v1' from='hag@lit/a' to='{ROOM}/witch'><query xmlns='jabber:iq:version'/></iq>"
    ));
    let Heard::Planned(Ok(plan)) = stage.judge(&input) else { panic!() };
    let effects = stage.carry_out(plan);
    let id = effects.then[0].stanza.root().attr("id").unwrap().into_owned();
    let answer = |from: &str, to: &str| {
        format!("<iq type='result' id='{id}' from='{from}' to='{ROOM}/{to}'><query xmlns='jabber:iq:version'/></iq>")
    };
    stage.plays(
        &answer("witch@lit/a", "hag"),
        "hag@lit/a <iq type='result' id='v1' from='coven@chat/witch'><query xmlns='jabber:iq:version'/></iq>",
    );
    // Only who was asked answers, and only to who asked.
    stage.plays(&answer("crone@lit/a", "hag"), "");
    stage.plays(&answer("witch@lit/a", "crone"), "");
    stage.plays(&answer("witch@lit/a", "witch"), "");
    for id in ["", "-", "x-y", "0000000000000000-v1"] {
        stage.plays(&format!("<iq type='result' id='{id}' from='witch@lit/a' to='{ROOM}/hag'/>"), "");
    }
    stage.refuses(
        &format!("<iq type='get' id='v' from='hag@lit/a' to='{ROOM}/nobody'><ping xmlns='urn:xmpp:ping'/></iq>"),
        "item-not-found",
    );
}

#[test]
fn xep0045_16_4_an_account_answers_for_its_vcard_as_who_was_asked() {
    let mut stage = Stage::of_two();
    stage.join("hag@lit/b", "second");
    let xml = format!("<iq type='get' id='v1' from='{CRONE}' to='{ROOM}/second'><vCard xmlns='vcard-temp'/></iq>");
    let Heard::Planned(Ok(plan)) = stage.judge(&parse(&xml)) else { panic!() };
    let effects = stage.carry_out(plan);
    assert_eq!(effects.then[0].to.iter().collect::<Vec<_>>(), [&jid("hag@lit")]);
    let id = effects.then[0].stanza.root().attr("id").unwrap().into_owned();
    // That both nicknames are one user's does not show.
    stage.plays(
        &format!("<iq type='result' id='{id}' from='hag@lit' to='{ROOM}/crone'><vCard xmlns='vcard-temp'/></iq>"),
        "crone@lit/a <iq type='result' id='v1' from='coven@chat/second'><vCard xmlns='vcard-temp'/></iq>",
    );
}

#[test]
fn xep0045_16_4_an_error_to_a_request_tells_no_address() {
    for (whois, veiled) in [("moderators", true), ("anyone", false)] {
        let mut stage = Stage::of_two();
        stage.configure(&[("muc#roomconfig_whois", whois)]);
        stage.join("witch@lit/a", "witch");
        let xml = format!(
            "<iq type='get' id='v1' from='hag@lit/a' to='{ROOM}/witch'><query xmlns='jabber:iq:version'/></iq>"
        );
        let Heard::Planned(Ok(plan)) = stage.judge(&parse(&xml)) else { panic!() };
        let id = stage.carry_out(plan).then[0].stanza.root().attr("id").unwrap().into_owned();
        let lines = stage.hear(&format!(
            "<iq type='error' id='{id}' from='witch@lit/a' to='{ROOM}/hag'><error type='cancel' by='witch@lit'>\
             <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:witch@lit</gone>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>witch@lit is gone</text></error></iq>"
        ));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("hag@lit/a <iq ") && lines[0].contains(" id='v1'"), "{lines:?}");
        assert!(lines[0].contains("<gone") && lines[0].contains("witch@lit") != veiled, "{lines:?}");
    }
}

#[test]
fn xep0045_7_5_the_error_of_a_private_message_goes_to_its_sender_and_no_other_error_does() {
    let mut stage = Stage::of_two();
    stage.join("hag@lit/b", "hag");
    stage.join("witch@lit/a", "witch");
    stage.hear(&whisper("hag@lit/b", "witch", "<body>x</body>"));
    let error = "<error type='cancel' by='witch@lit'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
        <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>witch@lit does not want it</text></error>";
    let back = |from: &str, id: &str, nick: &str| {
        format!("<message type='error' id='{id}' from='{from}' to='{ROOM}/{nick}'><body>x</body>{error}</message>")
    };
    // By another id, from another, to another: nothing that was sent.
    stage.plays(&back("witch@lit/a", "other", "hag"), "");
    stage.plays(&back("crone@lit/a", "m", "hag"), "");
    stage.plays(&back("witch@lit/a", "m", "crone"), "");
    stage.plays(
        &back("witch@lit/a", "m", "hag"),
        "hag@lit/b <message from='coven@chat/witch' type='error' id='m'><error type='cancel'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
    );
    // Once; and what is said to all comes back to nobody.
    stage.plays(&back("witch@lit/a", "m", "hag"), "");
    stage.hear(&say("hag@lit/b", "<body>x</body>"));
    stage.plays(&back("witch@lit/a", "m", "hag"), "");
    for number in 0..200 {
        stage.hear(&whisper("hag@lit/b", "witch", "<body>x</body>").replace("'m'", &format!("'{number}'")));
    }
    assert_eq!(stage.room.whispers.len(), 100);
}

#[test]
fn abuse_who_asks_for_voice_over_and_over_is_heard_once_a_minute() {
    let mut stage = Stage::open();
    stage.configure(&[("muc#roomconfig_moderatedroom", "1")]);
    stage.join("guest@lit/a", "guest");
    let ask = voice("guest@lit/a", &[("muc#role", "participant")]);
    assert_eq!(stage.hear(&ask).len(), 1);
    for _ in 0..50 {
        stage.plays(&ask, "");
    }
    stage.now += 10;
    assert_eq!(stage.hear(&ask).len(), 1);
}

#[test]
fn xep0045_7_3_an_occupant_changes_the_subject_where_that_is_configured_and_is_refused_elsewhere() {
    let mut stage = Stage::of_two();
    let subject = say("hag@lit/a", "<subject>Fire Burn</subject>");
    stage.refuses(&subject, "forbidden");
    assert!(stage.room.subject().is_none());
    stage.configure(&[("muc#roomconfig_changesubject", "1")]);
    stage.plays(
        &subject,
        "crone@lit/a hag@lit/a <message type='groupchat' id='m' from='coven@chat/hag'><subject>Fire Burn</subject></message>",
    );
    stage.refuses(&say("guest@lit/a", "<subject>x</subject>"), "not-acceptable");
    // In private it is a word like any other.
    stage.hear(&whisper("hag@lit/a", "crone", "<subject>psst</subject>"));
    assert!(stage.room.subject().unwrap().stanza.as_str().contains("Fire Burn"));
}

#[test]
fn xep0045_7_11_an_occupant_gets_the_member_list_of_a_room_for_members_where_all_see_addresses() {
    let mut stage = Stage::of_two();
    stage.affiliate("hag@lit", "member");
    stage.affiliate("cat@lit", "member");
    stage.configure(&[("muc#roomconfig_membersonly", "1"), ("muc#roomconfig_whois", "anyone")]);
    let ask = |who| list(who, "<item affiliation='member'/>");
    stage.plays(
        &ask("hag@lit/a"),
        &format!(
            "hag@lit/a result <query xmlns='{}'><item affiliation='member' jid='cat@lit'/><item affiliation='member' jid='hag@lit'/></query>",
            crate::ADMIN
        ),
    );
    stage.refuses(&ask("mallory@evil/a"), "forbidden");
    stage.refuses(&list("hag@lit/a", "<item affiliation='outcast'/>"), "forbidden");
    stage.affiliate("hag@lit", "outcast");
    stage.refuses(&ask("hag@lit/a"), "forbidden");
}

#[test]
fn xep0045_7_13_who_has_no_voice_asks_for_it() {
    let mut stage = Stage::of_two();
    stage.configure(&[("muc#roomconfig_moderatedroom", "1")]);
    stage.join("cat@lit/a", "cat");
    let ask = |who| voice(who, &[("muc#role", "participant")]);
    let lines = stage.hear(&ask("cat@lit/a"));
    assert_eq!(to(&lines, CRONE).len(), 1, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with(CRONE)), "nobody else hears of it: {lines:?}");
    stage.refuses(&ask("mallory@evil/a"), "not-acceptable");
    stage.refuses(&voice("cat@lit/a", &[("muc#role", "moderator")]), "bad-request");
    stage.plays(&ask("hag@lit/a"), "");
    stage.leave(CRONE);
    stage.refuses(&ask("cat@lit/a"), "recipient-unavailable");
}
