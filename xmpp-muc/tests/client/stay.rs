//! Sessions come and go, and a client stays in its rooms.

use super::setup::*;

#[tokio::test]
async fn a_room_is_entered_again_in_a_new_session_and_nothing_is_told_twice() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, _her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let build = |builder: ClientBuilder| builder.no_stream_management().with(client_with(settings()));
    let (romeo, cutter) = connect(&server, "romeo", build);
    let (his, mut his_events) = within(romeo.muc().unwrap().join(balcony(), "Romeo").into_future()).await.unwrap();
    within(his.send("before")).await.unwrap();
    assert_eq!(text(&mut his_events).await, "before");
    cutter.cut();
    let loss = until(&mut his_events, |event| if let RoomEvent::Lost(loss) = event { Some(loss) } else { None }).await;
    assert_eq!(loss, Loss::Session);
    within(his.inside()).await;
    let mut told = Vec::new();
    within(hers.send("after")).await.unwrap();
    until(&mut his_events, |event| match event {
        RoomEvent::Message(message) => {
            told.push(message.body().unwrap().into_owned());
            (told.last().unwrap() == "after").then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(told, ["after"]);
    assert!(within(his.missed().next()).await.is_none(), "all of it was told");
    let mut all = his.since(Since::Beginning);
    assert!(within(all.next()).await.is_none());
    within(his.send("and I am there")).await.unwrap();
}

async fn rooms_alone_are_no_chats(server: &Server) -> bool {
    use xmpp_im::chat::ChatClient;
    let nurse = connect(server, "nurse", |builder| builder.with(client_with(settings()))).0;
    nurse.chats().is_err() && nurse.archive().is_ok()
}

#[tokio::test]
async fn xep0313_what_was_missed_is_read_from_the_archive_once() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, mut her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    // Chats, which read archives too, may come before or after.
    let chats = xmpp_im::chat::client(xmpp_im::chat::ChatSettings::default());
    let build = |builder: ClientBuilder| builder.with(client_with(settings())).with(chats);
    assert!(rooms_alone_are_no_chats(&server).await);
    let (romeo, _) = connect(&server, "romeo", build);
    let joining = romeo.muc().unwrap().join(balcony(), "Romeo").history(History::None);
    let (his, mut his_events) = within(joining.into_future()).await.unwrap();
    within(hers.send("one")).await.unwrap();
    assert_eq!(text(&mut his_events).await, "one");
    within(hers.kick("Romeo", None)).await.unwrap();
    until(&mut his_events, |event| matches!(event, RoomEvent::Removed(_)).then_some(())).await;
    for said in ["two", "three"] {
        within(hers.send(said)).await.unwrap();
    }
    let mut missed = his.missed();
    for said in ["two", "three"] {
        let message = within(missed.next()).await.unwrap().unwrap();
        assert_eq!((message.body().unwrap().as_ref(), message.nick.as_deref()), (said, Some("Juliet")));
        assert!(message.stanza_id.is_some() && message.is_history());
    }
    assert!(within(missed.next()).await.is_none());
    within(his.rejoin()).await.unwrap();
    within(hers.send("four")).await.unwrap();
    assert_eq!(text(&mut his_events).await, "four", "the history of the room was known");
    assert_eq!(text(&mut her_events).await, "one");
}

#[tokio::test]
async fn xep0198_a_session_that_goes_on_is_still_in_the_room() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, mut her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let (romeo, cutter) = connect(&server, "romeo", |builder| builder.with(client_with(settings())));
    let (his, mut his_events) = within(romeo.muc().unwrap().join(balcony(), "Romeo").into_future()).await.unwrap();
    assert_eq!(arrived(&mut her_events).await.nick, "Romeo");
    cutter.cut();
    within(hers.send("are you there?")).await.unwrap();
    let mut lost = false;
    until(&mut his_events, |event| {
        lost |= matches!(event, RoomEvent::Lost(_));
        matches!(event, RoomEvent::Message(_)).then_some(())
    })
    .await;
    assert!(!lost && his.is_inside());
    within(his.send("I am")).await.unwrap();
    let mut left = false;
    until(&mut her_events, |event| {
        left |= matches!(event, RoomEvent::Departed { .. });
        matches!(event, RoomEvent::Message(message) if message.nick.as_deref() == Some("Romeo")).then_some(())
    })
    .await;
    assert!(!left);
}

#[tokio::test]
async fn xep0410_a_silent_loss_is_noticed() {
    let server = server();
    let juliet = login(&server, "juliet");
    let (hers, _her_events) = within(juliet.join(balcony(), "Juliet").into_future()).await.unwrap();
    let deaf = Arc::new(AtomicBool::new(false));
    let ear = Arc::clone(&deaf);
    let hearing = move |r: &mut ClientRegistrar| {
        r.incoming(move |stanza, _| match stanza {
            AnyStanza::Presence(presence)
                if presence.type_() == PresenceType::Unavailable && ear.load(Ordering::Relaxed) =>
            {
                Flow::Handled
            }
            _ => Flow::Continue,
        });
    };
    let mut settings = settings();
    settings.ping_after = Duration::from_millis(50);
    let build = |builder: ClientBuilder| builder.with(hearing).with(client_with(settings));
    let (romeo, _cutter) = connect(&server, "romeo", build);
    let (his, mut his_events) = within(romeo.muc().unwrap().join(balcony(), "Romeo").into_future()).await.unwrap();
    deaf.store(true, Ordering::Relaxed);
    within(hers.kick("Romeo", None)).await.unwrap();
    let loss = until(&mut his_events, |event| if let RoomEvent::Lost(loss) = event { Some(loss) } else { None }).await;
    assert_eq!(loss, Loss::Silent);
    until(&mut his_events, |event| matches!(event, RoomEvent::Rejoined(_)).then_some(())).await;
    within(his.send("back")).await.unwrap();
    // And when there is no hope, it is said.
    within(hers.ban(&bare("romeo@localhost"), None)).await.unwrap();
    let error =
        until(&mut his_events, |event| if let RoomEvent::GaveUp(error) = event { Some(error) } else { None }).await;
    assert!(matches!(error, JoinError::Banned));
}
