use super::*;
use crate::{
    ByteStream,
    proxy65::Proxy65,
    socks5::{Candidate, CandidateKind, Info, StreamHash, Transport, handshake, priority},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use xmpp_core::{
    client::Events,
    jid::FullJid,
    server::{MemoryAccounts, Server},
    stanza::{Condition, Iq},
};

struct Peer {
    client: Client,
    jid: FullJid,
    _events: Events,
}

fn open() -> Socks5Settings {
    Socks5Settings { loopback: true, ..Socks5Settings::default() }
}

/// Without addresses of its own.
fn closed() -> Socks5Settings {
    Socks5Settings { direct: false, ..open() }
}

async fn server(relay: bool) -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["romeo@localhost", "juliet@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    let mut builder = Server::builder("localhost").accounts(accounts);
    if relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        builder = builder.with(Proxy65::new("proxy.localhost").listen(listener).unwrap().advertise("127.0.0.1", port));
    }
    builder.build().unwrap()
}

async fn peer(server: &Server, name: &str, settings: Socks5Settings) -> Peer {
    let server = server.clone();
    let builder = Client::builder(format!("{name}@localhost").parse().unwrap(), "secret");
    let builder = builder.with(client_with(settings)).pipe(move || server.connect_memory());
    let (client, events) = builder.connect().unwrap();
    let jid = client.online().await.unwrap();
    Peer { client, jid, _events: events }
}

async fn two(relay: bool, one: Socks5Settings, other: Socks5Settings) -> (Server, Peer, Peer) {
    let server = server(relay).await;
    let (romeo, juliet) = (peer(&server, "romeo", one).await, peer(&server, "juliet", other).await);
    (server, romeo, juliet)
}

/// Says something each way.
async fn talk(mut one: ByteStream, mut other: ByteStream) {
    for (text, back) in [("hello", false), ("and to you", true)] {
        let (from, to) = if back { (&mut other, &mut one) } else { (&mut one, &mut other) };
        from.write_all(text.as_bytes()).await.unwrap();
        let mut got = vec![0; text.len()];
        to.read_exact(&mut got).await.unwrap();
        assert_eq!(got, text.as_bytes());
    }
    drop(one);
    assert_eq!(other.read(&mut [0]).await.unwrap(), 0);
}

/// Both sides of Jingle, with what they tell each other passed on.
async fn negotiated(
    one: &Peer,
    other: &Peer,
    change: impl FnOnce(&mut Transport, &mut Transport),
) -> (Result<ByteStream, Socks5Error>, Result<ByteStream, Socks5Error>) {
    let ours = gather(&one.client, other.jid.clone(), "vj3hs98y", true, &[]).await.unwrap();
    let mut offered = ours.transport();
    let theirs = gather(&other.client, one.jid.clone(), "vj3hs98y", false, &offered.candidates).await.unwrap();
    let mut answered = theirs.transport();
    for mine in &answered.candidates {
        assert!(!offered.candidates.iter().any(|one| (&one.host, one.port) == (&mine.host, mine.port)), "§2.2");
    }
    change(&mut offered, &mut answered);
    let (to_one, mut one_hears) = mpsc::channel(8);
    let (to_other, mut other_hears) = mpsc::channel(8);
    tokio::join!(
        ours.negotiate(&answered, &mut one_hears, &to_other),
        theirs.negotiate(&offered, &mut other_hears, &to_one),
    )
}

#[tokio::test]
async fn xep0260_2_both_sides_meet_at_a_direct_candidate() {
    let (_server, romeo, juliet) = two(false, open(), open()).await;
    let (one, other) = negotiated(&romeo, &juliet, |_, _| {}).await;
    talk(one.unwrap(), other.unwrap()).await;
    // Whoever can be reached is.
    for hidden in [0, 1] {
        let (one, other) = negotiated(&romeo, &juliet, |ours, theirs| {
            [ours, theirs][hidden].candidates.clear();
        })
        .await;
        talk(one.unwrap(), other.unwrap()).await;
    }
}

