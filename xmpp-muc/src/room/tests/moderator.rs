//! What moderators do (§8).

use super::*;

fn of_three() -> Stage {
    let mut stage = Stage::of_two();
    stage.join("witch@lit/a", "witch");
    stage
}

#[test]
fn xep0045_8_1_moderators_change_the_subject() {
    let mut stage = Stage::of_two();
    stage.plays(
        &say(CRONE, "<subject>Fire Burn</subject>"),
        "crone@lit/a hag@lit/a <message type='groupchat' id='m' from='coven@chat/crone'><subject>Fire Burn</subject></message>",
    );
    stage.refuses(&say("hag@lit/a", "<subject>x</subject>"), "forbidden");
    // Removed by an empty one; and who comes is told when that was.
    stage.hear(&say(CRONE, "<subject/>"));
    let lines = stage.join("witch@lit/a", "witch");
    let last = *to(&lines, "witch@lit/a").last().unwrap();
    assert!(last.contains("<subject/><delay xmlns='urn:xmpp:delay' from='coven@chat'"), "{last}");
}

#[test]
fn xep0045_8_1_so_may_occupants_with_voice_if_it_is_configured() {
    let mut stage = Stage::of_two();
    stage.configure(&[("muc#roomconfig_changesubject", "1"), ("muc#roomconfig_moderatedroom", "1")]);
    stage.hear(&say("hag@lit/a", "<subject>x</subject>"));
    assert!(stage.room.subject().is_some());
    stage.role("hag", "visitor");
    stage.refuses(&say("hag@lit/a", "<subject>y</subject>"), "forbidden");
}

#[test]
fn abuse_a079_a_subject_with_a_body_or_a_thread_is_a_message() {
    let mut stage = Stage::of_two();
    for content in
        ["<subject>x</subject><body>b</body>", "<subject>x</subject><body/>", "<subject>x</subject><thread>t</thread>"]
    {
        let lines = stage.hear(&say("hag@lit/a", content));
        assert!(lines[0].contains(content), "{lines:?}");
        assert!(stage.room.subject().is_none());
    }
}

#[test]
fn xep0045_8_2_the_kicked_then_the_moderator_then_the_others() {
    let mut stage = of_three();
    stage.plays(
        &admin(CRONE, "<item nick='hag' role='none'><reason>Avaunt!</reason></item>"),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'><actor nick='crone'/><reason>Avaunt!</reason></item><status code='307'/><status code='110'/></x></presence>
         crone@lit/a result
         crone@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'><actor nick='crone'/><reason>Avaunt!</reason></item><status code='307'/></x></presence>
         witch@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' role='none'><actor nick='crone'/><reason>Avaunt!</reason></item><status code='307'/></x></presence>",
    );
    // It may come back.
    stage.join("hag@lit/a", "hag");
}

#[test]
fn xep0045_8_2_a_kick_is_of_all_clients_under_the_nickname_however_it_is_written() {
    let mut stage = of_three();
    stage.join("hag@lit/b", "hag");
    stage.join("hag@lit/c", "other");
    let lines = stage.role("HAG", "none");
    assert!(lines[0].starts_with("hag@lit/a hag@lit/b <presence"), "{lines:?}");
    assert_eq!(stage.standing_of("other").0, Role::Participant, "a role is of the nickname");
}

#[test]
fn xep0045_8_2_nobody_kicks_whoever_is_above() {
    let mut stage = of_three();
    stage.affiliate("hag@lit", "admin");
    stage.refuses(&admin("hag@lit/a", "<item nick='crone' role='none'/>"), "not-allowed");
    stage.role("witch", "moderator");
    stage.refuses(&admin("witch@lit/a", "<item nick='hag' role='none'/>"), "not-allowed");
    stage.refuses(&admin("witch@lit/a", "<item nick='nobody' role='none'/>"), "item-not-found");
    stage.refuses(&admin("witch@lit/a", "<item role='none'/>"), "bad-request");
    // "in IRC a way of apologizing": whoever kicks itself has left.
    stage.plays(
        &admin("witch@lit/a", "<item nick='witch' role='none'/>"),
        "witch@lit/a <presence from='coven@chat/witch' type='unavailable'><x><item affiliation='none' jid='witch@lit/a' role='none'><actor nick='witch'/></item><status code='307'/><status code='110'/></x></presence>
         witch@lit/a result
         crone@lit/a hag@lit/a <presence from='coven@chat/witch' type='unavailable'><x><item affiliation='none' jid='witch@lit/a' role='none'><actor nick='witch'/></item><status code='307'/></x></presence>",
    );
}

