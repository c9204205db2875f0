//! Entering a room (§7.1, §7.2), and room types (§4.2).

use super::*;

#[test]
fn xep0045_7_2_1_a_nickname_is_needed() {
    let mut stage = Stage::open();
    stage.refuses(
        &format!("<presence from='hag@lit/a' to='{ROOM}'><x xmlns='{}'/></presence>", crate::NS),
        "jid-malformed",
    );
}

#[test]
fn xep0045_7_1_presence_of_others_then_own_then_history_then_subject() {
    let mut stage = Stage::open();
    stage.hear(&say(CRONE, "<body>Thrice</body>"));
    stage.hear(&say(CRONE, "<subject>Fire Burn</subject>"));
    stage.join("wiz@lit/a", "wiz");
    stage.plays(
        &format!("<presence from='hag@lit/pda' to='{ROOM}/hag' id='n1'><show>away</show><x xmlns='{}'/></presence>", crate::NS),
        "hag@lit/pda <presence from='coven@chat/crone'><x><item affiliation='owner' role='moderator'/></x></presence>
         hag@lit/pda <presence from='coven@chat/wiz'><x><item affiliation='none' role='participant'/></x></presence>
         crone@lit/a <presence from='coven@chat/hag'><show>away</show><x><item affiliation='none' jid='hag@lit/pda' role='participant'/></x></presence>
         wiz@lit/a <presence from='coven@chat/hag'><show>away</show><x><item affiliation='none' role='participant'/></x></presence>
         hag@lit/pda <presence from='coven@chat/hag' id='n1'><show>away</show><x><item affiliation='none' jid='hag@lit/pda' role='participant'/><status code='110'/></x></presence>
         hag@lit/pda <message type='groupchat' id='m' from='coven@chat/crone'><body>Thrice</body><stanza-id xmlns='urn:xmpp:sid:0' id='archived-1000000002' by='coven@chat'/><delay xmlns='urn:xmpp:delay' from='coven@chat' stamp='2001-09-09T01:46:42Z'/></message>
         hag@lit/pda <message type='groupchat' id='m' from='coven@chat/crone'><subject>Fire Burn</subject><delay xmlns='urn:xmpp:delay' from='coven@chat' stamp='2001-09-09T01:46:43Z'/></message>",
    );
}

#[test]
fn xep0045_7_2_3_all_addresses_where_the_room_is_non_anonymous_and_100() {
    let mut stage = Stage::open();
    stage.configure(&[("muc#roomconfig_whois", "anyone")]);
    stage.join("wiz@lit/a", "wiz");
    stage.plays(
        &joining("hag@lit/a", "hag", ""),
        "hag@lit/a <presence from='coven@chat/crone'><x><item affiliation='owner' jid='crone@lit/a' role='moderator'/></x></presence>
         hag@lit/a <presence from='coven@chat/wiz'><x><item affiliation='none' jid='wiz@lit/a' role='participant'/></x></presence>
         crone@lit/a wiz@lit/a <presence from='coven@chat/hag'><x><item affiliation='none' jid='hag@lit/a' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag'><x><item affiliation='none' jid='hag@lit/a' role='participant'/><status code='100'/><status code='110'/></x></presence>
         hag@lit/a <message from='coven@chat' type='groupchat'><subject/></message>",
    );
}

#[test]
fn xep0045_7_2_2_presence_of_whom_the_room_does_not_show() {
    let mut stage = Stage::new(RoomConfig { persistent: true, moderated: true, ..RoomConfig::default() });
    stage.join(CRONE, "crone");
    stage.configure(&[("muc#roomconfig_presencebroadcast", "moderator|participant")]);
    stage.join("wiz@lit/a", "wiz");
    // A visitor hears of those who are shown, and of itself; nobody hears of it.
    stage.plays(
        &joining("hag@lit/a", "hag", ""),
        "hag@lit/a <presence from='coven@chat/crone'><x><item affiliation='owner' role='moderator'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag'><x><item affiliation='none' jid='hag@lit/a' role='visitor'/><status code='110'/></x></presence>
         hag@lit/a <message from='coven@chat' type='groupchat'><subject/></message>",
    );
    // With a voice it appears, and without it is gone.
    let lines = stage.role("hag", "participant");
    assert_eq!(
        to(&lines, "wiz@lit/a"),
        [
            "<presence from='coven@chat/hag'><x><item affiliation='none' role='participant'><actor nick='crone'/></item></x></presence>"
        ]
    );
    let lines = stage.role("hag", "visitor");
    assert_eq!(
        to(&lines, "wiz@lit/a"),
        ["<presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' role='none'/></x></presence>"]
    );
    assert_eq!(to(&lines, "hag@lit/a").len(), 1);
    let lines = stage.leave("hag@lit/a");
    assert_eq!((lines.len(), to(&lines, "hag@lit/a").len()), (1, 1), "who was not shown does not leave: {lines:?}");
}

