//! Many sessions in a room, of which some read slowly, not at all, are replaced, sleep or end while it speaks.

use super::setup::*;
use std::collections::BTreeMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    sync::{mpsc, watch},
    task::AbortHandle,
};
use xmpp_core::{client::Backoff, net::Transport, sasl::ScramKeys};

/// A connection that can be made to take nothing, and be cut.
#[derive(Clone)]
struct Line {
    deaf: watch::Sender<bool>,
    relay: Arc<Mutex<Option<AbortHandle>>>,
}

impl Line {
    fn new() -> Line {
        Line { deaf: watch::Sender::new(false), relay: Arc::default() }
    }

    fn connect(&self, server: &Server) -> Transport {
        let (near, far) = Transport::pair(4 * 1024);
        let server = server.connect_memory();
        let mut deaf = self.deaf.subscribe();
        let relay = tokio::spawn(async move {
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (split(far), split(server));
            let down = async {
                let mut buffer = [0; 4 * 1024];
                loop {
                    let _ = deaf.wait_for(|deaf| !deaf).await;
                    match from_server.read(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => {
                            let _ = deaf.wait_for(|deaf| !deaf).await;
                            if to_client.write_all(&buffer[..read]).await.is_err() {
                                break;
                            }
                        }
                    }
                }
                let _ = to_client.shutdown().await;
            };
            let up = async {
                let _ = copy(&mut from_client, &mut to_server).await;
                let _ = to_server.shutdown().await;
            };
            tokio::join!(down, up)
        });
        *self.relay.lock().unwrap() = Some(relay.abort_handle());
        near
    }

    fn hears(&self, hears: bool) {
        self.deaf.send_replace(!hears);
    }

    fn cut(&self) {
        self.relay.lock().unwrap().take().unwrap().abort();
    }
}

const SHOWN: &str = "muc#roomconfig_presencebroadcast";

/// One of many. What comes is taken at once.
struct Member {
    nick: String,
    client: Client,
    events: mpsc::UnboundedReceiver<Event>,
    line: Line,
}

/// What one has heard.
#[derive(Debug, Default)]
struct Heard {
    said: Vec<String>,
    /// How often each has come and gone.
    came: BTreeMap<String, usize>,
    went: BTreeMap<String, usize>,
}

impl Member {
    async fn login(server: &Server, number: usize) -> Member {
        let (line, server) = (Line::new(), server.clone());
        let builder = Client::builder(jid(&format!("p{number}@localhost/here")), "secret").allow_plaintext();
        let builder = builder.backoff(Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) });
        let connects = line.clone();
        // One password and one salt are one key.
        static KEYS: OnceLock<ScramKeys> = OnceLock::new();
        let builder = match KEYS.get() {
            Some(keys) => builder.keys(keys.clone()),
            None => builder,
        };
        let (client, mut taken) = builder.pipe(move || connects.connect(&server)).connect().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = taken.next().await {
                if let Event::Online { keys: Some(keys), .. } = &event {
                    KEYS.get_or_init(|| keys.clone());
                }
                let _ = sender.send(event);
            }
        });
        assert!(timeout(PATIENCE, client.online()).await.unwrap().is_some());
        Member { nick: format!("p{number}"), client, events, line }
    }

    async fn joins(&mut self) -> Heard {
        let address = jid(&format!("cave@{SERVICE}/{}", self.nick));
        self.client.send(Presence::available().to(address).payload(&Join::default())).await.unwrap();
        self.hears_until(|message| message.subject().is_some()).await
    }

    async fn hears_until(&mut self, is_last: impl Fn(&Message) -> bool) -> Heard {
        let mut heard = Heard::default();
        let all = async {
            loop {
                match self.events.recv().await.unwrap() {
                    Event::Message(message) => {
                        heard.said.extend(message.body().map(|body| body.chars().take(8).collect()));
                        if is_last(&message) {
                            break;
                        }
                    }
                    Event::Presence(presence) => {
                        let nick = presence.from().unwrap().resource().unwrap_or_default().to_owned();
                        let gone = presence.type_str().as_deref() == Some("unavailable");
                        let table = if gone { &mut heard.went } else { &mut heard.came };
                        *table.entry(nick).or_default() += 1;
                    }
                    _ => {}
                }
            }
        };
        let over = timeout(PATIENCE, all).await;
        assert!(over.is_ok(), "{} waits for more than {heard:?}", self.nick);
        heard
    }

    async fn hears_up_to(&mut self, last: &str) -> Heard {
        self.hears_until(|message| message.body().as_deref() == Some(last)).await
    }
}

