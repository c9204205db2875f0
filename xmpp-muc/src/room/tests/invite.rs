//! Invitations through the room (§7.8.2, §7.9).

use super::*;

fn invite(from: &str, to: &str, content: &str) -> String {
    format!(
        "<message id='m' from='{from}' to='{ROOM}'><x xmlns='{USER}'><invite to='{to}'>{content}</invite></x></message>"
    )
}
fn decline(from: &str, to: &str) -> String {
    format!(
        "<message id='m' from='{from}' to='{ROOM}'><x xmlns='{USER}'><decline to='{to}'><reason>Too busy</reason></decline></x></message>"
    )
}

#[test]
fn xep0045_7_8_2_an_invitation_and_a_decline() {
    let mut stage = Stage::of_two();
    stage.configure(&[("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "cauldronburn")]);
    stage.plays(
        &invite("hag@lit/a", "hecate@lit/x", "<reason>Hey Hecate</reason><continue thread='t'/>"),
        "hecate@lit/x <message from='coven@chat' id='*'><x><invite from='coven@chat/hag'><reason>Hey Hecate</reason><continue thread='t'/></invite><password>cauldronburn</password></x></message>",
    );
    stage.plays(
        &decline("hecate@lit/y", "coven@chat/hag"),
        "hag@lit/a <message from='coven@chat' id='*'><x><decline from='hecate@lit'><reason>Too busy</reason></decline></x></message>",
    );
    // Once.
    stage.refuses(&decline("hecate@lit/y", "coven@chat/hag"), "item-not-found");
    // In a non-anonymous room by the address.
    stage.configure(&[("muc#roomconfig_whois", "anyone")]);
    let lines = stage.hear(&invite("hag@lit/a", "hecate@lit", ""));
    assert!(lines[0].contains("<invite from='hag@lit'/>"), "{lines:?}");
    let lines = stage.hear(&decline("hecate@lit/y", "hag@lit"));
    assert!(lines[0].starts_with("hag@lit/a <message"), "{lines:?}");
    stage.refuses(&invite("guest@lit/a", "hecate@lit", ""), "not-acceptable");
}

#[test]
fn xep0045_9_5_into_a_room_for_members_admins_invite() {
    let mut stage = Stage::of_two();
    stage.affiliate("hag@lit", "member");
    stage.configure(&[("muc#roomconfig_membersonly", "1")]);
    stage.refuses(&invite("hag@lit/a", "hecate@lit", ""), "forbidden");
    let lines = stage.hear(&invite(CRONE, "hecate@lit", ""));
    assert_eq!(lines.len(), 1, "one invitation: {lines:?}");
    assert_eq!(stage.room.affiliations().of(&bare("hecate@lit")), Affiliation::Member);
    stage.configure(&[("muc#roomconfig_allowinvites", "1")]);
    stage.hear(&invite("hag@lit/a", "new@lit", ""));
    assert_eq!(stage.room.affiliations().of(&bare("new@lit")), Affiliation::Member);
    // §9.5: not through an open room.
    stage.configure(&[("muc#roomconfig_membersonly", "0")]);
    stage.hear(&invite(CRONE, "other@lit", ""));
    assert_eq!(stage.room.affiliations().of(&bare("other@lit")), Affiliation::None);
}

#[test]
fn abuse_a_decline_is_no_way_to_write_to_anybody_nor_to_learn_who_is_there() {
    let mut stage = Stage::of_two();
    for target in ["coven@chat/hag", "coven@chat/nobody", "hag@lit", "nobody@lit", "hag@lit/a"] {
        for who in ["mallory@evil/a", "hag@lit/a"] {
            stage.refuses(&decline(who, target), "item-not-found");
        }
    }
    stage.refuses(
        &format!("<message from='mallory@evil/a' to='{ROOM}'><x xmlns='{USER}'><decline/></x></message>"),
        "bad-request",
    );
    // The invited answers its inviter, and nobody else.
    stage.hear(&invite("hag@lit/a", "mallory@evil", ""));
    stage.refuses(&decline("mallory@evil/a", "coven@chat/crone"), "item-not-found");
    // Who has left hears nothing.
    stage.leave("hag@lit/a");
    stage.refuses(&decline("mallory@evil/a", "hag@lit"), "item-not-found");
}

#[test]
fn abuse_invitations_go_to_users_and_not_to_rooms_in_a_circle() {
    let mut stage = Stage::of_two();
    for target in ["coven@chat", "coven@chat/crone", "other@chat", "other@chat/x", "chat", "lit"] {
        stage.refuses(&invite("hag@lit/a", target, ""), "item-not-found");
    }
    stage.affiliate("banned@lit", "outcast");
    stage.refuses(&invite("hag@lit/a", "banned@lit", ""), "not-allowed");
    stage.refuses(
        &format!("<message from='hag@lit/a' to='{ROOM}'><x xmlns='{USER}'><invite/></x></message>"),
        "bad-request",
    );
}

#[test]
fn abuse_invitations_are_bounded() {
    let mut stage = Stage::of_two();
    let many = |count: usize| {
        let invites: String = (0..count).map(|number| format!("<invite to='u{number}@lit'/>")).collect();
        format!("<message from='hag@lit/a' to='{ROOM}'><x xmlns='{USER}'>{invites}</x></message>")
    };
    assert_eq!(stage.hear(&many(10)).len(), 10);
    stage.refuses(&many(11), "resource-constraint");
    stage.refuses(&invite("hag@lit/a", "u@lit", &format!("<reason>{}</reason>", "x".repeat(1_024))), "not-acceptable");
    for number in 0..1_000 {
        stage.hear(&invite("hag@lit/a", &format!("u{number}@lit"), ""));
    }
    assert_eq!(stage.room.invitations.len(), 100);
    // What is forged in one goes no further.
    let lines = stage.hear(&format!(
        "<message from='hag@lit/a' to='{ROOM}'><body>click</body><x xmlns='{USER}'><invite to='v@lit' from='crone@lit'/>\
         <status code='110'/><password>forged</password></x></message>"
    ));
    assert_eq!(lines, ["v@lit <message from='coven@chat' id='*'><x><invite from='coven@chat/hag'/></x></message>"]);
}
