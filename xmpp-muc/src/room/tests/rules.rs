//! Status codes (§15.6) and what holds for all stanzas (§16).

use super::*;
use crate::payload::StatusCode;

/// §15.6, as registered, without those that are the service's choice not to send: 101 (a room writes to nobody who has
/// not asked), 102 and 103 (members who are not there are not shown).
#[test]
fn xep0045_15_6_status_codes() {
    let registered =
        [100, 101, 102, 103, 104, 110, 170, 171, 172, 173, 201, 210, 301, 303, 307, 321, 322, 332, 333].map(StatusCode);
    let known = [
        StatusCode::NON_ANONYMOUS,
        StatusCode::AFFILIATION_CHANGED,
        StatusCode::SHOWS_UNAVAILABLE,
        StatusCode::HIDES_UNAVAILABLE,
        StatusCode::CONFIGURATION_CHANGED,
        StatusCode::SELF,
        StatusCode::LOGGED,
        StatusCode::NOT_LOGGED,
        StatusCode::NOW_NON_ANONYMOUS,
        StatusCode::NOW_SEMI_ANONYMOUS,
        StatusCode::CREATED,
        StatusCode::NICK_ASSIGNED,
        StatusCode::BANNED,
        StatusCode::NICK_CHANGED,
        StatusCode::KICKED,
        StatusCode::AFFILIATION_LOST,
        StatusCode::MEMBERS_ONLY,
        StatusCode::SHUTDOWN,
        StatusCode::TECHNICAL,
    ];
    assert_eq!(registered, known);
}

#[test]
fn xep0045_15_5_fields_of_the_configuration() {
    let fields = [
        "muc#maxhistoryfetch",
        "muc#roomconfig_allowpm",
        "muc#roomconfig_allowinvites",
        "muc#roomconfig_changesubject",
        "muc#roomconfig_enablelogging",
        "muc#roomconfig_getmemberlist",
        "muc#roomconfig_lang",
        "muc#roomconfig_maxusers",
        "muc#roomconfig_membersonly",
        "muc#roomconfig_moderatedroom",
        "muc#roomconfig_passwordprotectedroom",
        "muc#roomconfig_persistentroom",
        "muc#roomconfig_presencebroadcast",
        "muc#roomconfig_publicroom",
        "muc#roomconfig_roomadmins",
        "muc#roomconfig_roomdesc",
        "muc#roomconfig_roomname",
        "muc#roomconfig_roomowners",
        "muc#roomconfig_roomsecret",
        "muc#roomconfig_whois",
    ];
    let form = RoomConfig::default().form(&[bare("crone@lit")], &[]);
    for field in fields {
        assert!(form.field(field).is_some(), "{field}");
    }
    // The form as it is, sent back, changes nothing.
    let mut form = form;
    form.type_ = xmpp_core::payload::form::FormKind::Submit;
    assert_eq!(RoomConfig::default().submitted(&form).unwrap().config, RoomConfig::default());
}

#[test]
fn xep0045_16_3_only_the_room_says_what_somebody_is() {
    let mut stage = Stage::of_two();
    let forged = format!(
        "<x xmlns='{USER}'><item affiliation='owner' role='moderator'/><status code='110'/></x>\
         <x xmlns='{}'><password>secret</password></x><query xmlns='{}'/><y xmlns='{}'/>",
        crate::NS,
        crate::ADMIN,
        crate::OWNER
    );
    let xml = format!("<presence from='witch@lit/a' to='{ROOM}/witch'>{forged}<show>away</show></presence>");
    stage.plays(
        &xml,
        "witch@lit/a <presence from='coven@chat/crone'><x><item affiliation='owner' role='moderator'/></x></presence>
             witch@lit/a <presence from='coven@chat/hag'><x><item affiliation='none' role='participant'/></x></presence>
             crone@lit/a <presence from='coven@chat/witch'><show>away</show><x><item affiliation='none' jid='witch@lit/a' role='participant'/></x></presence>
             hag@lit/a <presence from='coven@chat/witch'><show>away</show><x><item affiliation='none' role='participant'/></x></presence>
             witch@lit/a <presence from='coven@chat/witch'><show>away</show><x><item affiliation='none' jid='witch@lit/a' role='participant'/><status code='110'/></x></presence>
             witch@lit/a <message from='coven@chat' type='groupchat'><subject/></message>",
    );
}

#[test]
fn xep0045_16_3_each_presence_has_role_and_affiliation_and_the_full_address_for_who_may_see_it() {
    let mut stage = Stage::of_two();
    stage.configure(&[("muc#roomconfig_whois", "anyone")]);
    let mut lines = stage.join("witch@lit/a", "witch");
    lines.extend(stage.hear(&format!("<presence from='witch@lit/a' to='{ROOM}/old'/>")));
    lines.extend(stage.affiliate("witch@lit", "member"));
    lines.extend(stage.role("old", "visitor"));
    lines.extend(stage.leave("witch@lit/a"));
    let presences: Vec<_> = lines.iter().filter(|line| line.contains("<presence")).collect();
    assert!(presences.len() > 12);
    for line in presences {
        assert!(line.contains("affiliation='") && line.contains("role='") && line.contains("@lit/a'"), "{line}");
    }
}

#[test]
fn xep0421_4_occupant_ids_are_of_users_and_of_rooms() {
    let stage = Stage::open();
    let id = |room: &Room, user: &str| room.occupant_id(&bare(user));
    assert_eq!(id(&stage.room, "hag@lit"), id(&stage.room, "hag@lit"));
    assert_ne!(id(&stage.room, "hag@lit"), id(&stage.room, "witch@lit"));
    assert!(id(&stage.room, "hag@lit").len() <= 128);
    let other = Room::new(
        bare("other@chat"),
        bare("crone@lit"),
        RoomConfig::default(),
        [8; 32],
        Arc::new(RoomLimits::default()),
    );
    assert_ne!(id(&stage.room, "hag@lit"), id(&other, "hag@lit"));
}
