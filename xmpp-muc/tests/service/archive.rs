//! What was said, and who may read it.

use super::setup::*;

#[tokio::test]
async fn abuse_a074_what_was_said_in_a_room_that_is_no_more_is_not_the_next_ones() {
    for fault in [None, Some(Fault::Fails), Some(Fault::Hangs)] {
        let disk = Arc::new(Disk::default());
        let server = impatient(&disk, |_| {});
        let mut juliet = Person::new(&server, "juliet").await;
        let mut romeo = Person::new(&server, "romeo").await;
        juliet.makes("cave", PERSISTENT).await;
        romeo.joins("cave").await;
        juliet.says("cave", "secret").await;
        romeo.hears("secret").await;
        juliet.hears("secret").await;
        if let Some(fault) = fault {
            disk.breaks("forget", fault);
        }
        // Who hears of the end hears it once, whatever becomes of the archive.
        let answer = juliet.destroys("cave").await;
        assert_eq!(answer.is_ok(), fault != Some(Fault::Hangs));
        for person in [&mut juliet, &mut romeo] {
            while person.presence().await.1.destroy.is_none() {}
        }
        assert_eq!(refused(romeo.reads("cave").await), Condition::ItemNotFound);
        if fault.is_some() {
            romeo.asks("cave").await;
            assert!(romeo.presence().await.0.error().is_some(), "not before it is forgotten");
        }
        disk.heals();
        romeo.makes("cave", &[]).await;
        assert_eq!(romeo.reads("cave").await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn xep0425_5_what_a_moderator_retracts_is_gone_from_archive_and_history() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", PERSISTENT).await;
    romeo.joins("cave").await;
    romeo.says("cave", "cheap gold").await;
    romeo.hears("cheap gold").await;
    let heard = juliet.hears("cheap gold").await;
    let id = heard.stanza().root().child("stanza-id", "urn:xmpp:sid:0").unwrap().attr("id").unwrap().into_owned();
    let retract = |id: &str| {
        let request = Moderate { id: id.to_owned(), retract: true, reason: Some("spam".to_owned()) };
        Iq::set(Person::address("cave")).payload(&request)
    };
    for unknown in ["never", "zzzzzzzzzzzzzzzz"] {
        assert_eq!(refused(juliet.client.request(retract(unknown)).await), Condition::ItemNotFound);
    }
    assert_eq!(refused(romeo.client.request(retract(&id)).await), Condition::Forbidden);
    juliet.client.request(retract(&id)).await.unwrap();
    assert!(romeo.message().await.stanza().as_str().contains("<retract"));
    assert!(juliet.message().await.stanza().as_str().contains("<retract"));
    let archived = romeo.reads("cave").await.unwrap();
    assert_eq!(archived.len(), 2);
    assert!(archived[0].contains("<retracted") && archived[0].contains("<occupant-id"), "{}", archived[0]);
    assert!(!archived.iter().any(|text| text.contains("gold")));
    // History from memory, and from the archive.
    for _ in 0..2 {
        let mut nurse = Person::new(&server, "nurse").await;
        let (_, history) = nurse.joins("cave").await;
        assert!(history[0].stanza().as_str().contains("<retracted"), "{:?}", history[0]);
        assert!(!history.iter().any(|message| message.stanza().as_str().contains("gold")));
        for person in [&mut nurse, &mut juliet, &mut romeo] {
            person.leaves("cave").await;
        }
        juliet.joins("cave").await;
        romeo.joins("cave").await;
    }
}

#[tokio::test]
async fn xep0424_5_who_has_said_something_can_take_it_back_and_nobody_else() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    romeo.says("cave", "i hate thee").await;
    romeo.hears("i hate thee").await;
    let heard = juliet.hears("i hate thee").await;
    let id = heard.stanza().root().child("stanza-id", "urn:xmpp:sid:0").unwrap().attr("id").unwrap().into_owned();
    let retract = xmpp_im::message::retraction::Retract { id };
    for (person, others) in [(&juliet, true), (&romeo, false)] {
        person.client.send(Message::groupchat(Person::address("cave")).payload(&retract)).await.unwrap();
        let text = loop {
            let page = Selection { max: 9, max_bytes: 9999, ..Selection::default() };
            let page = disk.archive.query(&format!("cave@{SERVICE}").parse().unwrap(), &page).await.unwrap().unwrap();
            if page.entries.len() == if others { 2 } else { 3 } {
                break page.entries[0].text.to_string();
            }
            tokio::task::yield_now().await;
        };
        if others {
            assert!(text.contains("i hate thee"), "it is not hers");
        }
    }
    romeo.message().await;
    romeo.message().await;
    assert!(!romeo.reads("cave").await.unwrap().concat().contains("i hate thee"));
}

#[tokio::test]
async fn an_archive_holds_as_much_as_it_may() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |settings| settings.archive.keep_messages = Some(4));
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", &[]).await;
    for n in 0..12 {
        juliet.says("cave", &n.to_string()).await;
        juliet.hears(&n.to_string()).await;
    }
    let room = format!("cave@{SERVICE}").parse().unwrap();
    let all = Selection { max: 99, max_bytes: 99_999, ..Selection::default() };
    let kept = async {
        while disk.archive.query(&room, &all).await.unwrap().unwrap().entries.len() > 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, kept).await.unwrap();
}