/// Who speaks. What comes to her is taken and passed over.
struct Juliet(Client);

impl Juliet {
    async fn says(&self, body: &str) {
        self.0.send(Message::groupchat(Person::address("cave")).body(body)).await.unwrap();
    }

    /// Waits until no more than so many are in the room.
    async fn is_with(&self, count: usize) {
        let waits = async {
            loop {
                let query = Iq::get(Person::address("cave")).payload(&DiscoInfoQuery::default());
                let info: DiscoInfo = self.0.query(query).await.unwrap();
                let there = info.forms[0].value("muc#roominfo_occupants").unwrap().parse::<usize>().unwrap();
                if there <= count {
                    break assert_eq!(there, count);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waits).await.unwrap();
    }
}

/// A room of Juliet's, and so many in it.
async fn crowd(server: &Server, count: usize) -> (Juliet, Vec<Member>) {
    let mut juliet = Person::new(server, "juliet").await;
    juliet.makes("cave", &[]).await;
    let Person { client, mut events, .. } = juliet;
    tokio::spawn(async move { while events.next().await.is_some() {} });
    let juliet = Juliet(client);
    let mut members = Vec::new();
    for number in 0..count {
        let mut member = Member::login(server, number).await;
        member.joins().await;
        members.push(member);
    }
    // All have heard of all by then.
    juliet.says("all here").await;
    for member in &mut members {
        member.hears_up_to("all here").await;
    }
    (juliet, members)
}

fn server(change: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(50);
    change(&mut limits);
    let disk = Arc::new(Disk::default());
    builder(&disk, PATIENCE, |settings| settings.config.history = 1_000, |muc| muc).limits(limits).build().unwrap()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:08}")).collect()
}

#[tokio::test]
async fn abuse_all_200_of_a_room_are_hidden_and_shown_to_all_in_one_order_with_what_is_said() {
    let server = server(|_| ());
    let (juliet, mut members) = crowd(&server, 200).await;
    for (roles, gone) in [(&["moderator"][..], true), (&["moderator", "participant", "visitor"], false)] {
        let field = Field { values: roles.iter().map(|role| (*role).to_owned()).collect(), ..Field::new(SHOWN) };
        let form = DataForm::typed(FormKind::Submit, "http://jabber.org/protocol/muc#roomconfig").with(field);
        let query = OwnerQuery { form: Some(form), destroy: None };
        juliet.0.request(Iq::set(Person::address("cave")).payload(&query)).await.unwrap();
        juliet.says("done").await;
        for member in &mut members {
            let heard = member.hears_up_to("done").await;
            // All others once, and nothing of Juliet, who was there all the time.
            let (these, those) = if gone { (heard.went, heard.came) } else { (heard.came, heard.went) };
            assert!(those.is_empty() && these.len() == 199 && these.values().all(|count| *count == 1), "{gone}");
            assert!(!these.contains_key(&member.nick));
        }
    }
}

#[tokio::test]
async fn abuse_a064_of_200_in_a_room_those_who_do_not_read_go_and_all_others_hear_everything_in_order() {
    let server = server(|limits| limits.outbox_bytes = 128 * 1024);
    let (juliet, mut members) = crowd(&server, 200).await;
    let deaf: Vec<Member> = (0..20).map(|number| members.swap_remove(number * 9)).collect();
    deaf.iter().for_each(|member| member.line.hears(false));
    let filling = "x".repeat(4_000);
    for number in numbers(0..60) {
        juliet.says(&format!("{number}{filling}")).await;
        tokio::task::yield_now().await;
    }
    // When nobody is left who does not read, there is one word more.
    juliet.is_with(181).await;
    juliet.says("the end").await;
    let mut expected = numbers(0..60);
    expected.push("the end".to_owned());
    for member in &mut members {
        let heard = member.hears_up_to("the end").await;
        assert_eq!(heard.said, expected, "{}", member.nick);
        assert_eq!(heard.went.len(), 20, "{:?}", heard.went);
        assert!(heard.went.values().all(|times| *times == 1) && heard.came.is_empty(), "{heard:?}");
        assert!(deaf.iter().all(|gone| heard.went.contains_key(&gone.nick)));
    }
}

#[tokio::test]
async fn xep0198_5_whose_connections_are_lost_while_a_room_speaks_miss_nothing_and_stay() {
    let server = server(|_| {});
    let (juliet, mut members) = crowd(&server, 30).await;
    for (at, number) in numbers(0..90).into_iter().enumerate() {
        juliet.says(&number).await;
        if at % 3 == 0 {
            members[at / 3].line.cut();
        }
        tokio::task::yield_now().await;
    }
    for member in &mut members {
        let heard = member.hears_up_to("00000089").await;
        assert_eq!(heard.said, numbers(0..90), "{}", member.nick);
        assert!(heard.went.is_empty() && heard.came.is_empty(), "{heard:?}");
    }
}

#[tokio::test]
async fn who_sleeps_for_good_is_gone_from_the_room_once_and_nobody_else_is() {
    let server = server(|limits| limits.resume_time = Duration::from_secs(1));
    let (juliet, mut members) = crowd(&server, 20).await;
    let mut gone = Vec::new();
    for number in 0..5 {
        let member = members.swap_remove(number * 3);
        // What it has not acknowledged comes back too.
        member.line.hears(false);
        gone.push(member);
    }
    for (at, number) in numbers(0..20).into_iter().enumerate() {
        juliet.says(&number).await;
        if let Some(member) = gone.get(at / 2) {
            // It would come back over another connection, which is as deaf.
            if at % 2 == 0 {
                member.line.cut();
            }
        }
    }
    juliet.is_with(16).await;
    juliet.says("the end").await;
    for member in &mut members {
        let heard = member.hears_up_to("the end").await;
        assert_eq!(heard.said.len(), 21, "{heard:?}");
        let names: Vec<_> = heard.went.iter().map(|(nick, times)| (nick.clone(), *times)).collect();
        let mut expected: Vec<_> = gone.iter().map(|member| (member.nick.clone(), 1)).collect();
        expected.sort();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn rfc6120_7_7_2_2_who_takes_the_place_of_a_session_comes_in_anew_and_hears_each_word_once() {
    for deaf in [false, true] {
        let server = server(|_| {});
        let (juliet, mut members) = crowd(&server, 8).await;
        let replaced: Vec<Member> = members.drain(..4).collect();
        replaced.iter().for_each(|member| member.line.hears(!deaf));
        let mut successors = Vec::new();
        for number in 0..4 {
            for word in numbers(number * 10..number * 10 + 5) {
                juliet.says(&word).await;
            }
            let mut member = Member::login(&server, number).await;
            for word in numbers(number * 10 + 5..number * 10 + 10) {
                juliet.says(&word).await;
            }
            let before = member.joins().await;
            successors.push((member, before));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        juliet.says("the end").await;
        for (member, before) in &mut successors {
            let said = [before.said.clone(), member.hears_up_to("the end").await.said].concat();
            let mut expected = vec!["all here".to_owned()];
            expected.extend(numbers(0..40));
            expected.push("the end".to_owned());
            assert_eq!(said, expected, "{} deaf: {deaf}", member.nick);
        }
        for member in &mut members {
            let heard = member.hears_up_to("the end").await;
            let once = (0..4).map(|number| (format!("p{number}"), 1)).collect::<BTreeMap<_, _>>();
            assert_eq!((&heard.went, &heard.came), (&once, &once));
            assert_eq!(heard.said.len(), 41);
        }
    }
}
