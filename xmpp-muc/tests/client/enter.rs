//! The ways in and out.

use super::setup::*;

#[tokio::test]
async fn xep0045_7_2_17_each_refusal_has_its_name() {
    let mut settings = MucSettings::default();
    settings.may_create = Some(Arc::new(|who: &Jid| who.local() != Some("nurse")));
    let server = server_with(settings);
    let (juliet, romeo, nurse) = (login(&server, "juliet"), login(&server, "romeo"), login(&server, "nurse"));
    let (hers, _events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let refused =
        async |muc: &Muc, room: &str, nick: &str| within(muc.join(bare(room), nick).into_future()).await.unwrap_err();
    let there = "balcony@rooms.localhost";
    assert!(matches!(refused(&juliet, there, "J").await, JoinError::AlreadyThere));
    assert!(matches!(refused(&romeo, there, "Juliet").await, JoinError::NickConflict));
    assert!(matches!(refused(&romeo, there, "").await, JoinError::BadNick(_)));
    assert!(matches!(refused(&nurse, "cell@rooms.localhost", "Nurse").await, JoinError::NotAllowed));
    let nothing = within(romeo.join(bare("cell@rooms.localhost"), "Romeo").existing().into_future()).await;
    assert!(matches!(nothing.unwrap_err(), JoinError::NoSuchRoom));
    assert!(within(romeo.info(&bare("cell@rooms.localhost"))).await.is_err(), "and none is left behind");
    assert!(matches!(
        refused(&romeo, "a@nowhere.localhost", "Romeo").await,
        JoinError::Unreachable | JoinError::NoSuchRoom
    ));
    let (second, _) = within(romeo.join(balcony(), "Juliet").or_numbered(3).into_future()).await.unwrap();
    assert_eq!(second.nick(), "Juliet2");
    within(second.leave(None)).await.unwrap();

    let mut form = within(hers.configuration()).await.unwrap();
    form.config.password = Some("hush".to_owned());
    within(hers.configure(&form)).await.unwrap();
    assert!(matches!(refused(&romeo, there, "Romeo").await, JoinError::Password));
    let wrong = within(romeo.join(balcony(), "Romeo").password("hash").into_future()).await;
    assert!(matches!(wrong.unwrap_err(), JoinError::Password));
    let (inside, _) = within(romeo.join(balcony(), "Romeo").password("hush").into_future()).await.unwrap();
    within(inside.leave(None)).await.unwrap();

    let mut form = within(hers.configuration()).await.unwrap();
    (form.config.password, form.config.members_only) = (None, true);
    within(hers.configure(&form)).await.unwrap();
    assert!(matches!(refused(&romeo, there, "Romeo").await, JoinError::MembersOnly));
    within(hers.ban(&bare("romeo@localhost"), Some("a Montague"))).await.unwrap();
    assert!(matches!(refused(&romeo, there, "Romeo").await, JoinError::Banned));
    let mut form = within(hers.configuration()).await.unwrap();
    (form.config.max_users, form.config.members_only) = (Some(1), false);
    within(hers.configure(&form)).await.unwrap();
    assert!(matches!(refused(&nurse, there, "Nurse").await, JoinError::Full));
}

#[tokio::test]
async fn xep0045_7_8_invitations_go_both_ways_and_nicknames_are_reserved() {
    let server = server();
    let (juliet, romeo) = (login(&server, "juliet"), login(&server, "romeo"));
    let mut invitations = romeo.invitations();
    let (hers, mut events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    within(romeo.info(&balcony())).await.unwrap();
    hers.invite(Jid::new("romeo@localhost/romeo").unwrap(), Some("come up")).await.unwrap();
    let invitation = within(invitations.next()).await.unwrap();
    assert_eq!((&invitation.room, invitation.reason.as_deref()), (&balcony(), Some("come up")));
    assert!(invitation.is_mediated && invitation.from.is_some());
    romeo.decline(&invitation, Some("the nurse")).await.unwrap();
    let (from, reason) = until(&mut events, |event| match event {
        RoomEvent::Declined { from, reason } => Some((from, reason)),
        _ => None,
    })
    .await;
    assert_eq!((from.unwrap().bare_str(), reason.as_deref()), ("romeo@localhost", Some("the nurse")));
    hers.invite_directly(Jid::new("romeo@localhost/romeo").unwrap(), None).await.unwrap();
    let invitation = within(invitations.next()).await.unwrap();
    assert!(!invitation.is_mediated && invitation.from.unwrap().as_str() == "juliet@localhost/juliet");

    let (his, _events) = within(romeo.join(balcony(), "Romeo").into_future()).await.unwrap();
    assert!(matches!(within(his.registration()).await.unwrap(), RoomRegistration::Form(_)));
    within(his.register("Rosaline's")).await.unwrap();
    assert_eq!(within(romeo.reserved_nick(&balcony())).await.unwrap().as_deref(), Some("Rosaline's"));
    let registered = within(his.registration()).await.unwrap();
    assert!(matches!(registered, RoomRegistration::Registered(Some(nick)) if nick == "Rosaline's"));
    assert!(matches!(within(hers.change_nick("Rosaline's")).await, Err(JoinError::NickConflict)));
    within(his.unregister()).await.unwrap();
    assert_eq!(within(romeo.reserved_nick(&balcony())).await.unwrap(), None);
}

#[tokio::test]
async fn the_last_handle_leaves_the_room_and_the_client_ends_the_events() {
    let server = server();
    let (hers, mut her_events, his, his_events) = two(&server).await;
    drop(his);
    assert_eq!(his_events.room().nick(), "Romeo");
    drop(his_events);
    let gone = until(&mut her_events, |event| match event {
        RoomEvent::Departed { occupant, .. } => Some(occupant.nick.clone()),
        _ => None,
    });
    assert_eq!(gone.await, "Romeo");
    let juliet = connect(&server, "nurse", |builder| builder.with(client_with(settings()))).0;
    let (nurse, mut events) = within(juliet.muc().unwrap().join(balcony(), "Nurse").into_future()).await.unwrap();
    juliet.close().await;
    within(async { while events.next().await.is_some() {} }).await;
    assert!(matches!(within(nurse.send("gone")).await, Err(SayError::NotInRoom)));
    assert!(!hers.nick().is_empty());
}

#[tokio::test]
async fn abuse_names_in_the_list_of_rooms_are_bounded() {
    let server = server();
    let juliet = login(&server, "juliet");
    let config = RoomConfig { name: "ä".repeat(2_000), ..RoomConfig::default() };
    let (_hers, _events) = within(juliet.join(balcony(), "Juliet").configured(config).into_future()).await.unwrap();
    let listed = within(juliet.rooms(Jid::new("rooms.localhost").unwrap()).all()).await.unwrap();
    assert_eq!(listed[0].name.as_ref().map(String::len), Some(1_024));
}
