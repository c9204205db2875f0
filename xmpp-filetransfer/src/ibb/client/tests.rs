use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xmpp_core::{
    client::{Events, RequestError},
    jid::FullJid,
    server::{MemoryAccounts, Server},
    stanza::{Condition, ErrorType, Iq},
};

/// A client, its address, and its events, which nobody looks at.
struct Peer {
    client: Client,
    jid: FullJid,
    _events: Events,
}

impl Peer {
    async fn new(server: &Server, name: &str, settings: IbbSettings) -> Peer {
        let server = server.clone();
        let builder = Client::builder(format!("{name}@localhost").parse().unwrap(), "secret");
        let builder = builder.with(client_with(settings)).pipe(move || server.connect_memory());
        let (client, events) = builder.connect().unwrap();
        let jid = client.online().await.unwrap();
        Peer { client, jid, _events: events }
    }

    async fn refused(&self, request: xmpp_core::stanza::IqBuilder) -> Condition {
        match self.client.request(request).await {
            Err(RequestError::Refused(error)) => error.condition,
            other => unreachable!("{other:?}"),
        }
    }
}

fn server() -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["romeo@localhost", "juliet@localhost", "tybalt@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    Server::builder("localhost").accounts(accounts).build().unwrap()
}

async fn two(settings: IbbSettings) -> (Server, Peer, Peer) {
    let server = server();
    let romeo = Peer::new(&server, "romeo", IbbSettings::default()).await;
    let juliet = Peer::new(&server, "juliet", settings).await;
    (server, romeo, juliet)
}

async fn joined(romeo: &Peer, juliet: &Peer, sid: &str, how: Opening) -> (IbbStream, IbbStream) {
    let expected = expect(&juliet.client, romeo.jid.clone(), sid, 4096).unwrap();
    let sending = open(&romeo.client, juliet.jid.clone(), sid, how).await.unwrap();
    (sending, expected.stream().await.unwrap())
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from((n * 31 + n / 251) % 256).unwrap()).collect()
}

#[tokio::test]
async fn xep0047_bytes_go_both_ways_by_either_carrier() {
    let (_server, romeo, juliet) = two(IbbSettings::default()).await;
    for (sid, carrier) in [("a", Carrier::Iq), ("b", Carrier::Message)] {
        let (mut one, mut two) = joined(&romeo, &juliet, sid, Opening::default().carrier(carrier)).await;
        let (there, back) = (bytes(300_000), bytes(50_000));
        let (sent, answered) = (there.clone(), back.clone());
        let answering = tokio::spawn(async move {
            let mut got = vec![0; sent.len()];
            two.read_exact(&mut got).await.unwrap();
            assert!(got == sent);
            two.write_all(&answered).await.unwrap();
            two.shutdown().await.unwrap();
        });
        one.write_all(&there).await.unwrap();
        let mut got = Vec::new();
        one.read_to_end(&mut got).await.unwrap();
        assert!(got == back);
        answering.await.unwrap();
        assert!(one.write_all(b"more").await.is_err(), "the peer has closed it");
    }
    // Nothing is left of them.
    drop(romeo);
    assert!(Part::of(&juliet.client).unwrap().table().links.is_empty());
}

