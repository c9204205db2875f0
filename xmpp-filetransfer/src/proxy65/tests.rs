use super::*;
use crate::socks5::{StreamHash, handshake};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use xmpp_core::{
    client::{Client, Events, RequestError},
    jid::FullJid,
    payload::disco::{DiscoInfo, DiscoInfoQuery},
    server::{MemoryAccounts, Server},
    stanza::{Condition, Iq},
};

struct House {
    server: Server,
    place: SocketAddr,
}

const PROXY: &str = "proxy.localhost";

impl House {
    async fn new(change: impl FnOnce(&mut Proxy65Settings)) -> House {
        let accounts = MemoryAccounts::new();
        for name in ["romeo@localhost", "juliet@localhost"] {
            accounts.set_password(name.parse().unwrap(), "secret");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let mut settings = Proxy65Settings::default();
        change(&mut settings);
        let relay =
            Proxy65::new(PROXY).listen(listener).unwrap().advertise("127.0.0.1", place.port()).settings(settings);
        let server = Server::builder("localhost").accounts(accounts).with(relay).build().unwrap();
        House { server, place }
    }

    async fn client(&self, name: &str) -> (Client, FullJid, Events) {
        let server = self.server.clone();
        let builder = Client::builder(format!("{name}@localhost").parse().unwrap(), "secret");
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        let jid = client.online().await.unwrap();
        (client, jid, events)
    }

    /// Connects for a stream.
    async fn guest(&self, hash: StreamHash) -> std::io::Result<TcpStream> {
        let mut socket = TcpStream::connect(self.place).await?;
        handshake::ask(&mut socket, hash).await?;
        Ok(socket)
    }

    /// Connects, where it should be closed without a word.
    async fn is_sent_away(&self) -> bool {
        let mut socket = TcpStream::connect(self.place).await.unwrap();
        // Whether it is reset or ended is the system's matter.
        !matches!(socket.read(&mut [0]).await, Ok(1..))
    }
}

fn proxy() -> Jid {
    PROXY.parse().unwrap()
}

async fn refused(client: &Client, query: Query) -> Condition {
    match client.request(Iq::set(proxy()).payload(&query)).await {
        Err(RequestError::Refused(error)) => error.condition,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn xep0065_4_it_says_what_and_where_it_is() {
    let house = House::new(|_| {}).await;
    let (romeo, _, _events) = house.client("romeo").await;
    let info: DiscoInfo = romeo.query(Iq::get(proxy()).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_identity("proxy", "bytestreams") && info.has_feature(NS));
    let answer: Query = romeo.query(Iq::get(proxy()).payload(&Query::default())).await.unwrap();
    assert_eq!(answer.hosts, [Streamhost::new(proxy(), "127.0.0.1", house.place.port())]);
}

#[tokio::test]
async fn xep0065_6_3_the_requester_alone_activates_a_stream() {
    let house = House::new(|_| {}).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let (juliet, peer, _others) = house.client("juliet").await;
    let hash = StreamHash::of("a", &me, &peer);
    let activate = |target: &FullJid| Query::activate("a", target.clone());
    assert_eq!(refused(&romeo, activate(&peer)).await, Condition::ItemNotFound, "nobody is there");
    let mut target = house.guest(hash).await.unwrap();
    assert_eq!(refused(&romeo, activate(&peer)).await, Condition::NotAllowed, "one is");
    let mut requester = house.guest(hash).await.unwrap();
    assert!(house.guest(hash).await.is_err(), "there are two");
    assert_eq!(refused(&juliet, activate(&me)).await, Condition::ItemNotFound, "the hash is another's");
    assert_eq!(refused(&romeo, activate(&me)).await, Condition::ItemNotFound);
    assert_eq!(refused(&romeo, Query { sid: None, ..activate(&peer) }).await, Condition::BadRequest);
    assert_eq!(refused(&romeo, Query { activate: None, ..activate(&peer) }).await, Condition::BadRequest);
    // What comes too early waits.
    target.write_all(b"early").await.unwrap();
    tokio::task::yield_now().await;
    romeo.request(Iq::set(proxy()).payload(&activate(&peer))).await.unwrap();
    assert_eq!(refused(&romeo, activate(&peer)).await, Condition::ItemNotFound, "once");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let said = sent.clone();
    tokio::spawn(async move {
        requester.write_all(&said).await.unwrap();
        requester.shutdown().await.unwrap();
        let mut back = Vec::new();
        requester.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"earlythanks");
    });
    let mut got = Vec::new();
    target.read_to_end(&mut got).await.unwrap();
    assert!(got == sent);
    target.write_all(b"thanks").await.unwrap();
}

/// Gajim sends, and closes, before it knows that the relay has begun.
#[tokio::test]
async fn who_has_said_all_before_the_stream_begins_is_heard() {
    let house = House::new(|_| {}).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let (_juliet, peer, _others) = house.client("juliet").await;
    let hash = StreamHash::of("a", &me, &peer);
    let mut target = house.guest(hash).await.unwrap();
    let mut requester = house.guest(hash).await.unwrap();
    requester.write_all(b"all of it").await.unwrap();
    drop(requester);
    romeo.request(Iq::set(proxy()).payload(&Query::activate("a", peer))).await.unwrap();
    let mut got = Vec::new();
    target.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"all of it");
}

#[tokio::test]
async fn xep0065_4_who_may_not_use_it_is_forbidden() {
    let house = House::new(|settings| {
        settings.may_use = Some(Arc::new(|jid| jid.local() == Some("juliet")));
    })
    .await;
    let (romeo, me, _events) = house.client("romeo").await;
    let asked = romeo.request(Iq::get(proxy()).payload(&Query::default())).await;
    assert!(matches!(asked, Err(RequestError::Refused(error)) if error.condition == Condition::Forbidden));
    assert_eq!(refused(&romeo, Query::activate("a", me)).await, Condition::Forbidden);
    let (juliet, _, _others) = house.client("juliet").await;
    juliet.query::<Query>(Iq::get(proxy()).payload(&Query::default())).await.unwrap();
}

#[tokio::test]
async fn abuse_connections_are_bounded_at_n_and_n_plus_1() {
    let house = House::new(|settings| (settings.waiting, settings.of_address) = (2, 100)).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let peer: Jid = "juliet@localhost/x".parse().unwrap();
    let hash = StreamHash::of("a", &me, &peer);
    let (one, two) = (house.guest(hash).await.unwrap(), house.guest(hash).await.unwrap());
    assert!(house.is_sent_away().await, "two wait");
    romeo.request(Iq::set(proxy()).payload(&Query::activate("a", peer))).await.unwrap();
    let next = house.guest(StreamHash::of("b", &me, &me)).await;
    assert!(next.is_ok(), "those that are relayed do not wait");
    drop((one, two));

    let house = House::new(|settings| settings.of_address = 2).await;
    let kept = [house.guest(hash).await.unwrap(), house.guest(hash).await.unwrap()];
    assert!(house.is_sent_away().await, "an address has its bound");
    drop(kept);
    // The places are free again.
    while house.guest(hash).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn abuse_streams_of_a_user_are_bounded_at_n_and_n_plus_1() {
    let house = House::new(|settings| (settings.streams, settings.streams_of_user) = (2, 1)).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let (juliet, peer, _others) = house.client("juliet").await;
    let mut kept = Vec::new();
    for (sid, client, from, to, taken) in [
        ("a", &romeo, &me, &peer, true),
        ("b", &romeo, &me, &peer, false),
        ("c", &juliet, &peer, &me, true),
        ("d", &juliet, &peer, &me, false),
    ] {
        let hash = StreamHash::of(sid, from, to);
        kept.push((house.guest(hash).await.unwrap(), house.guest(hash).await.unwrap()));
        let query = Query::activate(sid, to.clone());
        match taken {
            true => drop(client.request(Iq::set(proxy()).payload(&query)).await.unwrap()),
            false => assert_eq!(refused(client, query).await, Condition::ResourceConstraint, "{sid}"),
        }
    }
    // The end of one is room for another, which still waits.
    kept.remove(0);
    loop {
        match romeo.request(Iq::set(proxy()).payload(&Query::activate("b", peer.clone()))).await {
            Ok(_) => break,
            Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::ResourceConstraint),
            Err(error) => unreachable!("{error}"),
        }
    }
}

#[tokio::test]
async fn abuse_a100_who_says_nothing_or_waits_too_long_is_sent_away() {
    let house = House::new(|settings| {
        (settings.handshake, settings.activation) = (Duration::from_millis(50), Duration::from_millis(50));
    })
    .await;
    assert!(house.is_sent_away().await, "a client that says nothing");
    let mut slow = TcpStream::connect(house.place).await.unwrap();
    slow.write_all(&[5]).await.unwrap();
    assert!(!matches!(slow.read(&mut [0]).await, Ok(1..)), "a client that says little");
    let (me, peer): (Jid, Jid) = ("a@localhost/x".parse().unwrap(), "b@localhost/x".parse().unwrap());
    let mut waiting = house.guest(StreamHash::of("a", &me, &peer)).await.unwrap();
    assert!(!matches!(waiting.read(&mut [0]).await, Ok(1..)), "a stream that nobody activates");
    let mut web = TcpStream::connect(house.place).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!matches!(web.read(&mut [0]).await, Ok(1..)), "a client of something else");
}

