//! What moderators, admins and owners do.

use super::setup::*;

#[tokio::test]
async fn xep0045_8_2_who_is_kicked_learns_by_whom_and_may_come_back() {
    let server = server();
    let (hers, mut her_events, his, mut his_events) = two(&server).await;
    within(hers.kick("Romeo", Some("too loud"))).await.unwrap();
    let removed = async |events: &mut RoomEvents| {
        until(events, |event| if let RoomEvent::Removed(removal) = event { Some(removal) } else { None }).await
    };
    let removal = removed(&mut his_events).await;
    assert_eq!((removal.why, removal.by.as_deref()), (Departure::Kicked, Some("Juliet")));
    assert!(removal.reason.as_deref() == Some("too loud") && removal.may_return());
    assert!(!his.is_inside() && his.occupants().is_empty() && his.me().is_none());
    assert!(matches!(his.send("oh").await, Err(SayError::NotInRoom)));
    let gone = until(&mut her_events, |event| match event {
        RoomEvent::Departed { occupant, why, by, .. } => Some((occupant.nick.clone(), why, by)),
        _ => None,
    });
    assert_eq!(gone.await, ("Romeo".to_owned(), Departure::Kicked, Some("Juliet".to_owned())));
    assert_eq!(within(his.rejoin()).await.unwrap().nick, "Romeo");
    until(&mut his_events, |event| matches!(event, RoomEvent::Joined(_)).then_some(())).await;
    assert_eq!(arrived(&mut her_events).await.nick, "Romeo");

    let mut form = within(hers.configuration()).await.unwrap();
    form.config.members_only = true;
    within(hers.configure(&form)).await.unwrap();
    assert_eq!(removed(&mut his_events).await.why, Departure::MembersOnly);
    assert!(matches!(within(his.rejoin()).await, Err(JoinError::MembersOnly)));
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Member, None)).await.unwrap();
    within(his.rejoin()).await.unwrap();
    within(hers.disaffiliate(&bare("romeo@localhost"))).await.unwrap();
    assert_eq!(removed(&mut his_events).await.why, Departure::AffiliationLost);
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Member, None)).await.unwrap();
    within(his.rejoin()).await.unwrap();
    within(hers.ban(&bare("romeo@localhost"), Some("banished"))).await.unwrap();
    let removal = removed(&mut his_events).await;
    assert!(removal.why == Departure::Banned && !removal.may_return(), "{removal:?}");
    assert!(matches!(within(his.rejoin()).await, Err(JoinError::Banned)));

    within(hers.destroy(Some(&bare("tomb@rooms.localhost")), Some("all are gone"))).await.unwrap();
    let destroyed = until(&mut her_events, |event| match event {
        RoomEvent::Destroyed(destroyed) => Some(destroyed),
        _ => None,
    });
    let destroyed = destroyed.await;
    assert_eq!(destroyed.jid.unwrap().as_str(), "tomb@rooms.localhost");
    assert_eq!(destroyed.reason.as_deref(), Some("all are gone"));
    assert!(!hers.is_inside());
}

#[tokio::test]
async fn xep0045_8_roles_affiliations_and_voice_are_told_and_changed() {
    let server = server();
    let (hers, mut her_events, his, mut his_events) = two(&server).await;
    within(hers.revoke_voice("Romeo", Some("hush"))).await.unwrap();
    let role = async |events: &mut RoomEvents| {
        until(events, |event| match event {
            RoomEvent::Role { occupant, was, by, reason } => {
                Some((occupant.nick.clone(), was, occupant.role, by, reason))
            }
            _ => None,
        })
        .await
    };
    let (nick, was, is, by, reason) = role(&mut his_events).await;
    assert_eq!((nick.as_str(), was, is), ("Romeo", Role::Participant, Role::Visitor));
    assert_eq!((by.as_deref(), reason.as_deref()), (Some("Juliet"), Some("hush")));
    assert_eq!(his.me().unwrap().role, Role::Visitor);
    assert!(matches!(within(his.send("but")).await, Err(SayError::NotPermitted)));
    assert!(matches!(within(his.set_subject("but")).await, Err(SayError::NotPermitted)));
    his.request_voice().await.unwrap();
    let request = until(&mut her_events, |event| match event {
        RoomEvent::VoiceRequest(request) => Some(request),
        _ => None,
    })
    .await;
    assert_eq!(
        (request.nick.as_str(), request.jid.as_ref().map(Jid::as_str)),
        ("Romeo", Some("romeo@localhost/romeo"))
    );
    hers.answer_voice(&request, true).await.unwrap();
    assert_eq!(role(&mut his_events).await.2, Role::Participant);
    within(his.send("soft!")).await.unwrap();

    within(hers.make_moderator("Romeo")).await.unwrap();
    assert_eq!(role(&mut his_events).await.2, Role::Moderator);
    within(hers.set_affiliation(&bare("romeo@localhost"), Affiliation::Admin, None)).await.unwrap();
    let (was, is) = until(&mut his_events, |event| match event {
        RoomEvent::Affiliation { occupant, was, .. } => Some((was, occupant.affiliation)),
        _ => None,
    })
    .await;
    assert_eq!((was, is), (Affiliation::None, Affiliation::Admin));
    // §10.8: in a semi-anonymous room the list of admins is for owners.
    let refused = within(his.affiliated(Affiliation::Admin)).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.condition == Condition::Forbidden));
    assert_eq!(within(hers.affiliated(Affiliation::Admin)).await.unwrap().len(), 1);
    within(his.ban(&bare("tybalt@localhost"), Some("rude"))).await.unwrap();
    let outcasts = within(his.affiliated(Affiliation::Outcast)).await.unwrap();
    assert_eq!(outcasts[0].jid.as_ref().map(Jid::as_str), Some("tybalt@localhost"));
    assert_eq!(outcasts[0].reason.as_deref(), Some("rude"));
    assert_eq!(within(hers.acting_as(Role::Moderator)).await.unwrap().len(), 2);
    let refused = within(his.destroy(None, None)).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.condition == Condition::Forbidden));

    // XEP-0425.
    let said = within(his.send("a rude word")).await.unwrap();
    within(hers.moderate(said.stanza_id.as_deref().unwrap(), Some("language"))).await.unwrap();
    let retracted = until(&mut his_events, |event| match event {
        RoomEvent::Retracted { id, by, reason } => Some((Some(id), by, reason)),
        _ => None,
    });
    assert_eq!(retracted.await, (said.stanza_id, Some("Juliet".to_owned()), Some("language".to_owned())));
}