#[tokio::test]
async fn xep0047_2_1_strangers_and_unexpected_streams_are_not_acceptable() {
    let (server, romeo, juliet) = two(IbbSettings::default()).await;
    let tybalt = Peer::new(&server, "tybalt", IbbSettings::default()).await;
    let expected = expect(&juliet.client, romeo.jid.clone(), "a", 4096).unwrap();
    let opening = |sid: &str| {
        Iq::set(juliet.jid.clone()).payload(&Open { block_size: 4096, sid: sid.into(), carrier: Carrier::Iq })
    };
    assert_eq!(tybalt.refused(opening("a")).await, Condition::NotAcceptable);
    assert_eq!(romeo.refused(opening("b")).await, Condition::NotAcceptable);
    assert_eq!(romeo.refused(opening("not a name")).await, Condition::BadRequest);
    let block = Iq::set(juliet.jid.clone()).payload(&Data::new("a", 0, b"x".to_vec()));
    assert_eq!(romeo.refused(block).await, Condition::ItemNotFound, "it is not open");
    let sending = open(&romeo.client, juliet.jid.clone(), "a", Opening::default()).await.unwrap();
    assert_eq!(romeo.refused(opening("a")).await, Condition::NotAcceptable, "it is open");
    let block = Iq::set(juliet.jid.clone()).payload(&Data::new("a", 0, b"x".to_vec()));
    assert_eq!(tybalt.refused(block).await, Condition::ItemNotFound, "it is another's");
    let end = Iq::set(juliet.jid.clone()).payload(&Close { sid: "a".into() });
    assert_eq!(tybalt.refused(end).await, Condition::ItemNotFound);
    drop((expected.stream().await.unwrap(), sending));
    drop(expect(&juliet.client, romeo.jid.clone(), "c", 4096).unwrap());
    assert_eq!(romeo.refused(opening("c")).await, Condition::NotAcceptable, "nobody waits for it any more");
}

#[tokio::test]
async fn xep0047_2_1_larger_blocks_than_wanted_are_a_resource_constraint() {
    let (_server, romeo, juliet) = two(IbbSettings::default()).await;
    let expected = expect(&juliet.client, romeo.jid.clone(), "a", 1024).unwrap();
    let exactly = open(&romeo.client, juliet.jid.clone(), "a", Opening::default().exactly(4096)).await;
    let Err(IbbError::Refused(error)) = exactly else { unreachable!("{exactly:?}") };
    // As in the document; `wait` would invite the same once more.
    assert_eq!((error.condition, error.type_), (Condition::ResourceConstraint, ErrorType::Modify));
    let sending = open(&romeo.client, juliet.jid.clone(), "a", Opening::default()).await.unwrap();
    assert_eq!(sending.block_size(), 1024);
    assert_eq!(expected.stream().await.unwrap().block_size(), 1024);
    assert!(matches!(
        open(&romeo.client, juliet.jid.clone(), "b", Opening::default().block_size(0)).await,
        Err(IbbError::Parameters)
    ));
}

#[tokio::test]
async fn abuse_a_wrong_number_ends_the_stream_and_a_replay_too() {
    let (_server, romeo, juliet) = two(IbbSettings::default()).await;
    for (sid, numbers) in [("a", &[0_u16, 2][..]), ("b", &[0, 0]), ("c", &[65_535])] {
        let (sending, mut receiving) = joined(&romeo, &juliet, sid, Opening::default()).await;
        let mut refusal = None;
        for seq in numbers {
            let block = Iq::set(juliet.jid.clone()).payload(&Data::new(sid, *seq, b"x".to_vec()));
            refusal = romeo.client.request(block).await.err();
        }
        assert!(
            matches!(refusal, Some(RequestError::Refused(error)) if error.condition == Condition::UnexpectedRequest)
        );
        let mut read = Vec::new();
        let error = receiving.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(read.len(), numbers.len() - 1, "what came in order was read");
        let mut sending = sending;
        // The peer was told.
        assert_eq!(sending.read(&mut [0]).await.unwrap(), 0);
    }
    let (sending, mut receiving) = joined(&romeo, &juliet, "d", Opening::default()).await;
    let garbage = Data { text: "=AAA".into(), ..Data::new("d", 0, Vec::new()) };
    assert_eq!(romeo.refused(Iq::set(juliet.jid.clone()).payload(&garbage)).await, Condition::BadRequest);
    assert!(receiving.read(&mut [0]).await.is_err());
    drop(sending);
}

