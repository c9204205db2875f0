//! Registration (§7.10, §7.12, §9.9).

use super::*;

fn get(from: &str) -> String {
    format!("<iq type='get' id='i' from='{from}' to='{ROOM}'><query xmlns='jabber:iq:register'/></iq>")
}
pub(super) fn register(from: &str, nick: &str) -> String {
    format!(
        "<iq type='set' id='i' from='{from}' to='{ROOM}'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>{REGISTER}</value></field><field var='muc#register_roomnick'><value>{nick}</value></field>\
         </x></query></iq>"
    )
}
pub(super) fn unregister(from: &str) -> String {
    format!("<iq type='set' id='i' from='{from}' to='{ROOM}'><query xmlns='jabber:iq:register'><remove/></query></iq>")
}

#[test]
fn xep0045_7_10_registration_makes_a_member_with_a_nickname() {
    let mut stage = Stage::of_two();
    let lines = stage.hear(&get("hag@lit/a"));
    assert!(
        lines[0].contains("<field var='muc#register_roomnick' type='text-single' label='Nickname'><required/></field>"),
        "{lines:?}"
    );
    stage.plays(
        &register("hag@lit/a", "oldhag"),
        "hag@lit/a result
         crone@lit/a <presence from='coven@chat/hag'><x><item affiliation='member' jid='hag@lit/a' role='participant'/></x></presence>
         hag@lit/a <presence from='coven@chat/hag'><x><item affiliation='member' jid='hag@lit/a' role='participant'/><status code='110'/></x></presence>",
    );
    stage.plays(&get("hag@lit/b"), "hag@lit/b result <registered/><username>oldhag</username>");
    // §7.12: somebody else does not get it; the user itself need not use it.
    stage.refuses(&joining("witch@lit/a", "OldHag", ""), "conflict");
    stage.refuses(&register("witch@lit/a", "OLDHAG"), "conflict");
    stage.refuses(&register("witch@lit/a", "crone"), "conflict");
    stage.refuses(&register("witch@lit/a", ""), "not-acceptable");
    stage.refuses(&register("witch@lit/a", "\u{2800}"), "not-acceptable");
    // Another one instead, and an end.
    stage.hear(&register("hag@lit/a", "newhag"));
    stage.join("witch@lit/a", "oldhag");
    let lines = stage.hear(&unregister("hag@lit/a"));
    assert!(lines[1].contains("affiliation='none'"), "{lines:?}");
    assert_eq!(stage.room.affiliations().nick(&bare("hag@lit")), None);
    stage.refuses(&unregister("hag@lit/a"), "registration-required");
}

#[test]
fn xep0045_7_10_who_may_not_register() {
    let mut stage = Stage::of_two();
    stage.affiliate("banned@lit", "outcast");
    for xml in [get("banned@lit/a"), register("banned@lit/a", "x")] {
        stage.refuses(&xml, "not-allowed");
    }
    stage.refuses(&unregister("banned@lit/a"), "registration-required");
    assert_eq!(stage.room.affiliations().of(&bare("banned@lit")), Affiliation::Outcast);
    stage.configure(&[("{urn:xmpp:muc-registration}allow", "0")]);
    for xml in [get("hag@lit/a"), register("hag@lit/a", "x")] {
        stage.refuses(&xml, "not-allowed");
    }
    stage.refuses(&register("witch@lit/a", "x").replace("'submit'", "'form'"), "not-allowed");
    stage.configure(&[("{urn:xmpp:muc-registration}allow", "1")]);
    stage.refuses(&register("witch@lit/a", "x").replace("'submit'", "'cancel'"), "bad-request");
    stage.refuses(&register("witch@lit/a", "x").replace(REGISTER, VOICE), "bad-request");
    // An owner that unregisters is an owner, without a nickname.
    stage.hear(&register(CRONE, "crone"));
    stage.hear(&unregister(CRONE));
    assert_eq!(stage.room.affiliations().of(&bare("crone@lit")), Affiliation::Owner);
}

#[test]
fn xep0045_9_9_in_a_room_for_members_and_in_a_moderated_one_admins_decide() {
    for field in ["muc#roomconfig_membersonly", "muc#roomconfig_moderatedroom"] {
        let mut stage = Stage::open();
        stage.configure(&[(field, "1")]);
        let lines = stage.hear(&register("hag@lit/a", "Hag"));
        assert!(
            lines[0] == "hag@lit/a result" && lines[1].starts_with("crone@lit/a <message from='coven@chat'"),
            "{lines:?}"
        );
        assert_eq!(
            stage.room.affiliations().of(&bare("hag@lit")),
            Affiliation::None,
            "nobody gives voice to themselves"
        );
        let decide = |who, allow| {
            let fields =
                [("muc#register_jid", "hag@lit"), ("muc#register_roomnick", "Hag"), ("muc#register_allow", allow)];
            asking(who, REGISTER, &fields)
        };
        stage.refuses(&decide("hag@lit/a", "true"), "forbidden");
        stage.refuses(&decide(CRONE, "true").replace("'submit'", "'form'"), "bad-request");
        stage.plays(&decide(CRONE, "false"), "");
        assert_eq!(stage.room.affiliations().of(&bare("hag@lit")), Affiliation::None);
        stage.hear(&decide(CRONE, "true"));
        assert_eq!(stage.room.affiliations().nick(&bare("hag@lit")), Some("Hag"));
        stage.join("hag@lit/a", "hag");
        stage.leave(CRONE);
        stage.refuses(&register("witch@lit/a", "witch"), "recipient-unavailable");
    }
}

#[test]
fn abuse_a_nickname_is_not_reserved_for_two_by_one_request() {
    let mut stage = Stage::open();
    let two =
        "<item jid='a@lit' affiliation='member' nick='Same'/><item jid='b@lit' affiliation='member' nick='same'/>";
    stage.refuses(&admin(CRONE, two), "conflict");
}

#[test]
fn abuse_registrations_leave_room_for_bans() {
    let limits = RoomLimits { affiliated: 8, ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join(CRONE, "crone");
    for number in 0..5 {
        stage
            .plays(&register(&format!("u{number}@evil/a"), &format!("u{number}")), &format!("u{number}@evil/a result"));
    }
    stage.refuses(&register("u6@evil/a", "u6"), "resource-constraint");
    stage.affiliate("evil", "outcast");
    stage.affiliate("u0@evil", "outcast");
    stage.affiliate("a@lit", "outcast");
    stage.refuses(&admin(CRONE, "<item jid='b@lit' affiliation='outcast'/>"), "resource-constraint");
}