#[tokio::test]
async fn abuse_a_stream_that_is_silent_or_whose_server_stops_ends() {
    for stops in [false, true] {
        let house = House::new(|settings| {
            if !stops {
                settings.idle = Duration::from_millis(30);
            }
        })
        .await;
        let (romeo, me, _events) = house.client("romeo").await;
        let peer: Jid = "juliet@localhost/x".parse().unwrap();
        let hash = StreamHash::of("a", &me, &peer);
        let (mut one, _two) = (house.guest(hash).await.unwrap(), house.guest(hash).await.unwrap());
        romeo.request(Iq::set(proxy()).payload(&Query::activate("a", peer))).await.unwrap();
        if stops {
            house.server.shutdown(Duration::from_secs(1)).await;
        }
        assert!(!matches!(one.read(&mut [0]).await, Ok(1..)));
        if stops {
            assert!(TcpStream::connect(house.place).await.is_err(), "the port is closed");
        }
    }
}

#[tokio::test]
async fn a_rate_is_kept_to() {
    let house = House::new(|settings| settings.bytes_per_second = Some(200_000)).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let peer: Jid = "juliet@localhost/x".parse().unwrap();
    let hash = StreamHash::of("a", &me, &peer);
    let (mut one, mut two) = (house.guest(hash).await.unwrap(), house.guest(hash).await.unwrap());
    romeo.request(Iq::set(proxy()).payload(&Query::activate("a", peer))).await.unwrap();
    let begun = std::time::Instant::now();
    let writer = tokio::spawn(async move {
        one.write_all(&vec![7; 150_000]).await.unwrap();
        one
    });
    let mut got = vec![0; 150_000];
    two.read_exact(&mut got).await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(450),
        "50 kB at once, the rest at the rate: {:?}",
        begun.elapsed()
    );
    assert!(got.iter().all(|byte| *byte == 7));
    drop(writer.await.unwrap());
}

