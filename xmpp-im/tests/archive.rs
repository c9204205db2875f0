//! Archives of an embedded server, seen by its clients.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use xmpp_core::{
    client::{Client, Event, Events, RequestError},
    jid::{BareJid, Jid},
    payload::{
        DateTime, Payload, TextValue,
        archive::{
            ArchiveAlways, ArchiveDefault, ArchiveFin, ArchiveMetadata, ArchiveNever, ArchivePrefs, ArchiveQuery,
            ArchiveResult, NS,
        },
        disco::{DiscoInfo, DiscoInfoQuery},
        form::{DataForm, Field, FormKind},
        hints::Hint,
        rsm::ResultSet,
        stanza_id::StanzaId,
    },
    server::{Envelope, Kinds, MemoryAccounts, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{Condition, Iq, Message, MessageBuilder, MessageType, Presence, StanzaError},
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{
    StorageError, Stored,
    archive::{self, ArchiveId, ArchiveSettings, ArchiveStore, MemoryArchive, NewEntry, Page, Preferences, Selection},
};

const ROMEO: &str = "romeo@localhost";
const JULIET: &str = "juliet@localhost";

fn server(settings: ArchiveSettings) -> Server {
    with_store(Arc::new(MemoryArchive::default()), settings, |_: &mut ServerRegistrar| {})
}

fn with_store(
    store: Arc<dyn ArchiveStore>,
    settings: ArchiveSettings,
    more: impl FnOnce(&mut ServerRegistrar),
) -> Server {
    let accounts = MemoryAccounts::new();
    for name in [JULIET, ROMEO, "nurse@localhost"] {
        accounts.set_password(BareJid::new(name).unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts);
    let builder = builder.with(xmpp_im::presence::server).with(xmpp_im::delivery::server);
    builder.with(archive::server(store, settings)).with(more).build().unwrap()
}

struct Device {
    client: Client,
    events: Events,
}

impl Device {
    async fn new(server: &Server, jid: &str) -> Device {
        let server = server.clone();
        let builder = Client::builder(jid.parse().unwrap(), "secret").no_reconnect();
        let (client, mut events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        assert!(matches!(next(&mut events).await, Event::Online { .. }));
        client.send(Presence::available()).await.unwrap();
        assert!(matches!(next(&mut events).await, Event::Presence(_)));
        Device { client, events }
    }

    async fn message(&mut self) -> Message {
        loop {
            match next(&mut self.events).await {
                Event::Message(message) => return message,
                Event::Presence(_) => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    /// Sends, and returns when the server has dealt with it.
    async fn send(&self, message: MessageBuilder) {
        self.client.send(message).await.unwrap();
        self.sync().await;
    }

    async fn sync(&self) {
        self.client.request(Iq::get(jid("localhost")).payload(&xmpp_core::payload::ping::Ping)).await.unwrap();
    }

    async fn set<P: Payload>(&self, payload: &P) -> Result<Stanza, StanzaError> {
        refused(self.client.request(Iq::set_own().payload(payload)).await.map(|answer| answer.stanza().clone()))
    }

    async fn get<P: Payload>(&self, payload: &P) -> Result<Stanza, StanzaError> {
        refused(self.client.request(Iq::get_own().payload(payload)).await.map(|answer| answer.stanza().clone()))
    }

    /// A page: the results, which have come before the answer, and the answer.
    async fn page(&mut self, query: &ArchiveQuery) -> Result<(Vec<ArchiveResult>, ArchiveFin), StanzaError> {
        let answer = self.set(query).await?;
        let fin: ArchiveFin = payload(&answer);
        // What the server had for this client is there when it has its own message back.
        self.client.send(Message::headline(self.client.jid().unwrap()).body("mark")).await.unwrap();
        let mut results = Vec::new();
        loop {
            let message = self.message().await;
            if let Some(result) = message.stanza().root().child("result", NS) {
                let own = self.client.jid().unwrap().to_bare();
                assert_eq!(message.from().unwrap().as_str(), own.as_str());
                results.push(ArchiveResult::read(result).unwrap());
            } else if message.body().as_deref() == Some("mark") {
                break;
            }
        }
        Ok((results, fin))
    }

    async fn all(&mut self) -> Vec<ArchiveResult> {
        self.page(&ArchiveQuery::default()).await.unwrap().0
    }

    async fn bodies(&mut self, query: &ArchiveQuery) -> Vec<String> {
        bodies(&self.page(query).await.unwrap().0)
    }
}

fn refused<T>(answer: Result<T, RequestError>) -> Result<T, StanzaError> {
    answer.map_err(|error| match error {
        RequestError::Refused(error) => error,
        other => panic!("{other}"),
    })
}

fn payload<P: Payload>(iq: &Stanza) -> P {
    P::read(iq.root().children().next().unwrap()).unwrap()
}

async fn next(events: &mut Events) -> Event {
    timeout(Duration::from_secs(60), events.next()).await.unwrap().unwrap()
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

fn chat(to: &str, body: &str) -> MessageBuilder {
    Message::chat(jid(to)).body(body)
}

fn stanza(result: &ArchiveResult) -> Message {
    Message::from_stanza(result.forwarded.stanza.clone().unwrap()).unwrap()
}

fn bodies(results: &[ArchiveResult]) -> Vec<String> {
    results.iter().map(|result| stanza(result).body().unwrap_or_default().into_owned()).collect()
}

fn filtered(fields: &[(&str, &str)]) -> ArchiveQuery {
    let form = DataForm::typed(FormKind::Submit, NS);
    let form = fields.iter().fold(form, |form, (var, value)| form.with(Field::new(*var).value(*value)));
    ArchiveQuery { form: Some(form), ..ArchiveQuery::default() }
}

fn paged(rsm: ResultSet) -> ArchiveQuery {
    ArchiveQuery { rsm: Some(rsm), ..ArchiveQuery::default() }
}

fn ids(message: &Message) -> Vec<StanzaId> {
    let found = message.stanza().root().children().filter(|child| StanzaId::matches(*child));
    found.map(|child| StanzaId::read(child).unwrap()).collect()
}

#[tokio::test]
async fn xep0313_3_4_recipients_learn_the_id_and_senders_contacts_do_not() {
    let server = server(ArchiveSettings::default());
    let (mut juliet, mut romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    romeo.send(chat(JULIET, "Call me but love").id("m1")).await;
    let message = juliet.message().await;
    let given = ids(&message);
    assert_eq!(given.len(), 1, "the recipient's, not the sender's: {given:?}");
    assert_eq!(given[0].by.as_str(), JULIET);
    let (hers, his) = (juliet.all().await, romeo.all().await);
    assert_eq!(hers.iter().map(|result| &result.id).collect::<Vec<_>>(), [&given[0].id]);
    assert_ne!(hers[0].id, his[0].id);
    for result in hers.iter().chain(&his) {
        let message = stanza(result);
        assert_eq!(message.from().unwrap().bare_str(), ROMEO, "the addresses are there");
        assert!(message.from().unwrap().resource().is_some());
        assert_eq!((message.to().unwrap().as_str(), message.id().unwrap().as_ref()), (JULIET, "m1"));
        assert!(result.forwarded.delay.is_some());
        assert_eq!(message.type_(), MessageType::Chat);
    }
}

#[tokio::test]
async fn xep0313_6_1_1_what_is_archived_is_what_was_accepted() {
    let server = server(ArchiveSettings::default());
    let (mut juliet, mut romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    romeo.send(chat(JULIET, "1")).await;
    romeo.send(Message::normal(jid(JULIET)).body("2")).await;
    romeo.send(chat(JULIET, "no").payload(&Hint::NoStore)).await;
    romeo.send(chat(JULIET, "no").payload(&Hint::NoPermanentStore)).await;
    romeo.send(Message::headline(jid(JULIET)).body("no")).await;
    romeo.send(Message::chat(jid(JULIET)).payload(&Hint::Store)).await;
    // To a resource that is not there: refused, and so not in the recipient's archive.
    romeo.send(Message::normal(jid("juliet@localhost/gone")).body("3")).await;
    romeo.send(Message::groupchat(jid("juliet@localhost/gone")).body("no")).await;
    // Nobody of that name: refused, and no archive begins.
    romeo.send(chat("nobody@localhost", "4")).await;
    assert_eq!(bodies(&juliet.all().await), ["1", "2", ""]);
    assert_eq!(bodies(&romeo.all().await), ["1", "2", "", "3", "4"], "what was sent, was sent");
}

#[tokio::test]
async fn xep0313_6_1_1_a_message_is_in_one_archive_once() {
    let server = server(ArchiveSettings::default());
    let mut one = Device::new(&server, "juliet@localhost/one").await;
    let mut two = Device::new(&server, "juliet@localhost/two").await;
    let mut romeo = Device::new(&server, ROMEO).await;
    romeo.send(chat(JULIET, "to both")).await;
    let seen = [ids(&one.message().await), ids(&two.message().await)];
    assert_eq!(seen[0], seen[1]);
    // To herself: once, though it was both sent and received, and with its id.
    one.send(chat("juliet@localhost/two", "note")).await;
    let note = ids(&two.message().await);
    assert_eq!(note.len(), 1);
    let all = one.all().await;
    assert_eq!(bodies(&all), ["to both", "note"]);
    assert_eq!(all[1].id, note[0].id);
    // §4.1.1: by her own address, what she wrote to herself alone.
    assert_eq!(one.bodies(&filtered(&[("with", JULIET)])).await, ["note"]);
    assert_eq!(bodies(&romeo.all().await), ["to both"]);
}

#[tokio::test]
async fn xep0313_2_what_nobody_could_take_is_in_the_archive_and_does_not_bounce() {
    let server = server(ArchiveSettings::default());
    let mut romeo = Device::new(&server, ROMEO).await;
    romeo.send(chat(JULIET, "later")).await;
    romeo.send(chat(JULIET, "not stored").payload(&Hint::NoStore)).await;
    let bounce = romeo.message().await;
    assert_eq!(bounce.error().unwrap().condition, Condition::ServiceUnavailable, "this one, which nobody has");
    assert_eq!(romeo.all().await.len(), 1);
    let mut juliet = Device::new(&server, JULIET).await;
    assert_eq!(bodies(&juliet.all().await), ["later"]);
}

#[tokio::test]
async fn xep0313_4_queries_filter_page_and_flip() {
    let server = server(ArchiveSettings { max_page: 4, page: 3, ..ArchiveSettings::default() });
    let (mut juliet, nurse) = (Device::new(&server, JULIET).await, Device::new(&server, "nurse@localhost").await);
    let romeo = Device::new(&server, ROMEO).await;
    for n in 0..7 {
        let from = if n == 3 { &nurse } else { &romeo };
        from.send(chat(JULIET, &n.to_string())).await;
    }
    let (first, fin) =
        juliet.page(&ArchiveQuery { queryid: Some("q".into()), ..ArchiveQuery::default() }).await.unwrap();
    assert_eq!(bodies(&first), ["0", "1", "2"], "a page is bounded");
    assert!(first.iter().all(|result| result.queryid.as_deref() == Some("q")));
    assert!(!fin.complete && fin.stable);
    assert_eq!(fin.rsm.last.as_ref(), Some(&first[2].id));
    let first_of_page = fin.rsm.first.unwrap();
    assert_eq!((first_of_page.index, &first_of_page.id), (Some(0), &first[0].id));

    let (second, fin) = juliet.page(&paged(ResultSet::after(&first[2].id, 100))).await.unwrap();
    assert_eq!((bodies(&second), fin.complete), (vec!["3".into(), "4".into(), "5".into(), "6".into()], true));
    let (last, fin) = juliet.page(&paged(ResultSet::last_page(2))).await.unwrap();
    assert_eq!((bodies(&last), fin.complete), (vec!["5".into(), "6".into()], false));
    let (before, fin) = juliet.page(&paged(ResultSet::before(&first[2].id, 2))).await.unwrap();
    assert_eq!((bodies(&before), fin.complete), (vec!["0".into(), "1".into()], true));
    let flipped = ArchiveQuery { flip_page: true, ..paged(ResultSet::last_page(3)) };
    let (results, fin) = juliet.page(&flipped).await.unwrap();
    assert_eq!(bodies(&results), ["6", "5", "4"]);
    assert_eq!(fin.rsm.first.unwrap().id, results[2].id, "the page is the same, its order is not");
    let index = ResultSet { index: Some(5), max: Some(4), ..ResultSet::default() };
    let (results, fin) = juliet.page(&paged(index)).await.unwrap();
    assert_eq!((bodies(&results), fin.rsm.count), (vec!["5".into(), "6".into()], Some(7)));
    let (none, fin) = juliet.page(&paged(ResultSet::first_page(0))).await.unwrap();
    assert_eq!((none.len(), fin.rsm.count, fin.complete), (0, Some(7), false));

    assert_eq!(juliet.bodies(&filtered(&[("with", "nurse@localhost")])).await, ["3"]);
    let stamp = |result: &ArchiveResult| result.forwarded.delay.as_ref().unwrap().stamp.to_text().into_owned();
    // Others may have come in the same millisecond.
    let mut late = filtered(&[("start", &stamp(&second[2])), ("with", ROMEO)]);
    late.rsm = Some(ResultSet::last_page(4));
    assert!(juliet.bodies(&late).await.ends_with(&["5".into(), "6".into()]));
    let early = juliet.bodies(&filtered(&[("end", "2010-06-07T00:00:00Z")])).await;
    assert!(early.is_empty());
    let between = filtered(&[("after-id", &first[1].id), ("before-id", &second[1].id)]);
    assert_eq!(juliet.bodies(&between).await, ["2", "3"]);
    assert_eq!(juliet.bodies(&filtered(&[("ids", &second[1].id)])).await, ["4"]);
}

#[tokio::test]
async fn xep0313_4_and_5_errors_metadata_and_the_form() {
    let server = server(ArchiveSettings::default());
    let (juliet, romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    let empty: ArchiveMetadata = payload(&juliet.get(&ArchiveMetadata::default()).await.unwrap());
    assert_eq!(empty, ArchiveMetadata::default());
    romeo.send(chat(JULIET, "one")).await;
    let one: ArchiveMetadata = payload(&juliet.get(&ArchiveMetadata::default()).await.unwrap());
    assert_eq!(one.start.as_ref().unwrap().id, one.end.as_ref().unwrap().id);
    assert_eq!(one.start.unwrap().timestamp, one.end.unwrap().timestamp);

    let form: ArchiveQuery = payload(&juliet.get(&ArchiveQuery::default()).await.unwrap());
    let form = form.form.unwrap();
    assert_eq!((form.type_, form.form_type()), (FormKind::Form, Some(NS)));
    let fields: Vec<_> = form.fields.iter().filter_map(|field| field.var.as_deref()).collect();
    assert_eq!(fields, ["FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"]);
    assert!(form.field("ids").unwrap().others[0].root().is("validate", "http://jabber.org/protocol/xdata-validate"));

    let unknown = filtered(&[("{urn:example}mood", "x")]);
    assert_eq!(juliet.set(&unknown).await.unwrap_err().condition, Condition::FeatureNotImplemented);
    let wrong = filtered(&[("start", "x")]);
    assert_eq!(juliet.set(&wrong).await.unwrap_err().condition, Condition::BadRequest);
    // §8.1: what belongs to others.
    for to in [ROMEO, "nobody@localhost"] {
        let query = ArchiveQuery::default();
        for request in [Iq::get(jid(to)).payload(&ArchiveMetadata::default()), Iq::set(jid(to)).payload(&query)] {
            let error = refused(juliet.client.request(request).await.map(drop)).unwrap_err();
            assert_eq!(error.condition, Condition::Forbidden, "{to}");
        }
    }
    let info: DiscoInfo = payload(&juliet.get(&DiscoInfoQuery::default()).await.unwrap());
    for feature in ["urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:mam:2#groupchat-field", "urn:xmpp:sid:0"] {
        assert!(info.has_feature(feature), "{feature}");
    }
}

#[tokio::test]
async fn xep0441_2_preferences_say_what_is_archived() {
    let contacts: archive::Contacts = Arc::new(|owner, other| {
        let known = owner.as_str() == JULIET && other.as_str() == ROMEO;
        Box::pin(ready(Ok(known)))
    });
    let server = server(ArchiveSettings { contacts: Some(contacts), ..ArchiveSettings::default() });
    let (mut juliet, mut romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    let nurse = Device::new(&server, "nurse@localhost").await;
    let given: ArchivePrefs = payload(&juliet.get(&ArchivePrefs::default()).await.unwrap());
    assert_eq!(given.default, Some(ArchiveDefault::Always));
    assert!(given.always.unwrap().jids.is_empty() && given.never.unwrap().jids.is_empty());

    let say = |default, always: &[&str], never: &[&str]| {
        let list = |jids: &[&str]| jids.iter().map(|text| jid(text)).collect();
        let (always, never) = (ArchiveAlways { jids: list(always) }, ArchiveNever { jids: list(never) });
        ArchivePrefs { default: Some(default), always: Some(always), never: Some(never) }
    };
    for (said, from_romeo, from_nurse) in [
        (say(ArchiveDefault::Roster, &[], &[]), true, false),
        (say(ArchiveDefault::Never, &["nurse@localhost"], &[]), false, true),
        (say(ArchiveDefault::Always, &[], &[ROMEO]), false, true),
        (ArchivePrefs { default: Some(ArchiveDefault::Never), always: None, never: None }, false, false),
    ] {
        let applied: ArchivePrefs = payload(&juliet.set(&said).await.unwrap());
        assert_eq!(applied.default, said.default);
        assert_eq!(applied.always.unwrap(), said.always.clone().unwrap_or_default());
        let before = juliet.all().await.len();
        romeo.send(chat(JULIET, "r")).await;
        nurse.send(chat(JULIET, "n")).await;
        let new = bodies(&juliet.all().await).split_off(before);
        let expected: Vec<&str> =
            [(from_romeo, "r"), (from_nurse, "n")].iter().filter(|(is, _)| *is).map(|(_, b)| *b).collect();
        assert_eq!(new, expected, "{said:?}");
    }
    assert_eq!(romeo.all().await.len(), 4, "what she wants is of her archive");
    let none = juliet.set(&ArchivePrefs::default()).await.unwrap_err();
    assert_eq!(none.condition, Condition::BadRequest);
    let many = ArchiveNever { jids: (0..501).map(|n| jid(&format!("u{n}@a"))).collect() };
    let many = ArchivePrefs { default: Some(ArchiveDefault::Always), never: Some(many), always: None };
    assert_eq!(juliet.set(&many).await.unwrap_err().condition, Condition::ResourceConstraint);
}

#[tokio::test]
async fn abuse_a061_a_result_from_a_contact_stays_a_contacts_message() {
    let server = server(ArchiveSettings::default());
    let (mut juliet, romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    let forged = archive::result(
        &BareJid::new(JULIET).unwrap(),
        &jid(JULIET),
        Some("q"),
        "1".into(),
        DateTime::from_unix(0, 0).unwrap(),
        Some(chat(JULIET, "from yourself").build().into_stanza()),
    );
    let result = forged.root().child("result", NS).unwrap();
    romeo.send(Message::chat(jid(JULIET)).element(result)).await;
    let message = juliet.message().await;
    assert_eq!(message.from().unwrap().bare_str(), ROMEO, "the server says who it is from");
    assert!(juliet.all().await.is_empty());
}

#[tokio::test]
async fn abuse_a062_no_page_is_too_large_and_unknown_ids_are_not_found() {
    let settings = ArchiveSettings { max_page: 2, page_bytes: 600, ..ArchiveSettings::default() };
    let server = server(settings);
    let (mut juliet, romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    for body in ["a", "b", "c", &"d".repeat(1000), "e"] {
        romeo.send(chat(JULIET, body)).await;
    }
    let (page, fin) = juliet.page(&paged(ResultSet::first_page(1_000_000_000))).await.unwrap();
    assert_eq!((page.len(), fin.complete), (2, false));
    let (page, _) = juliet.page(&paged(ResultSet::after(&page[1].id, 2))).await.unwrap();
    assert_eq!(page.len(), 1, "by bytes");
    let (page, _) = juliet.page(&paged(ResultSet::after(&page[0].id, 2))).await.unwrap();
    assert_eq!(page.len(), 1, "one at least");
    let stranger = ArchiveId::new(5).to_string();
    for text in ["';DROP TABLE archive", "1", &stranger] {
        for query in [
            paged(ResultSet::before(text, 1)),
            paged(ResultSet::after(text, 1)),
            paged(ResultSet { after: Some(page[0].id.clone()), ..ResultSet::before(text, 1) }),
            filtered(&[("ids", text)]),
            filtered(&[("after-id", text)]),
            filtered(&[("before-id", text)]),
        ] {
            assert_eq!(juliet.set(&query).await.unwrap_err().condition, Condition::ItemNotFound, "{query:?}");
        }
    }
}

#[tokio::test]
async fn abuse_a063_forged_ids_and_delays_are_removed() {
    let server = server(ArchiveSettings::default());
    let mut juliet = Device::new(&server, JULIET).await;
    let (romeo, mut second) = (Device::new(&server, ROMEO).await, Device::new(&server, ROMEO).await);
    let forged = "<message><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@localhost' id='1'/><stanza-id \
                  xmlns='urn:xmpp:sid:0' by='Juliet@LOCALHOST' id='2'/><stanza-id xmlns='urn:xmpp:sid:0' \
                  by='romeo@localhost' id='3'/><stanza-id xmlns='urn:xmpp:sid:0' by='room@rooms.example' id='4'/><delay \
                  xmlns='urn:xmpp:delay' from='localhost' stamp='2002-09-10T23:08:25Z'/><delay xmlns='urn:xmpp:delay' \
                  from='juliet@localhost' stamp='2002-09-10T23:08:25Z'/><delay xmlns='urn:xmpp:delay' \
                  from='romeo@localhost' stamp='2002-09-10T23:08:25Z'/></message>";
    let forged = Stanza::parse(forged, ns::CLIENT, &XmlLimits::default()).unwrap();
    let with_forged = |message: MessageBuilder| forged.root().children().fold(message, MessageBuilder::element);
    for (message, archived) in [(chat(JULIET, "x"), 1), (Message::chat(jid(JULIET)), 0)] {
        romeo.send(with_forged(message)).await;
        let message = juliet.message().await;
        let given = ids(&message);
        let by: Vec<_> = given.iter().map(|id| id.by.as_str()).collect();
        assert_eq!(by, ["room@rooms.example", JULIET][..1 + archived]);
        assert!(given.iter().all(|id| id.id == "4" || id.id.len() == 30), "{given:?}");
        let delays = message.stanza().root().children().filter(|child| child.is("delay", "urn:xmpp:delay"));
        assert_eq!(delays.map(|delay| delay.attr("from").unwrap().into_owned()).collect::<Vec<_>>(), [ROMEO]);
    }
    let by = |result: &ArchiveResult| -> Vec<String> {
        ids(&stanza(result)).into_iter().map(|id| id.by.as_str().to_owned()).collect()
    };
    let (hers, his) = (juliet.all().await, second.all().await);
    assert_eq!((hers.len(), his.len()), (1, 1));
    assert_eq!(by(&hers[0]), ["room@rooms.example"]);
    assert!(!by(&his[0]).contains(&ROMEO.to_owned()), "what he says of her archive is not believed there");
    // To himself, with an id of his own making.
    romeo.send(with_forged(Message::chat(romeo.client.jid().unwrap()))).await;
    let mut romeo = romeo;
    assert!(ids(&romeo.message().await).iter().all(|id| id.by.as_str() != ROMEO));
}

#[tokio::test]
async fn xep0313_3_4_carbons_see_the_senders_id() {
    // What stands where carbons do sees the id in the sender's archive, if there is another client to see it.
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let carbons = move |r: &mut ServerRegistrar| {
        let station = move |envelope: &mut Envelope, _: &Server| {
            let _ = sender.send(envelope.stanza().clone());
            Verdict::Continue
        };
        r.station(Station::new("im:carbons-out", Stage::Outgoing, Kinds::MESSAGE, station));
    };
    let server = with_store(Arc::new(MemoryArchive::default()), ArchiveSettings::default(), carbons);
    let mut juliet = Device::new(&server, JULIET).await;
    let romeo = Device::new(&server, ROMEO).await;
    romeo.send(chat(JULIET, "alone")).await;
    assert_eq!(ids(&Message::from_stanza(seen.recv().await.unwrap()).unwrap()), []);
    let mut phone = Device::new(&server, "romeo@localhost/phone").await;
    romeo.send(chat(JULIET, "watched")).await;
    let shown = ids(&Message::from_stanza(seen.recv().await.unwrap()).unwrap());
    assert_eq!(shown[0].id, phone.all().await[1].id);
    for _ in 0..2 {
        let message = juliet.message().await;
        assert!(ids(&message).iter().all(|id| id.by.as_str() == JULIET), "{message:?}");
    }
}

/// A store that answers later, or fails.
#[derive(Default)]
struct Slow {
    inner: MemoryArchive,
    broken: AtomicBool,
}

impl ArchiveStore for Slow {
    fn append<'a>(&'a self, owner: &'a BareJid, entry: NewEntry) -> Stored<'a, ArchiveId> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            match self.broken.load(Ordering::SeqCst) {
                true => Err(StorageError("the disk is full".into())),
                false => self.inner.append(owner, entry).await,
            }
        })
    }
    fn query<'a>(&'a self, owner: &'a BareJid, selection: &'a Selection) -> Stored<'a, Option<Page>> {
        self.inner.query(owner, selection)
    }
    fn replace<'a>(&'a self, owner: &'a BareJid, id: ArchiveId, text: Arc<str>) -> Stored<'a, bool> {
        self.inner.replace(owner, id, text)
    }
    fn ends<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<(ArchiveId, ArchiveId)>> {
        self.inner.ends(owner)
    }
    fn preferences<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, Option<Preferences>> {
        self.inner.preferences(owner)
    }
    fn set_preferences<'a>(&'a self, owner: &'a BareJid, preferences: &'a Preferences) -> Stored<'a, ()> {
        self.inner.set_preferences(owner, preferences)
    }
    fn expire(&self, before: DateTime) -> Stored<'_, ()> {
        self.inner.expire(before)
    }
    fn trim<'a>(&'a self, owner: &'a BareJid, keep: u64) -> Stored<'a, ()> {
        self.inner.trim(owner, keep)
    }
    fn forget<'a>(&'a self, owner: &'a BareJid) -> Stored<'a, ()> {
        self.inner.forget(owner)
    }
}

#[tokio::test]
async fn messages_keep_their_order_behind_a_slow_store_and_its_failures_are_told() {
    let store = Arc::new(Slow::default());
    let server = with_store(store.clone(), ArchiveSettings::default(), |_: &mut ServerRegistrar| {});
    let (mut juliet, mut romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    for n in 0..20 {
        romeo.client.send(chat(JULIET, &n.to_string())).await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(juliet.message().await.body().unwrap(), n.to_string());
    }
    store.broken.store(true, Ordering::SeqCst);
    romeo.send(chat(JULIET, "lost?")).await;
    let bounce = romeo.message().await;
    assert_eq!(bounce.error().unwrap().condition, Condition::InternalServerError);
    assert_eq!(juliet.all().await.len(), 20);
}

#[tokio::test]
async fn archives_are_trimmed_and_go_with_their_account() {
    let store = Arc::new(MemoryArchive::default());
    let settings = ArchiveSettings { keep_messages: Some(16), ..ArchiveSettings::default() };
    let server = with_store(store.clone(), settings, |_: &mut ServerRegistrar| {});
    let (mut juliet, romeo) = (Device::new(&server, JULIET).await, Device::new(&server, ROMEO).await);
    for n in 0..40 {
        romeo.send(chat(JULIET, &n.to_string())).await;
    }
    tokio::task::yield_now().await;
    let left = bodies(&juliet.all().await);
    assert!((16..=18).contains(&left.len()), "{left:?}");
    assert_eq!(left.last().unwrap(), "39", "the oldest have gone");
    let account = BareJid::new(JULIET).unwrap();
    server.account_removed(&account).await;
    assert_eq!(store.ends(&account).await.unwrap(), None);
    assert!(store.ends(&BareJid::new(ROMEO).unwrap()).await.unwrap().is_some());
}

/// A login in which a session is bound (XEP-0386): all that the server says in it.
async fn bound(server: &Server) -> String {
    let (server, seen) = (server.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let heard = Arc::clone(&seen);
    let pipe = move || {
        let (end, mut between) = xmpp_core::net::Transport::pair(64 * 1024);
        let (mut up, heard) = (server.connect_memory(), Arc::clone(&heard));
        tokio::spawn(async move {
            let (mut mine, mut theirs) = ([0; 4096], [0; 4096]);
            loop {
                tokio::select! {
                    read = between.read(&mut mine) => match read {
                        Ok(count) if count > 0 => up.write_all(&mine[..count]).await.unwrap(),
                        _ => return,
                    },
                    read = up.read(&mut theirs) => match read {
                        Ok(count) if count > 0 => {
                            heard.lock().unwrap().extend_from_slice(&theirs[..count]);
                            between.write_all(&theirs[..count]).await.unwrap();
                        }
                        _ => return,
                    },
                }
            }
        });
        end
    };
    let builder = Client::builder(jid("juliet@localhost"), "secret").no_reconnect();
    let (_client, mut events) = builder.pipe(pipe).connect().unwrap();
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    let seen = seen.lock().unwrap();
    String::from_utf8(seen.clone()).unwrap()
}

#[tokio::test]
async fn xep0386_3_2_a_session_is_told_the_extent_of_its_archive_while_it_binds() {
    let server = server(ArchiveSettings::default());
    let success = bound(&server).await;
    assert!(success.contains("<metadata xmlns='urn:xmpp:mam:2'/></bound>"), "{success}");
    let mut juliet = Device::new(&server, JULIET).await;
    for body in ["first", "second", "last"] {
        juliet.send(chat(ROMEO, body)).await;
    }
    let all = juliet.all().await;
    let success = bound(&server).await;
    for (name, id) in [("start", &all[0].id), ("end", &all[2].id)] {
        assert!(success.contains(&format!("<{name} id='{id}' timestamp='")), "{success}");
    }
}