#[test]
fn xep0045_10_2_who_is_shown_when_the_configuration_changes() {
    let mut stage = Stage::open();
    stage.join("hag@lit/a", "hag");
    stage.join("wiz@lit/a", "wiz");
    let lines = stage.configure(&[("muc#roomconfig_presencebroadcast", "moderator")]);
    assert_eq!(
        to(&lines, "wiz@lit/a"),
        [
            "<presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' role='none'/></x></presence>",
            "<message from='coven@chat' type='groupchat' id='*'><x><status code='104'/></x></message>",
        ]
    );
    let lines = stage.configure(&[("muc#roomconfig_presencebroadcast", "moderator|participant|visitor")]);
    assert_eq!(
        to(&lines, "wiz@lit/a"),
        [
            "<presence from='coven@chat/hag'><x><item affiliation='none' role='participant'/></x></presence>",
            "<message from='coven@chat' type='groupchat' id='*'><x><status code='104'/></x></message>",
        ]
    );
}

#[test]
fn xep0045_7_2_5_password() {
    let mut stage = Stage::open();
    stage.configure(&[("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "cauldronburn")]);
    stage.refuses(&joining("hag@lit/a", "hag", ""), "not-authorized");
    stage.refuses(&joining("hag@lit/a", "hag", "<password/>"), "not-authorized");
    stage.refuses(&joining("hag@lit/a", "hag", "<password>Cauldronburn</password>"), "not-authorized");
    let lines = stage.hear(&joining("hag@lit/a", "hag", "<password>cauldronburn</password>"));
    assert!(lines.iter().all(|line| !line.contains("cauldronburn")), "nobody else learns it: {lines:?}");
    assert_eq!(stage.standing_of("hag").0, Role::Participant);
}

#[test]
fn xep0045_7_2_6_members_only_and_7_2_7_banned() {
    let mut stage = Stage::open();
    stage.configure(&[("muc#roomconfig_membersonly", "1")]);
    stage.refuses(&joining("hag@lit/a", "hag", ""), "registration-required");
    stage.affiliate("hag@lit", "member");
    stage.join("hag@lit/a", "hag");
    stage.affiliate("witch@lit", "outcast");
    stage.refuses(&joining("witch@lit/a", "witch", ""), "forbidden");
    // §9.2: the address itself, then its domain.
    stage.affiliate("evil", "outcast");
    stage.refuses(&joining("mallory@evil/a", "mallory", ""), "forbidden");
    stage.affiliate("good@evil", "member");
    stage.join("good@evil/a", "good");
}

#[test]
fn xep0045_7_2_8_a_nickname_is_one_users() {
    let mut stage = Stage::open();
    stage.join("hag@lit/a", "Hag");
    for nick in ["Hag", "hag", "HAG", " hag ", "\u{ff28}ag"] {
        stage.refuses(&joining("witch@lit/a", nick, ""), "conflict");
    }
    // A reserved one too, whether its owner is there or not.
    stage.hear(&admin(CRONE, "<item jid='wiz@lit' affiliation='member' nick='Wiz'/>"));
    stage.refuses(&joining("witch@lit/a", "wiz", ""), "conflict");
    stage.join("witch@lit/a", "witch");
    stage.refuses(&format!("<presence from='witch@lit/a' to='{ROOM}/WIZ'/>"), "conflict");
    stage.join("wiz@lit/a", "wiz");
}

#[test]
fn xep0045_7_2_8_several_clients_of_a_user_share_a_nickname() {
    let mut stage = Stage::open();
    stage.join("hag@lit/a", "hag");
    stage.plays(
        &format!("<presence from='hag@lit/b' to='{ROOM}/hag'><show>dnd</show><x xmlns='{}'/></presence>", crate::NS),
        "hag@lit/b <presence from='coven@chat/crone'><x><item affiliation='owner' role='moderator'/></x></presence>
         crone@lit/a <presence from='coven@chat/hag'><show>dnd</show><x><item affiliation='none' jid='hag@lit/b' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag'><show>dnd</show><x><item affiliation='none' jid='hag@lit/a' role='participant'/><status code='110'/></x></presence>
         hag@lit/b <presence from='coven@chat/hag'><show>dnd</show><x><item affiliation='none' jid='hag@lit/b' role='participant'/><status code='110'/></x></presence>
         hag@lit/b <message from='coven@chat' type='groupchat'><subject/></message>",
    );
    // Messages go to both and come from both, private ones too.
    let lines = stage.hear(&say("hag@lit/b", "<body>x</body>"));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("crone@lit/a hag@lit/a hag@lit/b <message"), "{lines:?}");
    let lines = stage.hear(&whisper(CRONE, "hag", "<body>x</body>"));
    assert!(lines[0].starts_with("hag@lit/a hag@lit/b <message"), "{lines:?}");
    // The first leaves, and the occupant stays; whose presence was shown leaves, and another is.
    let lines = stage.leave("hag@lit/a");
    assert_eq!(lines.len(), 1, "{lines:?}");
    stage.join("hag@lit/a", "hag");
    stage.plays(
        &format!("<presence from='hag@lit/a' to='{ROOM}/hag' type='unavailable'/>"),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='110'/></x></presence>
         crone@lit/a <presence from='coven@chat/hag'><show>dnd</show><x><item affiliation='none' jid='hag@lit/b' role='participant'/></x></presence>
         hag@lit/b <presence from='coven@chat/hag'><show>dnd</show><x><item affiliation='none' jid='hag@lit/b' role='participant'/><status code='110'/></x></presence>",
    );
}

#[test]
fn xep0045_7_2_8_a_second_client_that_writes_the_nickname_otherwise_is_told_how_it_is() {
    let mut stage = Stage::open();
    stage.join("hag@lit/a", "Hag");
    let lines = stage.join("hag@lit/b", "hag");
    let own = to(&lines, "hag@lit/b");
    assert_eq!(
        own[1],
        "<presence from='coven@chat/Hag'><x><item affiliation='none' jid='hag@lit/b' role='participant'/>\
         <status code='210'/><status code='110'/></x></presence>"
    );
}

#[test]
fn xep0045_7_2_2_a_nickname_that_the_room_has_changed_is_told_by_210() {
    let mut stage = Stage::open();
    let lines = stage.hear(&joining("hag@lit/a", "  old \u{a0} hag ", ""));
    let own = to(&lines, "hag@lit/a");
    assert!(own[1].starts_with("<presence from='coven@chat/old hag'>"), "{own:?}");
    assert!(own[1].contains("<status code='210'/>"), "{own:?}");
    assert!(to(&lines, CRONE).iter().all(|line| !line.contains("210")), "{lines:?}");
}

#[test]
fn xep0045_7_2_9_a_full_room_has_places_for_admins() {
    let mut stage = Stage::limited(
        RoomConfig { persistent: true, max_users: Some(2), ..RoomConfig::default() },
        RoomLimits { reserve: 1, ..RoomLimits::default() },
    );
    stage.join("a@lit/a", "a");
    stage.join("b@lit/a", "b");
    stage.refuses(&joining("c@lit/a", "c", ""), "service-unavailable");
    stage.join("a@lit/b", "a");
    stage.join(CRONE, "crone");
    stage.affiliate("wiz@lit", "admin");
    stage.refuses(&joining("wiz@lit/a", "wiz", ""), "service-unavailable");
}

#[test]
fn xep0045_7_2_10_a_locked_room_is_none() {
    let owner = bare("crone@lit");
    let mut stage = Stage::open();
    stage.room = Room::new(bare(ROOM), owner, RoomConfig::default(), [7; 32], Arc::new(RoomLimits::default()));
    stage.join(CRONE, "crone");
    for refused in [
        joining("hag@lit/a", "hag", ""),
        say("hag@lit/a", "<body>x</body>"),
        whisper("hag@lit/a", "crone", "<body>x</body>"),
        "<iq type='get' id='i' from='hag@lit/a' to='coven@chat'><query xmlns='jabber:iq:register'/></iq>".to_owned(),
    ] {
        stage.refuses(&refused, "item-not-found");
    }
    stage.hear(&form(CRONE, &[]));
    stage.join("hag@lit/a", "hag");
}

#[test]
fn xep0045_7_2_12_logging_is_told_by_170() {
    let mut stage = Stage::open();
    stage.configure(&[("muc#roomconfig_enablelogging", "1")]);
    let lines = stage.join("hag@lit/a", "hag");
    let own = to(&lines, "hag@lit/a");
    assert!(own[1].contains("<status code='170'/><status code='110'/>"), "{own:?}");
}

#[test]
fn xep0045_7_2_1_a_join_of_who_is_there_starts_again() {
    let mut stage = Stage::open();
    stage.hear(&say(CRONE, "<subject>s</subject>"));
    let first = stage.join("hag@lit/a", "hag");
    let again = stage.hear(&joining("hag@lit/a", "hag", ""));
    assert_eq!(to(&first, "hag@lit/a"), to(&again, "hag@lit/a"), "exactly the same");
    assert!(to(&again, CRONE).is_empty(), "nothing is new for others: {again:?}");
    // §16.3: others hear of another presence.
    let again = stage.hear(&format!(
        "<presence from='hag@lit/a' to='{ROOM}/hag'><show>xa</show><x xmlns='{}'/></presence>",
        crate::NS
    ));
    assert_eq!(to(&again, CRONE).len(), 1);
    // By another nickname, it takes that, and hears everything too.
    let lines = stage.hear(&joining("hag@lit/a", "oldhag", ""));
    assert_eq!(to(&lines, CRONE).len(), 2, "the old one goes, the new one comes: {lines:?}");
    let own = to(&lines, "hag@lit/a");
    assert!(own[0].contains("<status code='303'/>") && own[1].contains("from='coven@chat/oldhag'"), "{own:?}");
    assert!(own[2].contains("from='coven@chat/crone'"), "{own:?}");
    assert!(own[3].contains("from='coven@chat/oldhag'") && own[3].contains("110"), "{own:?}");
    assert!(own[4].contains("<subject>s</subject>"), "{own:?}");
}

#[test]
fn xep0045_7_2_18_presence_of_who_is_not_there_is_answered_by_a_kick() {
    let mut stage = Stage::open();
    stage.plays(
        &format!("<presence from='hag@lit/a' to='{ROOM}/hag'/>"),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' role='none'/><status code='110'/><status code='307'/><status code='333'/></x></presence>",
    );
}

#[test]
fn xep0045_16_3_other_types_are_neither_a_way_in_nor_out() {
    let mut stage = Stage::of_two();
    for kind in ["probe", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "strange"] {
        for client in ["hag@lit/a", "witch@lit/a"] {
            let x = format!("<x xmlns='{}'/>", crate::NS);
            stage.plays(&format!("<presence type='{kind}' from='{client}' to='{ROOM}/{kind}'>{x}</presence>"), "");
        }
    }
    assert_eq!(stage.room.occupants().len(), 2);
    // Nor is it a way out for who is not there.
    stage.plays(&format!("<presence type='unavailable' from='witch@lit/a' to='{ROOM}/hag'/>"), "");
    assert_eq!(stage.room.occupants().len(), 2);
}

#[test]
fn xep0045_16_1_invisible_nicknames() {
    let mut stage = Stage::open();
    for nick in [
        "%20",
        "\u{2800}",
        "\u{2800} \u{2800}",
        "\u{3000}",
        "\u{200b}",
        "a\u{200b}b",
        "\u{202e}gah",
        "a\u{ad}b",
        "\u{3164}",
        "\u{e0041}x",
    ] {
        let xml = joining("hag@lit/a", &nick.replace("%20", " "), "");
        let Ok(_) = Jid::new(&format!("{ROOM}/{}", nick.replace("%20", " "))) else { continue };
        stage.refuses(&xml, "not-acceptable");
    }
}

#[test]
fn xep0045_7_2_4_where_the_room_is_semi_anonymous_moderators_alone_see_addresses_and_100_is_not_said() {
    let mut stage = Stage::of_two();
    stage.plays(
        &joining("cat@lit/a", "cat", ""),
        "cat@lit/a <presence from='coven@chat/crone'><x><item affiliation='owner' role='moderator'/></x></presence>
         cat@lit/a <presence from='coven@chat/hag'><x><item affiliation='none' role='participant'/></x></presence>
         crone@lit/a <presence from='coven@chat/cat'><x><item affiliation='none' jid='cat@lit/a' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/cat'><x><item affiliation='none' role='participant'/></x></presence>
         cat@lit/a <presence from='coven@chat/cat'><x><item affiliation='none' jid='cat@lit/a' role='participant'/><status code='110'/></x></presence>
         cat@lit/a <message from='coven@chat' type='groupchat'><subject/></message>",
    );
}

#[test]
fn xep0045_7_2_15_the_subject_comes_after_the_history_and_7_2_16_then_what_is_said() {
    let mut stage = Stage::of_two();
    stage.hear(&say(CRONE, "<subject>Fire Burn</subject>"));
    stage.hear(&say(CRONE, "<body>double</body>"));
    let lines = stage.join("cat@lit/a", "cat");
    let (history, subject) = match to(&lines, "cat@lit/a")[..] {
        [.., own, history, subject] if own.contains("<status code='110'/>") => (history, subject),
        _ => panic!("{lines:?}"),
    };
    assert!(history.contains("<body>double</body>") && history.contains("<delay"), "{history}");
    assert!(
        subject.contains("from='coven@chat/crone'") && subject.contains("<subject>Fire Burn</subject><delay"),
        "by whom and when it was set: {subject}"
    );
    let lines = stage.hear(&say("hag@lit/a", "<body>toil</body>"));
    let live = to(&lines, "cat@lit/a");
    assert!(live.len() == 1 && live[0].contains("<body>toil</body>") && !live[0].contains("<delay"), "{live:?}");
}