#[tokio::test]
async fn abuse_a074_archives_are_for_who_could_come_in_and_tell_no_addresses() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    let mut romeo = Person::new(&server, "romeo").await;
    let mut nurse = Person::new(&server, "nurse").await;
    juliet.makes("cave", &[]).await;
    romeo.joins("cave").await;
    romeo.says("cave", "here").await;
    romeo.hears("here").await;
    juliet.hears("here").await;
    let open = nurse.reads("cave").await.unwrap();
    assert!(open.len() == 1 && !open[0].contains("romeo@localhost"), "{open:?}");
    assert_eq!(refused(nurse.reads("nowhere").await), Condition::ItemNotFound);
    let set = |affiliation| AdminQuery::affiliation(jid("nurse@localhost"), affiliation, None);
    juliet.sets("cave", &set(Affiliation::Outcast)).await;
    assert_eq!(refused(nurse.reads("cave").await), Condition::Forbidden, "banned");
    juliet.sets("cave", &set(Affiliation::None)).await;
    let secret = [("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "x")];
    juliet.configures("cave", &secret).await.unwrap();
    assert_eq!(refused(nurse.reads("cave").await), Condition::Forbidden, "has no password");
    juliet.configures("cave", &[("muc#roomconfig_passwordprotectedroom", "0")]).await.unwrap();
    juliet.configures("cave", &[("muc#roomconfig_membersonly", "1")]).await.unwrap();
    assert_eq!(refused(nurse.reads("cave").await), Condition::Forbidden, "no member");
    assert_eq!(refused(romeo.reads("cave").await), Condition::Forbidden, "and no more");
    juliet.sets("cave", &set(Affiliation::Member)).await;
    assert_eq!(nurse.reads("cave").await.unwrap().len(), 1);
}

#[tokio::test]
async fn xep0313_4_3_a_page_of_a_rooms_archive_is_there_before_it_is_said_to_end() {
    // Messages have to wait on their way to their recipient while the gate is shut, as where a block list has to be looked
    // up.
    let (gate, open) = tokio::sync::watch::channel(true);
    let slow = move |r: &mut ServerRegistrar| {
        let wait = move |_: &mut Envelope, _: &Server| {
            let mut open = open.clone();
            Decision::Wait(Box::pin(async move {
                let _ = open.wait_for(|open| *open).await;
                Verdict::Continue
            }))
        };
        r.station(Station::new("test:slow", Stage::Incoming, Kinds::MESSAGE, wait));
    };
    let disk = Arc::new(Disk::default());
    let server = builder(&disk, PATIENCE, |_| {}, |muc| muc).with(slow).build().unwrap();
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", &[]).await;
    for number in 0..5 {
        juliet.says("cave", &number.to_string()).await;
        juliet.hears(&number.to_string()).await;
    }
    gate.send(false).unwrap();
    let query = Iq::set(Person::address("cave")).payload(&ArchiveQuery::default());
    juliet.client.query::<ArchiveFin>(query).await.unwrap();
    // What has come by now came before the answer.
    juliet.client.request(Iq::get(jid("localhost")).payload(&Ping)).await.unwrap();
    let mut came = 0;
    while let Ok(Some(event)) = timeout(Duration::ZERO, juliet.events.next()).await {
        came += usize::from(matches!(&event, Event::Message(message) if message.payload::<ArchiveResult>().is_some()));
    }
    assert_eq!(came, 5);
}
