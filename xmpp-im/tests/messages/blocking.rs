//! Blocking (XEP-0191) and reports (XEP-0377).

use super::*;
use std::sync::Mutex;
use tokio::sync::mpsc;
use xmpp_core::{
    client::ClientRegistrar,
    extension::Target,
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery},
        stanza_id::StanzaId,
    },
};
use xmpp_im::{
    Stored,
    blocking::{
        self, ABUSE, Block, BlockChange, BlockListAnswer, BlockListQuery, Blocking, BlockingStore as _, Item,
        MemoryBlocking, Report, Reported, SPAM, Subscribers, Unblock,
    },
    carbons, offline,
};

fn blocking() -> Blocking {
    Blocking::new(MemoryBlocking::new()).subscribers(Friends)
}

/// Romeo is entitled to Juliet's presence.
struct Friends;

impl Subscribers for Friends {
    fn subscribers<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<BareJid>> {
        let friends = match user.as_str() {
            "juliet@localhost" => vec![BareJid::new("romeo@localhost").unwrap()],
            _ => Vec::new(),
        };
        Box::pin(async move { Ok(friends) })
    }
}

fn items(jids: &[&str]) -> Vec<Item> {
    jids.iter().map(|jid| Item::new(*jid)).collect()
}

async fn block(device: &Device, jids: &[&str]) {
    device.request(Iq::set_own().payload(&Block { items: items(jids) })).await.unwrap();
}

async fn unblock(device: &Device, jids: &[&str]) {
    device.request(Iq::set_own().payload(&Unblock { items: items(jids) })).await.unwrap();
}

async fn list(device: &Device) -> Vec<String> {
    let list: BlockListAnswer = device.client.query(Iq::get_own().payload(&BlockListQuery)).await.unwrap();
    list.items.into_iter().map(|item| item.jid).collect()
}

#[tokio::test]
async fn xep0191_3_2_to_3_5_the_list_is_kept_and_told() {
    let server = builder().with(blocking().server()).build().unwrap();
    let (pushes, mut pushed) = mpsc::unbounded_channel();
    let watch = |name: &'static str| {
        let (blocks, unblocks) = (pushes.clone(), pushes.clone());
        let tell = move |kind: &str, items: &[Item]| {
            let jids: Vec<&str> = items.iter().map(|item| item.jid.as_str()).collect();
            assert!(items.iter().all(|item| item.others.is_empty()), "reports are not told");
            format!("{name} {kind} {}", jids.join(" "))
        };
        move |r: &mut ClientRegistrar| {
            r.iq_set::<Block, _>(Target::Client, move |_, push| {
                let _ = blocks.send(tell("block", &push.items));
                Ok(())
            });
            r.iq_set::<Unblock, _>(Target::Client, move |_, push| {
                let _ = unblocks.send(tell("unblock", &push.items));
                Ok(())
            });
        }
    };
    let home = Device::with(&server, "juliet@localhost/home", |builder| builder.with(watch("home"))).await;
    let work = Device::with(&server, "juliet@localhost/work", |builder| builder.with(watch("work"))).await;
    let deaf = Device::with(&server, "juliet@localhost/deaf", |builder| builder.with(watch("deaf"))).await;
    assert!(list(&home).await.is_empty() && list(&work).await.is_empty());
    let mut told = async |expected: &str| {
        let mut told = [pushed.recv().await.unwrap(), pushed.recv().await.unwrap()];
        told.sort();
        assert_eq!(told, [format!("home {expected}"), format!("work {expected}")]);
    };
    block(&deaf, &["romeo@Montague.net", "iago@shakespeare.lit"]).await;
    told("block romeo@montague.net iago@shakespeare.lit").await;
    assert_eq!(list(&work).await, ["iago@shakespeare.lit", "romeo@montague.net"]);
    unblock(&home, &["romeo@montague.net"]).await;
    told("unblock romeo@montague.net").await;
    unblock(&home, &[]).await;
    told("unblock ").await;
    assert!(list(&work).await.is_empty());

    // §3.3: wrong requests, which change nothing.
    for (items, condition) in [
        (items(&[]), Condition::BadRequest),
        (items(&["a@b", "@"]), Condition::JidMalformed),
        (items(&["a@b", "juliet@localhost/work"]), Condition::NotAllowed),
    ] {
        assert_eq!(home.request(Iq::set_own().payload(&Block { items })).await.unwrap_err(), condition);
    }
    assert!(list(&work).await.is_empty());
    assert!(pushed.try_recv().is_err());
}