#[test]
fn xep0045_8_3_voice_is_given_and_8_4_taken() {
    let mut stage = of_three();
    stage.configure(&[("muc#roomconfig_moderatedroom", "1")]);
    stage.join("guest@lit/a", "guest");
    stage.refuses(&say("guest@lit/a", "<body>x</body>"), "forbidden");
    stage.plays(
        &admin(CRONE, "<item nick='guest' role='participant'><reason>A worthy one</reason></item>"),
        "crone@lit/a result
         crone@lit/a <presence from='coven@chat/guest'><x><item affiliation='none' jid='guest@lit/a' role='participant'><actor nick='crone'/><reason>A worthy one</reason></item></x></presence>
         hag@lit/a witch@lit/a <presence from='coven@chat/guest'><x><item affiliation='none' role='participant'><actor nick='crone'/><reason>A worthy one</reason></item></x></presence>
         guest@lit/a <presence from='coven@chat/guest'><x><item affiliation='none' jid='guest@lit/a' role='participant'><actor nick='crone'/><reason>A worthy one</reason></item><status code='110'/></x></presence>",
    );
    stage.hear(&say("guest@lit/a", "<body>x</body>"));
    stage.role("guest", "visitor");
    stage.refuses(&say("guest@lit/a", "<body>x</body>"), "forbidden");
    // §8.4: an admin's and an owner's voice nobody takes.
    stage.affiliate("hag@lit", "admin");
    stage.refuses(&admin(CRONE, "<item nick='hag' role='visitor'/>"), "not-allowed");
    stage.refuses(&admin("hag@lit/a", "<item nick='crone' role='participant'/>"), "not-allowed");
}

#[test]
fn xep0045_8_5_the_list_of_those_with_voice() {
    let mut stage = of_three();
    stage.role("hag", "moderator");
    stage.plays(
        &list("hag@lit/a", "<item role='participant'/>"),
        &format!(
            "hag@lit/a result <query xmlns='{}'><item affiliation='none' jid='witch@lit/a' nick='witch' role='participant'/></query>",
            crate::ADMIN
        ),
    );
    stage.refuses(&list("witch@lit/a", "<item role='participant'/>"), "forbidden");
    stage.refuses(&list("guest@lit/a", "<item role='participant'/>"), "forbidden");
    // Only changes are sent; all of them happen, or none.
    stage.join("guest@lit/a", "guest");
    stage.affiliate("guest@lit", "member");
    let both = "<item nick='witch' role='visitor'/><item nick='guest' role='visitor'/>";
    stage.refuses(&admin("hag@lit/a", both), "not-allowed");
    assert_eq!(stage.standing_of("witch").0, Role::Participant);
}

#[test]
fn xep0045_8_6_a_request_for_voice_goes_to_moderators_and_comes_back() {
    let mut stage = of_three();
    stage.configure(&[("muc#roomconfig_moderatedroom", "1")]);
    stage.join("guest@lit/a", "guest");
    stage.plays(
        &voice("guest@lit/a", &[("muc#role", "participant")]),
        "crone@lit/a <message from='coven@chat' id='*'><x xmlns='jabber:x:data' type='form'><title>Somebody asks for voice</title><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role' type='list-single' label='Role'><value>participant</value></field><field var='muc#jid' type='jid-single' label='Address'><value>guest@lit/a</value></field><field var='muc#roomnick' type='text-single' label='Nickname'><value>guest</value></field><field var='muc#request_allow' type='boolean' label='Give voice'><value>false</value></field></x></message>",
    );
    let give = |who, nick, jid, allow| {
        voice(
            who,
            &[("muc#role", "participant"), ("muc#jid", jid), ("muc#roomnick", nick), ("muc#request_allow", allow)],
        )
    };
    stage.refuses(&give("hag@lit/a", "guest", "guest@lit/a", "true"), "forbidden");
    stage.refuses(&give("guest@lit/a", "guest", "guest@lit/a", "true"), "forbidden");
    stage.plays(&give(CRONE, "guest", "guest@lit/a", "false"), "");
    assert_eq!(stage.standing_of("guest").0, Role::Visitor);
    stage.hear(&give(CRONE, "guest", "guest@lit/a", "true"));
    assert_eq!(stage.standing_of("guest").0, Role::Participant);
    // Whoever has the nickname by then has not asked.
    stage.role("guest", "visitor");
    stage.leave("guest@lit/a");
    stage.join("mallory@evil/a", "guest");
    stage.refuses(&give(CRONE, "guest", "guest@lit/a", "true"), "item-not-found");
    assert_eq!(stage.standing_of("guest").0, Role::Visitor);
    // Nobody is there to be asked; nobody asks who is not there.
    stage.leave(CRONE);
    stage.refuses(&voice("mallory@evil/a", &[("muc#role", "participant")]), "recipient-unavailable");
    stage.refuses(&voice("guest@lit/a", &[("muc#role", "participant")]), "not-acceptable");
    stage.refuses(&voice("mallory@evil/a", &[("muc#role", "moderator")]), "bad-request");
}

