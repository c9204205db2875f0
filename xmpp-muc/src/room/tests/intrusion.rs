//! Ways in, up and around that are none.

use super::register::register;
use super::*;

#[test]
fn abuse_a075_who_does_not_know_the_password_does_not_become_a_member_by_registering() {
    let mut stage = Stage::of_two();
    stage.configure(&[("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "cauldron")]);
    // Members read the archive, and are told what goes on, without it.
    let lines = stage.hear(&register("witch@lit/a", "witch"));
    assert!(lines[1].starts_with("crone@lit/a <message"), "admins decide: {lines:?}");
    assert_eq!(stage.room.affiliations().of(&bare("witch@lit")), Affiliation::None);
    // Who is in the room knows it.
    stage.plays(
        &register("hag@lit/a", "hag"),
        "hag@lit/a result
         crone@lit/a <presence from='coven@chat/hag'><x><item affiliation='member' jid='hag@lit/a' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag'><x><item affiliation='member' jid='hag@lit/a' role='participant'/><status code='110'/></x></presence>",
    );
    // And who is a member may have another nickname.
    stage.leave("hag@lit/a");
    stage.plays(&register("hag@lit/a", "hag66"), "hag@lit/a result");
}

#[test]
fn abuse_who_has_lost_voice_has_none_by_another_nickname() {
    for moderated in ["0", "1"] {
        let mut stage = Stage::of_two();
        stage.configure(&[("muc#roomconfig_moderatedroom", moderated)]);
        stage.affiliate("cat@lit", "member");
        stage.join("cat@lit/a", "cat");
        stage.role("cat", "visitor");
        stage.join("cat@lit/b", "tom");
        assert_eq!(stage.standing_of("tom").0, Role::Visitor);
        stage.refuses(&say("cat@lit/b", "<body>me again</body>"), "forbidden");
        // Whom an admin makes a moderator is one by that nickname alone.
        stage.role("cat", "moderator");
        stage.leave("cat@lit/b");
        stage.join("cat@lit/b", "tom");
        assert!(stage.standing_of("tom").0 < Role::Moderator);
    }
}

#[test]
fn abuse_a074_a_room_that_is_not_open_is_not_there_by_whatever_way_it_is_asked() {
    let mut stage = Stage::open();
    let (owner, limits) = (bare("crone@lit"), Arc::new(RoomLimits::default()));
    stage.room = Room::new(bare(ROOM), owner, RoomConfig::default(), [7; 32], limits);
    stage.join(CRONE, "crone");
    let ask = |to: &str, payload: &str| format!("<iq type='get' id='i' from='hag@lit/a' to='{to}'>{payload}</iq>");
    let occupant = format!("{ROOM}/crone");
    for xml in [
        format!("<presence from='hag@lit/a' to='{occupant}'/>"),
        joining("hag@lit/a", "crone", ""),
        joining("hag@lit/a", "\u{2800}", ""),
        say("hag@lit/a", "<body>x</body>"),
        whisper("hag@lit/a", "crone", "<body>x</body>"),
        whisper("hag@lit/a", "nobody", "<body>x</body>"),
        format!("<message from='hag@lit/a' to='{ROOM}'><x xmlns='{USER}'><invite to='cat@lit'/></x></message>"),
        format!("<message from='hag@lit/a' to='{ROOM}'><x xmlns='{USER}'><decline to='crone@lit'/></x></message>"),
        format!("<message from='hag@lit/a' to='{ROOM}'><body>x</body></message>"),
        voice("hag@lit/a", &[("muc#role", "participant")]),
        asking("hag@lit/a", REGISTER, &[("muc#register_allow", "1")]),
        ask(&occupant, "<ping xmlns='urn:xmpp:ping'/>"),
        ask(&occupant, "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
        ask(ROOM, &format!("<query xmlns='{}'><item affiliation='owner'/></query>", crate::ADMIN)),
        ask(ROOM, &format!("<query xmlns='{}'/>", crate::OWNER)),
        admin("hag@lit/a", "<item nick='crone' role='none'/>"),
        form("hag@lit/a", &[]),
        register("hag@lit/a", "hag"),
        register::unregister("hag@lit/a"),
    ] {
        stage.refuses(&xml, "item-not-found");
    }
}

#[test]
fn abuse_who_is_banned_with_a_domain_after_being_struck_off_is_told_of_a_ban() {
    let mut stage = Stage::of_two();
    stage.affiliate("good@evil", "member");
    stage.join("good@evil/a", "good");
    stage.affiliate("evil", "outcast");
    assert_eq!(stage.standing_of("good").1, Affiliation::Member, "its own entry counts");
    let lines = stage.affiliate("good@evil", "none");
    assert!(
        lines[0].contains("affiliation='outcast'") && lines[0].contains("<status code='301'/>"),
        "it is banned now: {lines:?}"
    );
}

#[test]
fn abuse_what_a_moderator_asks_to_retract_is_no_way_to_send_much() {
    let mut stage = Stage::of_two();
    let moderate = |id: &str| {
        format!(
            "<iq type='set' id='i' from='{CRONE}' to='{ROOM}'><moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'>\
             <retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>"
        )
    };
    assert_eq!(stage.hear(&moderate(&"1".repeat(1_023))).len(), 2);
    stage.refuses(&moderate(&"1".repeat(1_024)), "item-not-found");
}

#[test]
fn abuse_of_two_owners_one_stays_whatever_they_ask_at_once() {
    let resigns = |who: &str, user: &str| admin(who, &format!("<item jid='{user}' affiliation='none'/>"));
    let takes = |who: &str, user: &str| form(who, &[("muc#roomconfig_roomowners", user)]);
    for (first, second, refused) in [
        (resigns(CRONE, "crone@lit"), resigns("hag@lit/a", "hag@lit"), "conflict"),
        (resigns(CRONE, "hag@lit"), resigns("hag@lit/a", "crone@lit"), "forbidden"),
        (takes(CRONE, "crone@lit"), takes("hag@lit/a", "hag@lit"), "forbidden"),
        (resigns(CRONE, "crone@lit"), takes("hag@lit/a", ""), "conflict"),
        (admin(CRONE, "<item jid='hag@lit' affiliation='outcast'/>"), owner("hag@lit/a", "<destroy/>"), "forbidden"),
    ] {
        let mut stage = Stage::of_two();
        stage.affiliate("hag@lit", "owner");
        stage.hear(&first);
        stage.refuses(&second, refused);
        assert_eq!(stage.room.affiliations().with(Affiliation::Owner).count(), 1, "{first}");
    }
    // An owner who leaves owns it still: a temporary room that somebody else is in goes on, and is theirs.
    let mut stage = Stage::new(RoomConfig::default());
    stage.join(CRONE, "crone");
    stage.join("hag@lit/a", "hag");
    stage.leave(CRONE);
    stage.refuses(&form("hag@lit/a", &[]), "forbidden");
    stage.join(CRONE, "crone");
    assert_eq!(stage.standing_of("crone").1, Affiliation::Owner);
}

#[test]
fn abuse_whoever_owns_a_room_is_not_banned_with_a_domain_but_those_are_who_have_no_entry() {
    let mut stage = Stage::of_two();
    stage.affiliate("wiz@x", "admin");
    stage.join("wiz@x/a", "wiz");
    stage.role("hag", "moderator");
    let lines = stage.hear(&admin("wiz@x/a", "<item jid='lit' affiliation='outcast'/>"));
    assert_eq!(to(&lines, CRONE).len(), 1, "she hears of the other: {lines:?}");
    assert!(lines[0].starts_with("hag@lit/a <presence") && lines[0].contains("code='301'"), "{lines:?}");
    assert_eq!(stage.standing_of("crone").1, Affiliation::Owner);
    stage.refuses(&joining("new@lit/a", "new", ""), "forbidden");
    // Nor does a ban of the room's own service, or of another, reach further.
    stage.hear(&admin("wiz@x/a", "<item jid='it' affiliation='outcast'/>"));
    stage.join("a@y.it/a", "a");
}

#[test]
fn abuse_a_nickname_that_is_reserved_is_taken_by_no_way() {
    let mut stage = Stage::of_two();
    stage.hear(&admin(CRONE, "<item jid='wiz@lit' affiliation='member' nick='Wizard'/>"));
    for xml in [
        joining("cat@lit/a", "wizard", ""),
        format!("<presence from='hag@lit/a' to='{ROOM}/WIZARD'/>"),
        register("hag@lit/a", "wizard"),
        admin(CRONE, "<item jid='hag@lit' affiliation='member' nick='wizard'/>"),
    ] {
        stage.refuses(&xml, "conflict");
    }
    stage.join("wiz@lit/a", "Merlin");
    stage.refuses(&joining("cat@lit/a", "Wizard", ""), "conflict");
    // It is free with the membership.
    stage.affiliate("wiz@lit", "none");
    stage.join("cat@lit/a", "Wizard");
}