#[tokio::test]
async fn abuse_streams_of_a_peer_and_offers_are_bounded() {
    let settings = IbbSettings { streams: 3, of_peer: 2, offers: 1, ..IbbSettings::default() };
    let (server, romeo, juliet) = two(settings).await;
    let tybalt = Peer::new(&server, "tybalt", IbbSettings::default()).await;
    let mut offers = listen(&juliet.client).unwrap();
    assert!(matches!(listen(&juliet.client), Err(IbbError::Exists)));
    let mut streams = Vec::new();
    for sid in ["a", "b"] {
        let opening = open(&romeo.client, juliet.jid.clone(), sid, Opening::default());
        let accepting = async { offers.next().await.unwrap().accept().await.unwrap() };
        let (sending, receiving) = tokio::join!(opening, accepting);
        streams.push((sending.unwrap(), receiving));
    }
    let refused = open(&romeo.client, juliet.jid.clone(), "c", Opening::default()).await;
    assert!(matches!(refused, Err(IbbError::Refused(error)) if error.condition == Condition::ResourceConstraint));
    // Another has a place left.
    let opening = open(&tybalt.client, juliet.jid.clone(), "a", Opening::default());
    let rejecting = async { offers.next().await.unwrap().reject() };
    let (refused, ()) = tokio::join!(opening, rejecting);
    assert!(matches!(refused, Err(IbbError::Refused(error)) if error.condition == Condition::NotAcceptable));
    // One waits for the application, the next does not.
    let opening = |sid: &str| {
        Iq::set(juliet.jid.clone()).payload(&Open { block_size: 16, sid: sid.into(), carrier: Carrier::Iq })
    };
    tybalt.client.send(opening("d")).await.unwrap();
    for sid in ["e", "f", "g"] {
        assert_eq!(tybalt.refused(opening(sid)).await, Condition::ResourceConstraint, "{sid}");
    }
    drop(offers);
    assert_eq!(tybalt.refused(opening("h")).await, Condition::NotAcceptable);
}

#[tokio::test]
async fn abuse_who_does_not_wait_loses_the_stream_and_who_waits_is_held_back() {
    let limits = IbbLimits { incoming: 8_192, overrun: 65_536, ..IbbLimits::default() };
    let (_server, romeo, juliet) = two(IbbSettings { limits, ..IbbSettings::default() }).await;
    let (mut sending, mut receiving) = joined(&romeo, &juliet, "a", Opening::default()).await;
    let everything = bytes(500_000);
    let written = everything.clone();
    let writer = tokio::spawn(async move {
        sending.write_all(&written).await.unwrap();
        sending.shutdown().await.unwrap();
    });
    let part = Part::of(&juliet.client).unwrap();
    let link = part.link(&romeo.jid, "a").unwrap();
    // Nothing is read, and the writer waits: no more than the window comes beyond what there is room for.
    link.wait_until(|blocks| !blocks.has_room()).await;
    let mut got = Vec::new();
    receiving.read_to_end(&mut got).await.unwrap();
    assert!(got == everything);
    writer.await.unwrap();

    let (_sending, mut receiving) = joined(&romeo, &juliet, "b", Opening::default()).await;
    for seq in 0..17 {
        let block = Iq::set(juliet.jid.clone()).payload(&Data::new("b", seq, vec![0; 4096]));
        romeo.client.send(block).await.unwrap();
    }
    let link = part.link(&romeo.jid, "b").unwrap();
    link.wait_until(|blocks| blocks.clone().write(b"x").is_err()).await;
    let mut got = Vec::new();
    assert!(receiving.read_to_end(&mut got).await.is_err());
    assert_eq!(got.len(), 65_536, "what was taken is there");
}

#[tokio::test]
async fn xep0047_4_a_message_with_a_block_for_no_stream_comes_back() {
    let (_server, romeo, juliet) = two(IbbSettings::default()).await;
    let (mut sending, receiving) = joined(&romeo, &juliet, "a", Opening::default().carrier(Carrier::Message)).await;
    // The peer forgets the stream without a word.
    Part::of(&juliet.client).unwrap().table().links.clear();
    sending.write_all(b"hello").await.unwrap();
    let error = sending.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    drop(receiving);
}