/// Gajim 1.7 takes a file for broken off when a connection to its own address ends, also where the other one is used.
#[tokio::test]
async fn xep0260_2_4_what_is_not_used_stays_open_as_long_as_the_stream() {
    let (_server, romeo, juliet) = two(false, open(), closed()).await;
    let ours = gather(&romeo.client, juliet.jid.clone(), "vj3hs98y", true, &[]).await.unwrap();
    let mine = ours.transport().candidates.into_iter().find(|one| one.host == "127.0.0.1").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let worse = Candidate {
        cid: "a".to_owned(),
        host: "127.0.0.1".to_owned(),
        jid: juliet.jid.clone().into(),
        port: listener.local_addr().unwrap().port(),
        priority: priority(CandidateKind::Direct, 0),
        kind: CandidateKind::Direct,
    };
    let answer = Transport { sid: "vj3hs98y".to_owned(), candidates: vec![worse], ..Transport::default() };
    let (told, mut hears) = mpsc::channel(8);
    let (tell, mut said) = mpsc::channel::<Transport>(8);
    let hash = StreamHash::of("vj3hs98y", &romeo.jid.clone().into(), &juliet.jid.clone().into());
    let them = async {
        let (mut unused, _) = listener.accept().await.unwrap();
        let asked = handshake::asked(&mut unused).await.unwrap();
        handshake::grant(&mut unused, &asked).await.unwrap();
        let mut used = TcpStream::connect(("127.0.0.1", mine.port)).await.unwrap();
        handshake::ask(&mut used, hash).await.unwrap();
        assert_eq!(said.recv().await.unwrap().used.unwrap().cid, "a");
        told.send(Info::Used(mine.cid.clone()).transport("vj3hs98y")).await.unwrap();
        (unused, used)
    };
    let (stream, (unused, mut used)) = tokio::join!(ours.negotiate(&answer, &mut hears, &tell), them);
    let mut stream = stream.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    used.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
    // The answer is the system's: there is nothing, and no end.
    let mut unused = unused.into_std().unwrap();
    let nothing = std::io::Read::read(&mut unused, &mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(stream);
    assert_eq!(used.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(std::io::Read::read(&mut unused, &mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn xep0260_2_4_a_relay_is_used_where_nothing_else_is() {
    let (_server, romeo, juliet) = two(true, closed(), closed()).await;
    // Both know the same relay: the initiator's offer counts.
    let (one, other) = negotiated(&romeo, &juliet, |ours, theirs| {
        assert_eq!((ours.candidates.len(), theirs.candidates.len()), (1, 0));
        assert_eq!(ours.dstaddr, Some(StreamHash::of("vj3hs98y", &romeo.jid, &juliet.jid)));
    })
    .await;
    talk(one.unwrap(), other.unwrap()).await;
    // The responder's relay.
    let server = server(true).await;
    let unequal = Socks5Settings { discover: false, ..closed() };
    let (romeo, juliet) = (peer(&server, "romeo", unequal).await, peer(&server, "juliet", closed()).await);
    let (one, other) = negotiated(&romeo, &juliet, |ours, theirs| {
        assert_eq!((ours.candidates.len(), theirs.candidates.len()), (0, 1));
    })
    .await;
    talk(one.unwrap(), other.unwrap()).await;
}

#[tokio::test]
async fn xep0260_3_without_a_way_it_fails_and_tells() {
    let (_server, romeo, juliet) = two(false, closed(), closed()).await;
    let (one, other) = negotiated(&romeo, &juliet, |_, _| {}).await;
    assert!(matches!((one, other), (Err(Socks5Error::Unreachable), Err(Socks5Error::Unreachable))));
    // A relay that is none.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = dead.local_addr().unwrap();
    drop(dead);
    let settings = Socks5Settings {
        proxies: vec![Streamhost::new("proxy.localhost".parse::<Jid>().unwrap(), "127.0.0.1", place.port())],
        ..closed()
    };
    let (_server, romeo, juliet) = two(false, settings, closed()).await;
    let (one, other) = negotiated(&romeo, &juliet, |_, _| {}).await;
    assert!(matches!((one, other), (Err(Socks5Error::Unreachable), Err(Socks5Error::Unreachable))));
}

#[tokio::test]
async fn xep0260_2_4_a_relay_that_cannot_be_activated_is_a_proxy_error() {
    let (_server, romeo, juliet) = two(false, closed(), closed()).await;
    // It lets everybody in and knows nothing of XMPP.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let hash = handshake::asked(&mut socket).await.unwrap();
            handshake::grant(&mut socket, &hash).await.unwrap();
            kept.push(socket);
        }
    });
    let mut settings = closed();
    settings.proxies.push(Streamhost::new("proxy.localhost".parse::<Jid>().unwrap(), "127.0.0.1", place.port()));
    let server = server(false).await;
    let (romeo_2, juliet_2) = (peer(&server, "romeo", settings).await, peer(&server, "juliet", closed()).await);
    let (one, other) = negotiated(&romeo_2, &juliet_2, |_, _| {}).await;
    assert!(matches!((one, other), (Err(Socks5Error::Unreachable), Err(Socks5Error::Unreachable))));
    drop((romeo, juliet));
}

#[tokio::test]
async fn abuse_candidates_at_loopback_are_not_dialled_for_others() {
    let careful = Socks5Settings { loopback: false, ..closed() };
    let (_server, romeo, juliet) = two(false, careful, open()).await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let (one, _other) = negotiated(&romeo, &juliet, |_, theirs| {
        theirs.candidates = (0..40_u16)
            .map(|n| Candidate {
                cid: format!("c{n}"),
                host: if n % 2 == 0 { "127.0.0.1".into() } else { "localhost".into() },
                jid: juliet.jid.clone().into(),
                port: port - n % 7,
                priority: priority(CandidateKind::Direct, n),
                kind: CandidateKind::Direct,
            })
            .collect();
    })
    .await;
    assert!(matches!(one, Err(Socks5Error::Unreachable)));
    let knock = tokio::time::timeout(Duration::ZERO, trap.accept()).await;
    assert!(knock.is_err(), "nobody has knocked");
}

#[tokio::test]
async fn abuse_who_does_not_know_the_stream_does_not_get_in() {
    let (_server, romeo, juliet) =
        two(false, Socks5Settings { attempt: Duration::from_secs(2), ..open() }, closed()).await;
    let ours = gather(&romeo.client, juliet.jid.clone(), "a", true, &[]).await.unwrap();
    let offered = ours.transport();
    let place = |one: &Candidate| (one.host.clone(), one.port);
    let target = place(offered.candidates.iter().find(|one| one.host == "127.0.0.1").unwrap());
    // Some say nothing, some the wrong thing.
    let mut slow = Vec::new();
    for _ in 0..7 {
        slow.push(TcpStream::connect((target.0.as_str(), target.1)).await.unwrap());
    }
    let mut stranger = TcpStream::connect((target.0.as_str(), target.1)).await.unwrap();
    let wrong = StreamHash::of("b", &romeo.jid, &juliet.jid);
    assert!(handshake::ask(&mut stranger, wrong).await.is_err(), "it is closed");
    // Who knows it still finds its way.
    let (tell, mut _told) = mpsc::channel(8);
    let (say, mut said) = mpsc::channel(8);
    let cid = offered.candidates.iter().find(|one| place(one) == target).unwrap().cid.clone();
    let peer = tokio::spawn(async move {
        let mut socket = TcpStream::connect((target.0.as_str(), target.1)).await.unwrap();
        handshake::ask(&mut socket, StreamHash::of("a", &romeo.jid, &juliet.jid)).await.unwrap();
        say.send(Info::Used(cid).transport("a")).await.unwrap();
        (socket, say, romeo, juliet)
    });
    let stream =
        ours.negotiate(&Transport { sid: "a".into(), ..Transport::default() }, &mut said, &tell).await.unwrap();
    let (socket, ..) = peer.await.unwrap();
    talk(stream, Box::new(socket)).await;
    drop(slow);
}

#[tokio::test]
async fn abuse_notices_of_candidates_that_are_none_end_the_negotiation() {
    let (_server, romeo, juliet) = two(false, open(), open()).await;
    let ours = gather(&romeo.client, juliet.jid.clone(), "a", true, &[]).await.unwrap();
    let (tell, _told) = mpsc::channel(8);
    let (say, mut said) = mpsc::channel(8);
    say.send(Info::Used("nothing".into()).transport("a")).await.unwrap();
    let ended = ours.negotiate(&Transport::default(), &mut said, &tell).await;
    assert!(matches!(ended, Err(Socks5Error::Negotiation(NegotiationError::UnknownCandidate))));
    let ours = gather(&romeo.client, juliet.jid.clone(), "a", true, &[]).await.unwrap();
    drop(say);
    assert!(matches!(ours.negotiate(&Transport::default(), &mut said, &tell).await, Err(Socks5Error::Ended)));
}

#[tokio::test]
async fn xep0065_5_the_target_connects_to_the_requester() {
    let (_server, romeo, juliet) = two(false, open(), closed()).await;
    let expected = expect(&juliet.client, romeo.jid.clone(), "a").unwrap();
    assert!(matches!(expect(&juliet.client, romeo.jid.clone(), "a"), Err(Socks5Error::NotNow)));
    let (one, other) = tokio::join!(offer(&romeo.client, juliet.jid.clone(), "a"), expected.stream());
    talk(one.unwrap(), other.unwrap()).await;
}

#[tokio::test]
async fn xep0065_6_both_meet_at_a_relay() {
    let (_server, romeo, juliet) = two(true, closed(), closed()).await;
    let expected = expect(&juliet.client, romeo.jid.clone(), "a").unwrap();
    let (one, other) = tokio::join!(offer(&romeo.client, juliet.jid.clone(), "a"), expected.stream());
    talk(one.unwrap(), other.unwrap()).await;
    assert_eq!(proxies(&romeo.client).await.unwrap().len(), 1);
}

#[tokio::test]
async fn xep0065_5_3_1_what_nobody_expects_is_not_acceptable() {
    let (_server, romeo, juliet) = two(false, open(), open()).await;
    let refused = |offered: Result<ByteStream, Socks5Error>| match offered {
        Err(Socks5Error::Refused(error)) => error.condition,
        other => unreachable!("{:?}", other.err()),
    };
    let offered = offer(&romeo.client, juliet.jid.clone(), "a").await;
    assert_eq!(refused(offered), Condition::NotAcceptable);
    drop(expect(&juliet.client, romeo.jid.clone(), "a").unwrap());
    assert_eq!(refused(offer(&romeo.client, juliet.jid.clone(), "a").await), Condition::NotAcceptable);
    let expected = expect(&juliet.client, romeo.jid.clone(), "a").unwrap();
    // Malformed requests, and one whose only host cannot be reached.
    for (query, condition) in [
        (Query::default(), Condition::BadRequest),
        (Query::offer("a", vec![]), Condition::BadRequest),
        (
            Query {
                mode: crate::socks5::Mode::Udp,
                ..Query::offer("a", vec![Streamhost::new(romeo.jid.clone(), "x", 1)])
            },
            Condition::NotAcceptable,
        ),
        (Query::offer("a", vec![Streamhost::new(romeo.jid.clone(), "0.0.0.0", 1)]), Condition::ItemNotFound),
    ] {
        match romeo.client.request(Iq::set(juliet.jid.clone()).payload(&query)).await {
            Err(RequestError::Refused(error)) => assert_eq!(error.condition, condition, "{query:?}"),
            other => unreachable!("{other:?}"),
        }
    }
    assert!(matches!(expected.stream().await, Err(Socks5Error::Unreachable)));
    assert!(matches!(
        offer(
            &Peer { ..peer(&server(false).await, "romeo", Socks5Settings { discover: false, ..closed() }).await }
                .client,
            juliet.jid.clone(),
            "a"
        )
        .await,
        Err(Socks5Error::NothingToOffer)
    ));
}
