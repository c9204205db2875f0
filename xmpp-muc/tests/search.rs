//! Searching for rooms (XEP-0433), over an embedded service and one that does as it likes.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, RequestError},
    extension::{Reply, Target},
    jid::{BareJid, Jid},
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery},
        form::{DataForm, Field, FieldType, FormKind},
        rsm::ResultSet,
    },
    server::{MemoryAccounts, Server, ServerRegistrar},
    stanza::{Condition, ErrorType, Iq, StanzaError},
};
use xmpp_muc::{
    Affiliation, MemoryRooms, RoomConfig, RoomStore,
    client::{FoundRoom, Muc, MucClient, RoomEvents, RoomSearch, SearchError, SearchOrder},
    config::Whois,
    payload::{ChannelItem, ChannelResult, ChannelSearch, ConflictingFields, IsOpen, RateLimit, channel_search},
    room::{Affiliated, RoomRecord, Wardrobe},
    service::{Muc as Service, MucSettings},
};

const PATIENCE: Duration = Duration::from_secs(20);
const SERVICE: &str = "rooms.localhost";

/// Name, title, description, and what else there is to a stored room.
const ROOMS: &[(&str, &str, &str, &str)] = &[
    ("ärzte", "Die Ärzte", "Musik", "lang=de"),
    ("coven", "A Dark Cave", "Where witches meet", ""),
    ("hall", "Great Hall", "Where kings meet", "closed"),
    ("hidden", "A Dark Secret", "Where witches hide", "hidden"),
    ("open", "Open Air", "", "anyone"),
    ("tavern", "The Boar's Head", "Kings and witches drink", ""),
];

async fn serve(change: impl FnOnce(&mut MucSettings)) -> Server {
    let store = MemoryRooms::new();
    for (name, title, description, more) in ROOMS {
        let config = RoomConfig {
            name: (*title).to_owned(),
            description: (*description).to_owned(),
            lang: more.strip_prefix("lang=").unwrap_or_default().to_owned(),
            persistent: true,
            public: *more != "hidden",
            password: (*more == "closed").then(|| "secret".to_owned()),
            whois: if *more == "anyone" { Whois::Anyone } else { Whois::Moderators },
            archived: false,
            ..RoomConfig::default()
        };
        let owner = Affiliated { affiliation: Affiliation::Owner, ..Affiliated::default() };
        let affiliated = vec![("juliet@localhost".parse().unwrap(), owner)];
        let record = RoomRecord {
            config,
            locked: false,
            key: [1; 32],
            maker: None,
            subject: None,
            affiliated,
            card: None,
            hats: Wardrobe::default(),
        };
        store.save(&room(name), &record).await.unwrap();
    }
    let mut settings = MucSettings::default();
    change(&mut settings);
    build(Service::new(SERVICE, Arc::new(store)).settings(settings), |_| {})
}