#[tokio::test]
async fn a_stream_ends_with_the_session_of_either() {
    let (server, romeo, juliet) = two(IbbSettings::default()).await;
    let (mut sending, mut receiving) = joined(&romeo, &juliet, "a", Opening::default()).await;
    drop(juliet.client.clone());
    assert!(juliet.client.close().await);
    let error = receiving.read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().contains("client has ended"), "{error}");
    sending.write_all(b"hello").await.unwrap();
    assert!(sending.flush().await.is_err(), "the peer is gone");
    assert!(matches!(
        open(&juliet.client, romeo.jid.clone(), "b", Opening::default()).await,
        Err(IbbError::ClientClosed)
    ));
    drop(server);
}

#[tokio::test]
async fn xep0198_5_a_stream_survives_a_resumed_session() {
    let server = server();
    let juliet = Peer::new(&server, "juliet", IbbSettings::default()).await;
    // Connections that can be cut.
    let (cut, cuts) = tokio::sync::watch::channel(0_u32);
    let connect = {
        let server = server.clone();
        move || {
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            let (ours, mut theirs) = xmpp_core::net::Transport::pair(1 << 16);
            let mut to_server = server.connect_memory();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut theirs, &mut to_server) => {}
                    _ = cuts.changed() => {}
                }
            });
            ours
        }
    };
    let builder = Client::builder("romeo@localhost".parse().unwrap(), "secret").with(client).pipe(connect);
    let (romeo, mut events) = builder.connect().unwrap();
    let from = romeo.online().await.unwrap();
    let expected = expect(&juliet.client, from, "a", 4096).unwrap();
    let mut sending = open(&romeo, juliet.jid.clone(), "a", Opening::default()).await.unwrap();
    let mut receiving = expected.stream().await.unwrap();
    let everything = bytes(400_000);
    let written = everything.clone();
    let writer = tokio::spawn(async move {
        for (part, piece) in written.chunks(50_000).enumerate() {
            sending.write_all(piece).await.unwrap();
            if part % 3 == 1 {
                cut.send_modify(|cuts| *cuts += 1);
            }
        }
        sending.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    receiving.read_to_end(&mut got).await.unwrap();
    assert!(got == everything);
    writer.await.unwrap();
    let mut resumed = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        resumed += u32::from(matches!(event, xmpp_core::client::Event::Resumed { .. }));
    }
    assert!(resumed > 0, "the connection was cut");
}

#[tokio::test]
async fn xep0261_4_support_is_told() {
    let (_server, romeo, juliet) = two(IbbSettings::default()).await;
    let query = xmpp_core::payload::disco::DiscoInfoQuery::default();
    let info: xmpp_core::payload::disco::DiscoInfo =
        romeo.client.query(Iq::get(juliet.jid.clone()).payload(&query)).await.unwrap();
    assert!(info.has_feature(super::super::NS) && info.has_feature(super::super::JINGLE_NS));
}

#[tokio::test]
async fn abuse_a_stranger_does_not_learn_by_a_message_who_is_there() {
    let (_server, romeo, juliet) = two(IbbSettings::default()).await;
    let mut events = romeo._events;
    let part = Part::of(&juliet.client).unwrap();
    for (id, to) in [("all", juliet.jid.to_bare().into()), ("one", Jid::from(juliet.jid.clone()))] {
        let block = Message::chat(to).from(romeo.jid.clone()).id(id).payload(&Data::new("a", 0, vec![1])).build();
        assert!(matches!(part.message(&AnyStanza::Message(block), &juliet.client), Flow::Handled));
    }
    let back = loop {
        match events.next().await {
            Some(xmpp_core::client::Event::Message(message)) => break message,
            Some(_) => {}
            None => unreachable!(),
        }
    };
    assert_eq!(back.error().unwrap().condition, Condition::ItemNotFound);
    assert_eq!(back.id().as_deref(), Some("one"), "who does not know its address hears nothing");
}