#[tokio::test]
async fn xep0191_3_1_the_features() {
    for reports in [false, true] {
        let mut blocking = blocking();
        if reports {
            blocking = blocking.on_report(|_| {});
        }
        let server = builder().with(blocking.server()).build().unwrap();
        let juliet = Device::new(&server, "juliet@localhost/home").await;
        let info: DiscoInfo =
            juliet.client.query(Iq::get(jid("localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
        let has = |feature: &str| info.features.iter().any(|one| one.var == feature);
        assert!(has("urn:xmpp:blocking"));
        assert_eq!(has("urn:xmpp:reporting:1"), reports);
    }
}

#[tokio::test]
async fn abuse_a071_xep0191_3_3_nothing_of_who_is_blocked_comes_through() {
    let kept = Arc::new(offline::MemoryOffline::new());
    let offline = offline::server(Arc::clone(&kept), offline::OfflineLimits::default());
    let server = builder().with(offline).with(carbons::server).with(blocking().server()).build().unwrap();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut home = Device::new(&server, "juliet@localhost/home").await;
    home.request(Iq::set_own().payload(&carbons::Enable)).await.unwrap();
    home.become_available(0).await;
    let mut work = Device::available(&server, "juliet@localhost/work", 0).await;
    for blocked in ["romeo@localhost", "romeo@localhost/orchard", "localhost"] {
        block(&home, &[blocked]).await;
        for device in [&mut romeo, &mut home, &mut work] {
            device.stanzas().await;
        }
        for to in ["juliet@localhost", "juliet@localhost/work", "juliet@localhost/gone"] {
            // Messages come back, and leave no copy; presence is met with silence.
            romeo.send(Message::chat(jid(to)).body("hi")).await;
            for kind in ["", " type='unavailable'", " type='subscribe'", " type='probe'", " type='unsubscribed'"] {
                // Subscriptions are the account's, not one resource's (RFC 6121 §3.1.2).
                if kind.contains("subscribe") && blocked.contains('/') {
                    continue;
                }
                romeo.send(xml(&format!("<presence to='{to}'{kind}/>"))).await;
            }
            let error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
            romeo.send(xml(&format!("<message type='error' to='{to}'>{error}</message>"))).await;
            romeo.send(xml(&format!("<iq type='result' id='1' to='{to}'/>"))).await;
            // Requests are answered as where there is nobody.
            for id in ["juliet@localhost", to] {
                let ping = Iq::get(jid(id)).payload(&Ping);
                assert_eq!(romeo.request(ping).await.unwrap_err(), Condition::ServiceUnavailable);
            }
            let (messages, presence) = romeo.stanzas().await;
            assert_eq!(messages.len(), 1, "{blocked} {to}: {messages:?}");
            assert_eq!(messages[0].error().unwrap().condition, Condition::ServiceUnavailable);
            assert!(presence.is_empty(), "{blocked} {to}: {presence:?}");
        }
        for device in [&mut home, &mut work] {
            let (messages, presence) = device.stanzas().await;
            assert!(messages.is_empty() && presence.is_empty(), "{blocked}: {messages:?} {presence:?}");
        }
        unblock(&home, &[]).await;
        romeo.send(Message::chat(work.jid.clone()).body("again")).await;
        romeo.sync().await;
        assert_eq!(work.bodies().await, ["again"], "once the list is empty");
        home.stanzas().await;
    }
    use offline::OfflineStore as _;
    assert!(kept.first(&BareJid::new("juliet@localhost").unwrap(), 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn xep0191_3_3_one_does_not_write_to_who_is_blocked() {
    let server = builder().with(carbons::server).with(blocking().server()).build().unwrap();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut juliet = Device::available(&server, "juliet@localhost/home", 0).await;
    let mut work = Device::new(&server, "juliet@localhost/work").await;
    work.request(Iq::set_own().payload(&carbons::Enable)).await.unwrap();
    block(&juliet, &["romeo@localhost"]).await;
    romeo.stanzas().await;
    juliet.stanzas().await;
    work.stanzas().await;
    juliet.send(Message::chat(romeo.jid.clone()).body("can you hear me now?")).await;
    let bounced = juliet.messages().await;
    let error = bounced[0].error().unwrap();
    assert_eq!(error.condition, Condition::NotAcceptable);
    assert_eq!(error.type_, xmpp_core::stanza::ErrorType::Cancel);
    assert!(error.has_application("blocked", "urn:xmpp:blocking:errors"));
    assert!(work.messages().await.is_empty(), "it is not copied");
    for to in ["romeo@localhost", "romeo@localhost/orchard"] {
        let ping = Iq::get(jid(to)).payload(&Ping);
        assert_eq!(juliet.request(ping).await.unwrap_err(), Condition::NotAcceptable, "{to}");
        for kind in ["", " type='subscribe'"] {
            juliet.send(xml(&format!("<presence to='{to}'{kind}/>"))).await;
            let presence = juliet.stanzas().await.1;
            assert_eq!(presence.len(), 1, "{to}");
            assert_eq!(presence[0].error().unwrap().condition, Condition::NotAcceptable);
        }
    }
    let (messages, presence) = romeo.stanzas().await;
    assert!(messages.is_empty() && presence.is_empty(), "{messages:?} {presence:?}");
}

#[tokio::test]
async fn xep0191_3_3_and_3_4_who_is_entitled_sees_presence_go_and_come() {
    let server = builder().with(blocking().server()).build().unwrap();
    let mut romeo = Device::available(&server, "romeo@localhost/orchard", 0).await;
    let mut tybalt = Device::available(&server, "tybalt@localhost/street", 0).await;
    let juliet = Device::available(&server, "juliet@localhost/home", 0).await;
    let _connected = Device::new(&server, "juliet@localhost/connected").await;
    let own = |here: bool| vec![("juliet@localhost/home".to_owned(), here)];
    for device in [&mut romeo, &mut tybalt] {
        device.stanzas().await;
    }
    for item in ["romeo@localhost", "localhost", "romeo@localhost/orchard"] {
        block(&juliet, &[item, "tybalt@localhost"]).await;
        assert_eq!(romeo.presence().await, own(false), "{item}");
        // What is blocked already goes no second time, and does not come while something else blocks it.
        block(&juliet, &[item]).await;
        block(&juliet, &["romeo@localhost/orchard", "romeo@localhost"]).await;
        romeo.stanzas().await;
        unblock(&juliet, &["romeo@localhost/orchard"]).await;
        assert!(romeo.presence().await.is_empty(), "{item}");
        unblock(&juliet, &[]).await;
        let presence = romeo.presence().await;
        assert!(!presence.is_empty() && presence.iter().all(|one| *one == own(true)[0]), "{item}: {presence:?}");
    }
    assert!(tybalt.presence().await.is_empty(), "who may not see it sees nothing");
}

#[tokio::test]
async fn xep0191_4_nobody_is_cut_off_from_oneself_and_the_own_server() {
    let server = builder().with(blocking().server()).build().unwrap();
    let home = Device::available(&server, "juliet@localhost/home", 0).await;
    let mut work = Device::available(&server, "juliet@localhost/work", 0).await;
    block(&home, &["localhost"]).await;
    home.send(Message::chat(work.jid.clone()).body("to myself")).await;
    home.sync().await;
    assert_eq!(work.bodies().await, ["to myself"]);
    server.send(jid("localhost"), work.jid.clone(), {
        Message::normal(work.jid.clone()).from(jid("localhost")).body("of the server").build().into_stanza()
    });
    assert_eq!(text(&work.message().await), "of the server");
}

#[tokio::test]
async fn xep0377_reports_reach_who_runs_the_server() {
    let reports = Arc::new(Mutex::new(Vec::<Reported>::new()));
    let seen = Arc::clone(&reports);
    let blocking = blocking().on_report(move |report| seen.lock().unwrap().push(report));
    let server = builder().with(blocking.server()).build().unwrap();
    let juliet = Device::new(&server, "juliet@localhost/home").await;
    let request = |item: &str| {
        xml(&format!(
            "<iq type='set' id='x'><block xmlns='urn:xmpp:blocking'><item jid='{item}'>\
             <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><stanza-id xmlns='urn:xmpp:sid:0' \
             by='juliet@localhost' id='28482'/><text xml:lang='en'>{}</text><report-origin/></report></item>\
             <item jid='iago@example.net'><report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'/></item>\
             <item jid='paris@example.net'><report xmlns='urn:xmpp:reporting:1'/></item></block></iq>",
            "é".repeat(3_000)
        ))
    };
    juliet.send(request("romeo@example.net")).await;
    juliet.sync().await;
    // §7: whatever the report is, the address is blocked.
    assert_eq!(list(&juliet).await, ["iago@example.net", "paris@example.net", "romeo@example.net"]);
    let reports = std::mem::take(&mut *reports.lock().unwrap());
    assert_eq!(reports.len(), 2, "one has no reason");
    let (spam, abuse) = (&reports[0], &reports[1]);
    assert_eq!((spam.reporter.as_str(), spam.reported.as_str()), ("juliet@localhost", "romeo@example.net"));
    let messages = vec![StanzaId { id: "28482".into(), by: jid("juliet@localhost") }];
    let text = vec!["é".repeat(2_000)];
    let expected = Report { reason: SPAM.into(), texts: text, messages, to_origin: true, to_third_parties: false };
    assert_eq!(spam.report, expected, "long texts are cut");
    assert_eq!((abuse.reported.as_str(), abuse.report.reason.as_str()), ("iago@example.net", ABUSE));
}

#[tokio::test]
async fn abuse_a071_the_list_has_its_limit() {
    let server = builder().with(blocking().entries(3).server()).build().unwrap();
    let juliet = Device::new(&server, "juliet@localhost/home").await;
    block(&juliet, &["a@x", "b@x"]).await;
    let two = Block { items: items(&["c@x", "d@x"]) };
    assert_eq!(juliet.request(Iq::set_own().payload(&two)).await.unwrap_err(), Condition::ResourceConstraint);
    block(&juliet, &["c@x"]).await;
    assert_eq!(list(&juliet).await, ["a@x", "b@x", "c@x"]);
}

#[tokio::test]
async fn lists_go_with_the_account_and_with_anonymous_sessions() {
    let store = Arc::new(MemoryBlocking::new());
    let blocking = Blocking::new(Arc::clone(&store));
    let server = builder().with(blocking.server()).build().unwrap();
    let juliet = Device::new(&server, "juliet@localhost/home").await;
    let guest = Device::with(&server, "anon.localhost", |builder| builder.anonymous()).await;
    let mut lists = Vec::new();
    for device in [&juliet, &guest] {
        block(device, &["romeo@localhost"]).await;
        let user = device.jid.to_bare();
        assert_eq!(store.list(&user).await.unwrap().len(), 1);
        lists.push(user);
    }
    guest.client.close().await;
    while !store.list(&lists[1]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    juliet.client.close().await;
    assert_eq!(store.list(&lists[0]).await.unwrap().len(), 1, "an account's stays");
    server.account_removed(&lists[0]).await;
    assert!(store.list(&lists[0]).await.unwrap().is_empty());
}

/// A list that is slow to change, once.
#[derive(Default)]
struct Slow {
    lists: MemoryBlocking,
    bell: Mutex<Option<Arc<tokio::sync::Notify>>>,
}

impl xmpp_im::blocking::BlockingStore for Slow {
    fn list<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Vec<Jid>> {
        self.lists.list(user)
    }
    fn block<'a>(&'a self, user: &'a BareJid, jids: &'a [Jid], limit: usize) -> Stored<'a, Option<Vec<Jid>>> {
        let bell = self.bell.lock().unwrap().take();
        Box::pin(async move {
            let blocked = self.lists.block(user, jids, limit).await;
            if let Some(bell) = bell {
                bell.notified().await;
            }
            blocked
        })
    }
    fn unblock<'a>(&'a self, user: &'a BareJid, jids: Option<&'a [Jid]>) -> Stored<'a, Vec<Jid>> {
        self.lists.unblock(user, jids)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.lists.forget(user)
    }
}

#[tokio::test]
async fn xep0191_3_3_changes_are_told_in_the_order_in_which_they_were_made() {
    let (bell, store) = (Arc::new(tokio::sync::Notify::new()), Arc::new(Slow::default()));
    let server = builder().with(Blocking::new(Arc::clone(&store)).server()).build().unwrap();
    let (pushes, mut pushed) = mpsc::unbounded_channel();
    let watching = Device::with(&server, "juliet@localhost/watching", move |builder| {
        builder.with(move |r: &mut ClientRegistrar| {
            let (one, other) = (pushes.clone(), pushes);
            r.iq_set::<Block, _>(Target::Client, move |_, _| {
                one.send("block").unwrap();
                Ok(())
            });
            r.iq_set::<Unblock, _>(Target::Client, move |_, _| {
                other.send("unblock").unwrap();
                Ok(())
            });
        })
    })
    .await;
    assert!(list(&watching).await.is_empty());
    let one = Device::new(&server, "juliet@localhost/one").await;
    let other = Device::new(&server, "juliet@localhost/other").await;
    *store.bell.lock().unwrap() = Some(Arc::clone(&bell));
    let late = async {
        while store.bell.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        let ringing = async {
            // The other's request is where it can get without the bell.
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
            bell.notify_one();
        };
        tokio::join!(unblock(&other, &["tybalt@localhost"]), ringing);
    };
    tokio::join!(block(&one, &["tybalt@localhost"]), late);
    assert!(list(&watching).await.is_empty());
    assert_eq!([pushed.recv().await.unwrap(), pushed.recv().await.unwrap()], ["block", "unblock"]);
}

#[tokio::test]
async fn abuse_a071_a_blocked_component_learns_nothing_of_the_account() {
    use xmpp_core::client::{Component, ComponentEvent};
    let store = Arc::new(xmpp_im::account_xml::MemoryAccountXml::new());
    let builder = builder().with(blocking().server()).component("plays.localhost", "secret");
    let server = builder.with(xmpp_im::vcard::server(store, 10_000)).build().unwrap();
    let pipe = server.clone();
    let component = Component::builder(jid("plays.localhost"), "secret").pipe(move || pipe.attach_memory());
    let (component, mut events) = component.connect().unwrap();
    assert!(matches!(events.next().await, Some(ComponentEvent::Online)));
    let juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let card = xmpp_im::vcard::VCard::write_with(|out| out.text_element("FN", xmpp_im::vcard::NS, "Juliet"));
    juliet.request(Iq::set_own().payload(&card)).await.unwrap();
    let ask = async || {
        let request = Iq::get(jid("juliet@localhost")).from(jid("hamlet@plays.localhost"));
        match component.request(request.payload(&xmpp_im::vcard::VCard::empty())).await {
            Ok(_) => None,
            Err(RequestError::Refused(error)) => Some(error.condition),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(ask().await, None);
    block(&juliet, &["plays.localhost"]).await;
    assert_eq!(ask().await, Some(Condition::ServiceUnavailable));
}

#[tokio::test]
async fn abuse_a071_the_list_is_met_exactly_and_duplicates_count_once() {
    let server = builder().with(blocking().entries(3).server()).build().unwrap();
    let juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let set = async |jids: &[&str]| juliet.request(Iq::set_own().payload(&Block { items: items(jids) })).await.err();
    assert_eq!(set(&["a@b", "A@b", "a@b", "b", "b/c"]).await, None);
    assert_eq!(list(&juliet).await, ["a@b", "b", "b/c"]);
    assert_eq!(set(&["b", "d"]).await, Some(Condition::ResourceConstraint));
    assert_eq!(set(&["b", "a@b"]).await, None);
    assert_eq!(set(&["b", "@"]).await, Some(Condition::JidMalformed));
    assert_eq!(set(&[]).await, Some(Condition::BadRequest));
    assert_eq!(list(&juliet).await.len(), 3);
    unblock(&juliet, &[]).await;
    assert!(list(&juliet).await.is_empty());
}

#[tokio::test]
async fn xep0191_3_3_a_client_is_told_what_another_blocks_and_believes_its_own_account_alone() {
    let server = builder().with(blocking().server()).build().unwrap();
    let (told, mut changes) = mpsc::unbounded_channel();
    let listener = blocking::client(move |change| told.send(change).unwrap());
    let balcony = Device::with(&server, "juliet@localhost/balcony", |builder| builder.with(listener)).await;
    let phone = Device::new(&server, "juliet@localhost/phone").await;
    assert!(blocking::list(&balcony.client).await.unwrap().is_empty());

    let mallory = Device::new(&server, "tybalt@localhost/street").await;
    let forged = || Block { items: items(&["romeo@localhost"]) };
    let forgery = mallory.request(Iq::set(balcony.jid.clone()).payload(&forged())).await;
    assert_eq!(forgery.unwrap_err(), Condition::ServiceUnavailable);
    let forgery = mallory.request(Iq::set(balcony.jid.clone()).payload(&Unblock::default())).await;
    assert_eq!(forgery.unwrap_err(), Condition::ServiceUnavailable);

    let (nurse, tybalt) = (jid("nurse@localhost"), jid("tybalt@localhost"));
    blocking::block(&phone.client, [nurse.clone(), tybalt.clone()]).await.unwrap();
    assert_eq!(changes.recv().await, Some(BlockChange::Blocked(vec![nurse.clone(), tybalt.clone()])));
    blocking::unblock(&phone.client, []).await.unwrap();
    assert_eq!(blocking::list(&phone.client).await.unwrap().len(), 2, "nobody is not everybody");
    blocking::unblock(&phone.client, [nurse.clone()]).await.unwrap();
    assert_eq!(changes.recv().await, Some(BlockChange::Unblocked(vec![nurse])));
    assert_eq!(blocking::list(&balcony.client).await.unwrap(), [tybalt]);
    blocking::unblock_all(&phone.client).await.unwrap();
    assert_eq!(changes.recv().await, Some(BlockChange::Nobody));
}

#[tokio::test]
async fn xep0377_a_client_reports_whom_it_blocks() {
    let (told, mut reports) = mpsc::unbounded_channel();
    let blocking = blocking().on_report(move |report: Reported| told.send(report).unwrap());
    let server = builder().with(blocking.server()).build().unwrap();
    let juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let report = Report {
        reason: SPAM.into(),
        texts: vec!["never heard of him".into()],
        messages: Vec::new(),
        to_origin: false,
        to_third_parties: true,
    };
    blocking::report(&juliet.client, &jid("tybalt@localhost"), &report).await.unwrap();
    let reported = reports.recv().await.unwrap();
    assert_eq!((reported.reported.as_str(), &reported.report), ("tybalt@localhost", &report));
    assert_eq!(blocking::list(&juliet.client).await.unwrap(), [jid("tybalt@localhost")]);
}
