//! What is said.

use super::setup::*;

#[tokio::test]
async fn xep0045_7_what_is_said_comes_back_and_comes_to_all() {
    let server = server();
    let (hers, mut her_events) =
        within(login(&server, "juliet").join(balcony(), "Juliet").into_future()).await.unwrap();
    let entry = until(&mut her_events, |event| match event {
        RoomEvent::Joined(entry) => Some(entry),
        _ => None,
    })
    .await;
    assert!(entry.created && !entry.is_non_anonymous, "{entry:?}");
    let me = hers.me().unwrap();
    assert_eq!((me.role, me.affiliation, me.nick.as_str()), (Role::Moderator, Affiliation::Owner, "Juliet"));
    assert!(me.id.is_some() && me.jid.is_some());
    let said = within(hers.send("O Romeo, Romeo!")).await.unwrap();
    assert!(said.is_mine && said.stanza_id.is_some() && !said.is_history());
    assert_eq!(text(&mut her_events).await, "O Romeo, Romeo!");
    within(hers.set_subject("Wherefore?")).await.unwrap();

    let (his, mut his_events) = within(login(&server, "romeo").join(balcony(), "Romeo").into_future()).await.unwrap();
    let first = his_events.next().await.unwrap();
    assert!(matches!(first, RoomEvent::Joined(_)), "{first:?}");
    let history = until(&mut his_events, |event| match event {
        RoomEvent::Message(message) => Some(message),
        _ => None,
    })
    .await;
    assert!(history.is_history() && !history.is_mine && history.stanza_id == said.stanza_id, "{history:?}");
    let subject = until(&mut his_events, |event| match event {
        RoomEvent::Subject { nick, text, time } => Some((nick, text, time.is_some())),
        _ => None,
    })
    .await;
    assert_eq!(subject, (Some("Juliet".to_owned()), "Wherefore?".to_owned(), true));
    assert_eq!(his.subject().as_deref(), Some("Wherefore?"));
    assert_eq!(his.occupants().iter().map(|one| one.nick.as_str()).collect::<Vec<_>>(), ["Juliet", "Romeo"]);
    assert_eq!(his.occupant("Juliet").unwrap().jid, None, "he does not see who she is");
    let romeo = arrived(&mut her_events).await;
    assert_eq!(romeo.jid.as_ref().map(Jid::as_str), Some("romeo@localhost/romeo"), "she does");

    let id = within(his.whisper("Juliet", "psst")).await.unwrap();
    let (nick, got, body) = until(&mut her_events, |event| match event {
        RoomEvent::Private(message) => {
            Some((message.nick.clone(), message.id.clone(), message.body().unwrap().into_owned()))
        }
        _ => None,
    })
    .await;
    assert_eq!((nick.as_deref(), got, body.as_str()), (Some("Romeo"), Some(id), "psst"));
    assert!(matches!(his.whisper("Nurse", "you?").await, Err(SayError::NobodyThere)));

    his.set_presence(Some(Show::Away), Some("climbing")).await.unwrap();
    let seen =
        until(&mut her_events, |event| if let RoomEvent::Presence(who) = event { Some(who) } else { None }).await;
    assert_eq!((seen.show, seen.status.as_deref()), (Some(Show::Away), Some("climbing")));

    assert_eq!(within(his.change_nick("Montague")).await.unwrap(), "Montague");
    let (was, nick, mine) = until(&mut her_events, |event| match event {
        RoomEvent::Nick { was, occupant, is_mine } => Some((was, occupant.nick.clone(), is_mine)),
        _ => None,
    })
    .await;
    assert_eq!((was.as_str(), nick.as_str(), mine), ("Romeo", "Montague", false));
    assert_eq!(his.me().unwrap().status.as_deref(), Some("climbing"));
    assert!(matches!(within(his.change_nick("Juliet")).await, Err(JoinError::NickConflict)));
    assert_eq!(his.nick(), "Montague");
    within(his.send("still here")).await.unwrap();
    assert_eq!(text(&mut her_events).await, "still here");

    within(his.leave(Some("banished"))).await.unwrap();
    let (who, why, reason) = until(&mut her_events, |event| match event {
        RoomEvent::Departed { occupant, why, reason, .. } => Some((occupant.nick.clone(), why, reason)),
        _ => None,
    })
    .await;
    assert_eq!((who.as_str(), why, reason.as_deref()), ("Montague", Departure::Left, Some("banished")));
    while his_events.next().await.is_some() {}
    assert!(matches!(his.send("anybody?").await, Err(SayError::NotInRoom)));
    assert!(matches!(his.rejoin().await, Err(JoinError::Closed)));
    assert_eq!(hers.occupants().len(), 1);
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()
}

#[tokio::test]
async fn abuse_a073_presence_and_words_of_rooms_that_were_not_entered_change_nothing() {
    let server = server();
    let (hers, mut her_events, _his, _his_events) = two(&server).await;
    let me = Jid::new("juliet@localhost/juliet").unwrap();
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'>";
    let hand = |from: &str, xml: &str| assert!(server.hand(Jid::new(from).unwrap(), &me, stanza(xml)));
    // Another room, and a user whose address looks like one.
    for from in ["balcony@evil.localhost/Tybalt", "romeo@localhost/romeo", "rooms.localhost/Tybalt"] {
        let item = "<item affiliation='owner' role='moderator'/><status code='110'/></x>";
        hand(from, &format!("<presence from='{from}'>{x}{item}</presence>"));
        hand(from, &format!("<message from='{from}' type='groupchat'><body>forged</body></message>"));
        hand(from, &format!("<message from='{from}' type='groupchat'><subject>forged</subject></message>"));
        hand(from, &format!("<message from='{from}'>{x}<status code='104'/></x></message>"));
    }
    // An occupant is not the room.
    let romeo = "balcony@rooms.localhost/Romeo";
    hand(
        romeo,
        &format!("<message from='{romeo}' type='groupchat'><body>real</body>{x}<status code='172'/></x></message>"),
    );
    let mut before = Vec::new();
    until(&mut her_events, |event| {
        before.push(format!("{event:?}"));
        matches!(event, RoomEvent::Message(_)).then_some(())
    })
    .await;
    assert!(before.iter().all(|event| !event.contains("forged") && !event.contains("Configured")), "{before:#?}");
    assert_eq!((hers.occupants().len(), hers.nick()), (2, "Juliet".to_owned()));
}