/// Connects from an address of this machine's that is not the usual one.
#[cfg(target_os = "linux")]
async fn from(address: &str, house: &House) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(house.place).await.unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn abuse_a100_few_addresses_do_not_take_the_place_of_others() {
    let house = House::new(|settings| (settings.waiting, settings.of_address) = (6, 4)).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let peer: Jid = "juliet@localhost/x".parse().unwrap();
    let hash = StreamHash::of("a", &me, &peer);
    // One address says nothing; another, which has heard of the stream, sits in it.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(from("127.0.0.2", &house).await);
    }
    let mut sitting = Vec::new();
    for _ in 0..3 {
        let mut socket = from("127.0.0.3", &house).await;
        sitting.push(handshake::ask(&mut socket, hash).await.map(|()| socket));
    }
    assert!(sitting[0].is_ok() && sitting[1].is_ok() && sitting[2].is_err());
    // The one that was refused is another place.
    silent.push(from("127.0.0.2", &house).await);
    silent.push(from("127.0.0.3", &house).await);
    let other = StreamHash::of("b", &me, &peer);
    let (_one, _two) = (house.guest(other).await.unwrap(), house.guest(other).await.unwrap());
    assert!(!matches!(silent[0].read(&mut [0]).await, Ok(1..)), "who came first of those that have most makes room");
    romeo.request(Iq::set(proxy()).payload(&Query::activate("b", peer.clone()))).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn abuse_a100_who_makes_room_leaves_no_trace() {
    let house = House::new(|settings| (settings.waiting, settings.of_address) = (4, 4)).await;
    let (romeo, me, _events) = house.client("romeo").await;
    let peer: Jid = "juliet@localhost/x".parse().unwrap();
    let hash = StreamHash::of("a", &me, &peer);
    let mut sitting = Vec::new();
    for sid in ["a", "a", "b", "b"] {
        let mut socket = from("127.0.0.2", &house).await;
        handshake::ask(&mut socket, StreamHash::of(sid, &me, &peer)).await.unwrap();
        sitting.push(socket);
    }
    let (mut guests, mut tries) = (Vec::new(), 0);
    while guests.len() < 2 {
        guests.extend(house.guest(hash).await);
        tries += 1;
        assert!(tries < 1_000, "the stream is free again");
    }
    romeo.request(Iq::set(proxy()).payload(&Query::activate("a", peer))).await.unwrap();
}