fn build(rooms: Service, more: impl FnOnce(&mut ServerRegistrar) + 'static) -> Server {
    let accounts = MemoryAccounts::new();
    for name in ["juliet@localhost", "romeo@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts).allow_plaintext();
    builder.with(xmpp_im::presence::server).with(rooms).with(more).build().unwrap()
}

fn room(name: &str) -> BareJid {
    format!("{name}@{SERVICE}").parse().unwrap()
}

fn service() -> Jid {
    SERVICE.parse().unwrap()
}

async fn login(server: &Server, name: &str) -> (Client, Muc) {
    let server = server.clone();
    let builder = Client::builder(format!("{name}@localhost/x").parse().unwrap(), "secret").allow_plaintext();
    let (client, mut events) = builder.with(xmpp_muc::client).pipe(move || server.connect_memory()).connect().unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    assert!(timeout(PATIENCE, client.online()).await.unwrap().is_some());
    let muc = client.muc().unwrap();
    (client, muc)
}

async fn enters(muc: &Muc, name: &str, nick: &str) -> (xmpp_muc::client::Room, RoomEvents) {
    timeout(PATIENCE, muc.join(room(name), nick).password("secret").into_future()).await.unwrap().unwrap()
}

async fn all(search: RoomSearch) -> Result<Vec<FoundRoom>, SearchError> {
    timeout(PATIENCE, search.all()).await.unwrap()
}

async fn names(search: RoomSearch) -> String {
    let found = all(search).await.unwrap();
    found.iter().map(|room| room.jid.local().unwrap()).collect::<Vec<_>>().join(" ")
}

fn form(fields: &[(&str, &str)]) -> DataForm {
    let form = DataForm::typed(FormKind::Submit, channel_search::PARAMS);
    fields.iter().fold(form, |form, (var, value)| form.with(Field::new(*var).value(*value)))
}

async fn asks(client: &Client, form: DataForm, rsm: Option<ResultSet>) -> Result<ChannelResult, StanzaError> {
    let query = Iq::get(service()).payload(&ChannelSearch { rsm, form: Some(form) });
    match timeout(PATIENCE, client.query::<ChannelResult>(query)).await.unwrap() {
        Ok(result) => Ok(result),
        Err(RequestError::Refused(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn xep0433_4_2_rooms_are_found_by_words_in_either_order() {
    let server = serve(|_| {}).await;
    let (_client, muc) = login(&server, "juliet").await;
    let (_romeo, his) = login(&server, "romeo").await;
    let _tavern = (enters(&muc, "tavern", "Juliet").await, enters(&his, "tavern2", "Romeo").await);
    let _open = enters(&muc, "open", "Juliet").await;
    let _hall = enters(&muc, "hall", "Juliet").await;
    let (shared, _events) = enters(&his, "open", "Romeo").await;
    let by_address = |words: &str| muc.search(service(), words).order(SearchOrder::Address);
    for (words, expected) in [
        ("witches", "coven tavern"),
        ("WHERE MEET", "coven hall"),
        ("dark", "coven"),
        ("ÄRZTE", "ärzte"),
        ("ärzte musik", "ärzte"),
        ("rooms.localhost", "coven hall open tavern2 tavern ärzte"),
        ("nothing of the kind", ""),
        ("", "coven hall open tavern2 tavern ärzte"),
    ] {
        for page in [1, 2, 3, 50] {
            assert_eq!(names(by_address(words).page(page)).await, expected, "{words:?}");
        }
    }
    assert_eq!(names(by_address("cave").within(false, true, true)).await, "");
    assert_eq!(names(by_address("cave").within(true, false, false)).await, "coven");
    assert_eq!(names(by_address("witches").within(true, false, true)).await, "");
    assert_eq!(names(by_address("tavern").within(false, false, true)).await, "tavern2 tavern");
    // Two are in one room, one in two others; the one with the password says nothing of that.
    for page in [1, 2, 3, 50] {
        let by_users = |words: &str| muc.search(service(), words).page(page);
        assert_eq!(names(by_users("")).await, "open tavern2 tavern coven hall ärzte");
        assert_eq!(names(by_users("a")).await, "open tavern2 tavern coven hall ärzte");
        assert_eq!(names(by_users("where")).await, "coven hall");
        assert_eq!(names(by_users("").least_occupants(1)).await, "open tavern2 tavern");
        assert_eq!(names(by_users("").least_occupants(2)).await, "open");
        assert_eq!(names(by_address("").page(page).least_occupants(1)).await, "open tavern2 tavern");
    }
    shared.leave(None).await.unwrap();
    assert_eq!(names(his.search(service(), "").least_occupants(2)).await, "");
}

#[tokio::test]
async fn xep0433_5_2_what_is_told_of_a_room() {
    let server = serve(|_| {}).await;
    let (_client, muc) = login(&server, "juliet").await;
    let _open = enters(&muc, "open", "Juliet").await;
    let _hall = enters(&muc, "hall", "Juliet").await;
    let found = all(muc.search(service(), "").order(SearchOrder::Address)).await.unwrap();
    let of = |name: &str| found.iter().find(|found| found.jid == room(name)).unwrap();
    let open = of("open");
    assert_eq!((open.name.as_deref(), open.description.as_deref()), (Some("Open Air"), None));
    assert_eq!((open.occupants, open.is_open, open.whois), (Some(1), Some(true), Some(Whois::Anyone)));
    let hall = of("hall");
    assert_eq!((hall.occupants, hall.is_open, hall.whois), (None, None, Some(Whois::Moderators)));
    let doctors = of("ärzte");
    assert_eq!((doctors.language.as_deref(), doctors.occupants), (Some("de"), Some(0)));
    assert!(!found.iter().any(|found| found.jid == room("hidden")));
}

#[tokio::test]
async fn xep0059_pages_of_a_search_go_back_too() {
    let server = serve(|_| {}).await;
    let (client, muc) = login(&server, "juliet").await;
    let _open = enters(&muc, "open", "Juliet").await;
    for (key, expected) in [
        (channel_search::BY_ADDRESS, ["coven", "hall", "open", "tavern", "ärzte"]),
        (channel_search::BY_USERS, ["open", "coven", "hall", "tavern", "ärzte"]),
    ] {
        let wish = form(&[("all", "1"), ("key", key)]);
        for max in [1, 2, 3, 9] {
            let mut page = ResultSet::last_page(max);
            let mut found = Vec::new();
            loop {
                let result = asks(&client, wish.clone(), Some(page)).await.unwrap();
                assert!(result.items.len() <= max as usize);
                found.extend(result.items.iter().rev().map(|item| item.address.clone()));
                let Some(first) = result.rsm.unwrap().first else { break };
                page = ResultSet::before(first.id, max);
            }
            found.reverse();
            assert_eq!(found, expected.map(|name| room(name).to_string()), "{key} {max}");
        }
        for id in ["", "nonsense", "x:y", "@"] {
            let page = ResultSet::after(id, 1);
            assert_eq!(asks(&client, wish.clone(), Some(page)).await.unwrap_err().condition, Condition::ItemNotFound);
        }
        let count = ResultSet { max: Some(0), ..ResultSet::default() };
        let index = ResultSet { index: Some(2), ..ResultSet::default() };
        for page in [count, index] {
            let error = asks(&client, wish.clone(), Some(page)).await.unwrap_err();
            assert_eq!(error.condition, Condition::FeatureNotImplemented);
        }
    }
}

#[tokio::test]
async fn xep0433_4_2_what_cannot_be_searched_for_has_its_error() {
    let server = serve(|_| {}).await;
    let (client, muc) = login(&server, "juliet").await;
    let long = "x".repeat(300);
    let nowhere = [("q", "x"), ("sinname", "0"), ("sindescription", "false"), ("sinaddress", "0")];
    for (fields, condition, type_, application) in [
        (&[("q", "x"), ("key", "{x}y")][..], "feature-not-implemented", ErrorType::Modify, "invalid-sort-key"),
        (&[("q", " ")], "bad-request", ErrorType::Modify, "invalid-search-terms"),
        (&[("q", &long)], "bad-request", ErrorType::Modify, "invalid-search-terms"),
        (&[("q", "a b c d e f g h i")], "bad-request", ErrorType::Modify, "invalid-search-terms"),
        (&[("q", "x"), ("all", "1")], "bad-request", ErrorType::Modify, "conflicting-fields"),
        (&nowhere, "bad-request", ErrorType::Modify, "conflicting-fields"),
        (&[], "bad-request", ErrorType::Cancel, "no-search-conditions"),
        (&[("q", "")], "bad-request", ErrorType::Cancel, "no-search-conditions"),
        (&[("unknown", "x")], "bad-request", ErrorType::Cancel, "no-search-conditions"),
    ] {
        let error = asks(&client, form(fields), None).await.unwrap_err();
        assert_eq!((error.condition.as_str(), error.type_), (condition, type_), "{fields:?}");
        assert!(error.has_application(application, channel_search::ERROR), "{fields:?}");
        if application == "conflicting-fields" {
            let vars: ConflictingFields = xmpp_core::payload::Payload::read(error.application.unwrap().root()).unwrap();
            assert!(vars.vars.contains(&"q".to_owned()), "{vars:?}");
        }
    }
    for broken in [
        DataForm::typed(FormKind::Submit, "other").with(Field::new("q").value("x")),
        DataForm::new(FormKind::Submit).with(Field::new("q").value("x")),
        DataForm::typed(FormKind::Form, channel_search::PARAMS).with(Field::new("q").value("x")),
        form(&[("q", "x"), ("sinname", "perhaps")]),
        form(&[("q", "x"), ("min_users", "-1")]),
    ] {
        assert_eq!(asks(&client, broken, None).await.unwrap_err().condition, Condition::BadRequest);
    }
    // No result is no error, and other kinds of channels are none of ours.
    for fields in [&[("q", "x"), ("q2", "y")][..], &[("all", "true"), ("types", "xep-0369")]] {
        assert!(asks(&client, form(fields), None).await.unwrap().items.is_empty());
    }
    assert!(matches!(all(muc.search(service(), long)).await, Err(SearchError::Words(Some(_)))));
}

#[tokio::test]
async fn xep0433_4_1_the_form_is_offered_where_rooms_can_be_searched() {
    for (searches, can) in [(4, true), (0, false)] {
        let server = serve(|settings| settings.searches = searches).await;
        let (client, _muc) = login(&server, "juliet").await;
        let info: DiscoInfo = client.query(Iq::get(service()).payload(&DiscoInfoQuery::default())).await.unwrap();
        assert_eq!(info.has_feature(channel_search::NS), can);
        let query = Iq::get(service()).payload(&ChannelSearch::default());
        let answer = client.query::<ChannelSearch>(query).await;
        if !can {
            assert!(matches!(answer, Err(RequestError::Refused(_))), "{answer:?}");
            continue;
        }
        let offered = answer.unwrap().form.unwrap();
        assert_eq!((offered.form_type(), offered.type_), (Some(channel_search::PARAMS), FormKind::Form));
        let kind = |var: &str| offered.field(var).map(|field| field.kind().clone());
        assert_eq!(kind("q"), Some(FieldType::TextSingle));
        for var in ["all", "sinname", "sindescription", "sinaddr"] {
            assert_eq!(kind(var), Some(FieldType::Boolean), "{var}");
        }
        assert_eq!((kind("types"), kind("key")), (Some(FieldType::ListMulti), Some(FieldType::ListSingle)));
        // What is left out is as it was offered: by users, in all parts.
        let result = asks(&client, form(&[("q", "witches")]), None).await.unwrap();
        assert_eq!(result.items.len(), 2);
    }
}

/// A service that answers what it is told to, one after another.
type Script = Arc<Mutex<Vec<Result<ChannelResult, StanzaError>>>>;

async fn scripted(answers: Vec<Result<ChannelResult, StanzaError>>) -> (Muc, Client, Arc<AtomicUsize>) {
    let (script, asked): (Script, _) = (Arc::new(Mutex::new(answers)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    let rooms = Service::new(SERVICE, Arc::new(MemoryRooms::new()));
    let server = build(rooms, move |r| {
        r.service("search.localhost", |service| {
            service.iq_get::<ChannelSearch, _>(Target::Server, move |_, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                script.lock().unwrap().remove(0).map(Reply::payload)
            });
        });
    });
    let (client, muc) = login(&server, "juliet").await;
    (muc, client, asked)
}

fn elsewhere() -> Jid {
    "search.localhost".parse().unwrap()
}

#[tokio::test]
async fn xep0433_5_2_what_other_services_find_may_lack_anything() {
    let bare = |address: &str| ChannelItem { address: address.to_owned(), ..ChannelItem::default() };
    let items = vec![
        bare("a@muc.example.org"),
        bare("no address@"),
        bare("muc.example.org"),
        ChannelItem { service_type: Some("xep-0369".into()), ..bare("mix@mix.example.org") },
        ChannelItem {
            users: Some(" 12 ".into()),
            is_open: Some(IsOpen { text: "false".into() }),
            anonymity: Some("new".into()),
            ..bare("b@muc.example.org")
        },
        ChannelItem { users: Some("many".into()), is_open: Some(IsOpen { text: "true".into() }), ..bare("c@muc") },
    ];
    let page = |items, last: Option<&str>| {
        let rsm = last.map(|last| ResultSet { last: Some(last.to_owned()), ..ResultSet::default() });
        Ok(ChannelResult { items, rsm })
    };
    let answers = vec![page(items, Some("opaque")), page(vec![bare("d@muc")], Some("opaque"))];
    let (muc, _client, asked) = scripted(answers).await;
    let found = all(muc.search(elsewhere(), "x")).await.unwrap();
    let told: Vec<_> =
        found.iter().map(|room| (room.jid.to_string(), room.occupants, room.is_open, room.whois)).collect();
    let told: Vec<_> = told.iter().map(|(jid, a, b, c)| (jid.as_str(), *a, *b, *c)).collect();
    assert_eq!(
        told,
        [
            ("a@muc.example.org", None, None, None),
            ("b@muc.example.org", Some(12), Some(false), Some(Whois::Anyone)),
            ("c@muc", None, Some(true), None),
            ("d@muc", None, None, None),
        ]
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2, "a page that ends where the last one did is the last");
}

#[tokio::test]
async fn xep0433_5_a_service_that_wants_to_be_left_alone_is() {
    let limited = StanzaError::resource_constraint().with_application(&RateLimit { retry_after: Some(3_000) });
    let (muc, _client, asked) = scripted(vec![Err(limited)]).await;
    let wait = |answer| match answer {
        Err(SearchError::Wait(wait)) => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(all(muc.search(elsewhere(), "x")).await), Duration::from_secs(3_000));
    let rest = wait(all(muc.search(elsewhere(), "y")).await);
    assert!(rest > Duration::from_secs(2_900) && rest <= Duration::from_secs(3_000), "{rest:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // Others may be asked.
    assert_eq!(names(muc.search(service(), "x")).await, "");
}

#[tokio::test]
async fn xep0433_4_2_refusals_have_names() {
    let says = |error: StanzaError, name: &str| Err(error.with_application_element(name, channel_search::ERROR));
    let (muc, _client, _asked) = scripted(vec![
        says(StanzaError::feature_not_implemented(), "invalid-sort-key"),
        says(StanzaError::not_allowed(), "full-set-retrieval-rejected"),
        says(StanzaError::bad_request().with_text("longer"), "invalid-search-terms"),
        Err(StanzaError::forbidden()),
    ])
    .await;
    let search = || all(muc.search(elsewhere(), ""));
    assert!(matches!(search().await, Err(SearchError::Order)));
    assert!(matches!(search().await, Err(SearchError::NotAll)));
    assert_eq!(search().await.unwrap_err().to_string(), "the service cannot search for this: longer");
    assert!(matches!(search().await, Err(SearchError::Request(RequestError::Refused(_)))));
}