#[test]
fn xep0045_5_1_voice_in_a_moderated_room_lasts_across_visits() {
    let mut stage = of_three();
    stage.configure(&[("muc#roomconfig_moderatedroom", "1")]);
    stage.join("guest@lit/a", "guest");
    stage.role("guest", "participant");
    stage.affiliate("witch@lit", "member");
    stage.role("witch", "visitor");
    for (client, nick) in [("guest@lit/a", "guest"), ("witch@lit/a", "witch")] {
        stage.leave(client);
        stage.join(client, nick);
    }
    assert_eq!(stage.standing_of("guest").0, Role::Participant, "given");
    assert_eq!(stage.standing_of("witch").0, Role::Visitor, "taken, and not got back by leaving");
    // A kick takes what was given, and does not give back what was taken.
    for (nick, role) in [("guest", Role::Visitor), ("witch", Role::Visitor)] {
        stage.role(nick, "none");
        stage.join(&format!("{nick}@lit/a"), nick);
        assert_eq!(stage.standing_of(nick).0, role);
    }
    stage.role("guest", "participant");
    // Until it is decided otherwise, or the room is no longer moderated.
    stage.leave("witch@lit/a");
    stage.affiliate("witch@lit", "none");
    stage.affiliate("witch@lit", "member");
    stage.join("witch@lit/a", "witch");
    assert_eq!(stage.standing_of("witch").0, Role::Participant);
    stage.leave("guest@lit/a");
    stage.configure(&[("muc#roomconfig_moderatedroom", "0")]);
    stage.configure(&[("muc#roomconfig_moderatedroom", "1")]);
    stage.join("guest@lit/a", "guest");
    assert_eq!(stage.standing_of("guest").0, Role::Visitor);
}

#[test]
fn xep0045_5_1_so_many_voices_are_remembered() {
    let config = RoomConfig { persistent: true, moderated: true, ..RoomConfig::default() };
    let mut stage = Stage::limited(config, RoomLimits { voices: 2, ..RoomLimits::default() });
    stage.join(CRONE, "crone");
    for nick in ["a", "b", "c"] {
        stage.join(&format!("{nick}@lit/a"), nick);
        stage.role(nick, "participant");
        stage.leave(&format!("{nick}@lit/a"));
    }
    for (nick, role) in [("a", Role::Visitor), ("b", Role::Participant), ("c", Role::Participant)] {
        stage.join(&format!("{nick}@lit/a"), nick);
        assert_eq!(stage.standing_of(nick).0, role, "{nick}");
    }
}

#[test]
fn xep0425_5_a_moderator_retracts() {
    let mut stage = Stage::of_two();
    stage.hear(&say("hag@lit/a", "<body>x</body>"));
    let request = |who: &str, content: &str| {
        format!(
            "<iq type='set' id='i' from='{who}' to='{ROOM}'><moderate xmlns='urn:xmpp:message-moderate:1' id='archived-1000000003'>\
             {content}</moderate></iq>"
        )
    };
    stage.refuses(&request("hag@lit/a", "<retract xmlns='urn:xmpp:message-retract:1'/>"), "forbidden");
    stage.refuses(&request("guest@lit/a", "<retract xmlns='urn:xmpp:message-retract:1'/>"), "not-acceptable");
    stage.refuses(&request(CRONE, ""), "bad-request");
    let lines = stage.hear(&request(CRONE, "<retract xmlns='urn:xmpp:message-retract:1'/><reason>spam</reason>"));
    assert_eq!(lines[0], "crone@lit/a result");
    assert!(lines[1].starts_with("crone@lit/a hag@lit/a <message from='coven@chat' type='groupchat'"), "{lines:?}");
    let lines = stage.join("witch@lit/a", "witch");
    assert!(lines.iter().all(|line| !line.contains("<body>")), "it is not in history: {lines:?}");
}
