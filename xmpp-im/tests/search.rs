//! Searching a directory (XEP-0055).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use xmpp_core::{
    client::{Client, Event},
    extension::{Registrar, Target},
    jid::{BareJid, Jid},
    payload::Payload as _,
    server::{MemoryAccounts, Server},
    xml::{Stanza, Writer, XmlLimits, ns},
};
use xmpp_im::search::{self, Found, Search};

/// A directory of one.
fn directory(r: &mut Registrar) {
    r.iq_get::<Search, _>(Target::Server, |_, _| {
        let empty = || Some(String::new());
        Ok(Search { instructions: Some("Any".into()), last: empty(), nick: empty(), ..Search::default() })
    });
    r.iq_set::<Search, _>(Target::Server, |_, wanted| {
        let last = wanted.last.filter(|last| last == "Capulet");
        let jid: Jid = "juliet@localhost".parse().unwrap();
        let found = last.map(|last| Found { jid, first: None, last: Some(last), nick: None, email: None });
        Ok(Search { items: found.into_iter().collect(), ..Search::default() })
    });
}

#[tokio::test]
async fn xep0055_2_1_people_are_found_by_field() {
    let accounts = MemoryAccounts::new();
    accounts.set_password(BareJid::new("romeo@localhost").unwrap(), "secret");
    let server = Server::builder("localhost").accounts(accounts).with(directory).build().unwrap();
    let builder = Client::builder("romeo@localhost".parse().unwrap(), "secret").no_reconnect();
    let (client, mut events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    let at: Jid = "localhost".parse().unwrap();
    let fields = search::fields(&client, &at).await.unwrap();
    assert_eq!((fields.last.as_deref(), fields.nick.as_deref(), fields.first), (Some(""), Some(""), None));
    for (last, count) in [("Capulet", 1), ("Montague", 0)] {
        let wanted = Search { last: Some(last.into()), ..Search::default() };
        assert_eq!(search::search(&client, &at, &wanted).await.unwrap().items.len(), count, "{last}");
    }
}

#[test]
fn xep0055_2_1_results_come_back_as_they_are() {
    let text = "<query xmlns='jabber:iq:search'><item jid='tybalt@example.org'><first>Tybalt</first><last>Capulet</last>\
                <nick>ty</nick><email>tybalt@example.org</email></item></query>";
    let read = Search::read(Stanza::parse(text, ns::CLIENT, &XmlLimits::default()).unwrap().root()).unwrap();
    let mut out = Writer::new(ns::CLIENT);
    read.write(&mut out);
    assert_eq!(String::from_utf8(out.finish()).unwrap(), text);
}