#[tokio::test]
async fn xep0045_10_a_room_is_configured_by_a_typed_form() {
    let server = server();
    let juliet = login(&server, "juliet");
    let config = RoomConfig {
        name: "Balcony".to_owned(),
        description: "by night".to_owned(),
        persistent: true,
        moderated: true,
        whois: Whois::Anyone,
        password: Some("hush".to_owned()),
        max_users: Some(30),
        ..RoomConfig::default()
    };
    let (hers, mut events) =
        within(juliet.join(balcony(), "Juliet").configured(config.clone()).into_future()).await.unwrap();
    let mut form = within(hers.configuration()).await.unwrap();
    assert_eq!(form.config, config);
    let info = within(juliet.info(&balcony())).await.unwrap();
    assert!(info.has("muc_passwordprotected") && info.has("muc_moderated") && info.has("muc_nonanonymous"));
    assert_eq!(
        (info.name.as_deref(), info.description(), info.occupants()),
        (Some("Balcony"), Some("by night"), Some(1))
    );

    (form.config.logging, form.config.whois, form.config.name) = (true, Whois::Moderators, "Garden".to_owned());
    within(hers.configure(&form)).await.unwrap();
    let codes =
        until(&mut events, |event| if let RoomEvent::Configured(codes) = event { Some(codes) } else { None }).await;
    for code in [StatusCode::LOGGED, StatusCode::NOW_SEMI_ANONYMOUS, StatusCode::CONFIGURATION_CHANGED] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    assert_eq!(within(hers.configuration()).await.unwrap().config, form.config);
    form.form.fields.retain(|field| field.var.as_deref() != Some("muc#roomconfig_lang"));
    form.config.lang = "it".to_owned();
    let missing = within(hers.configure(&form)).await;
    assert!(matches!(missing, Err(ConfigureError::NotOffered(var)) if var == "muc#roomconfig_lang"));

    let hidden = within(juliet.join(bare("tomb@rooms.localhost"), "Juliet").reserved().into_future()).await.unwrap();
    let romeo = login(&server, "romeo");
    let locked = within(romeo.join(bare("tomb@rooms.localhost"), "Romeo").into_future()).await;
    assert!(matches!(locked.unwrap_err(), JoinError::NoSuchRoom));
    let form = within(hidden.0.configuration()).await.unwrap();
    within(hidden.0.configure(&form)).await.unwrap();
    within(romeo.join(bare("tomb@rooms.localhost"), "Romeo").into_future()).await.unwrap();

    for number in 0..5 {
        let room = bare(&format!("room{number}@rooms.localhost"));
        std::mem::forget(within(juliet.join(room, "Juliet").into_future()).await.unwrap());
    }
    let service = Jid::new("rooms.localhost").unwrap();
    let mut list = romeo.rooms(service.clone()).page(3);
    assert_eq!(within(list.next()).await.unwrap().unwrap().len(), 3);
    let all = within(romeo.rooms(service.clone()).page(2).all()).await.unwrap();
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(all.iter().any(|room| room.jid == balcony() && room.name.as_deref() == Some("Garden")));
    assert_eq!(within(romeo.services()).await.unwrap(), [service]);
}
