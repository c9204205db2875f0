//! What a session had on its way when another one took its place (RFC 6120 §7.7.2.2).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};
use support::{Raw, builder, managed::settled};
use tokio::sync::Notify;
use xmpp_core::extension::Target;
use xmpp_core::payload::last::LastQuery;
use xmpp_core::server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict};

/// Presence waits for the bell, and then says how its sender is; what came of it is noted.
fn slow_presence(bell: Arc<Notify>, told: Arc<Mutex<Vec<bool>>>) -> impl FnOnce(&mut ServerRegistrar) {
    move |r: &mut ServerRegistrar| {
        r.station(Station::new(
            "test:slow",
            Stage::FromClient,
            Kinds::PRESENCE,
            move |_: &mut Envelope, _: &Server| {
                let bell = Arc::clone(&bell);
                Decision::Wait(Box::pin(async move {
                    bell.notified().await;
                    Verdict::Continue
                }))
            },
        ));
        r.station(Station::new(
            "test:tell",
            Stage::Services,
            Kinds::PRESENCE,
            move |envelope: &mut Envelope, server: &Server| {
                let presence = Some(envelope.stanza().clone());
                let current = server.set_availability(envelope, Some(5), presence);
                assert_eq!(server.is_current(envelope), current);
                told.lock().unwrap().push(current);
                Verdict::Handled
            },
        ));
    }
}

#[tokio::test]
async fn rfc6120_7_7_2_2_presence_of_the_replaced_says_nothing_of_the_successor() {
    let (bell, told) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let server = builder().with(slow_presence(Arc::clone(&bell), Arc::clone(&told))).build().unwrap();
    let priority = || server.resources("juliet@localhost")[0].priority;
    let mut old = Raw::session(&server, "juliet@localhost/x").await;
    old.send("<presence/>").await;
    // All that was sent is read by then.
    assert!(old.is_quiet().await);
    let mut new = Raw::session(&server, "juliet@localhost/x").await;
    old.ends_with("conflict").await;
    bell.notify_one();
    settled(&server, |_| !told.lock().unwrap().is_empty()).await;
    assert_eq!((told.lock().unwrap().as_slice(), priority()), ([false].as_slice(), None));
    new.send("<presence/>").await;
    bell.notify_one();
    new.sync().await;
    assert_eq!((told.lock().unwrap().as_slice(), priority()), ([false, true].as_slice(), Some(5)));
}

#[tokio::test]
async fn rfc6120_7_7_2_2_a_late_request_of_the_replaced_sets_no_flag_of_its_successor() {
    let (bell, told) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (late, noted) = (Arc::clone(&bell), Arc::clone(&told));
    let mut flag = None;
    let register = |r: &mut ServerRegistrar| {
        let (want, cell) = (r.session_flag(), r.server());
        r.iq_get_async::<LastQuery, (), _>(Target::OwnAccount, move |cx, _| {
            let (late, noted, server) = (Arc::clone(&late), Arc::clone(&noted), cell.get().unwrap());
            async move {
                late.notified().await;
                noted.lock().unwrap().push(server.set_flag(&cx, want, true));
                Ok(())
            }
        });
        flag = Some(want);
    };
    let server = builder().with(register).build().unwrap();
    let flag = flag.unwrap();
    let mut old = Raw::session(&server, "juliet@localhost/x").await;
    let ask = "<iq type='get' id='1'><query xmlns='jabber:iq:last'/></iq>";
    old.send(ask).await;
    assert!(old.is_quiet().await);
    let mut new = Raw::session(&server, "juliet@localhost/x").await;
    old.ends_with("conflict").await;
    bell.notify_one();
    settled(&server, |_| !told.lock().unwrap().is_empty()).await;
    assert_eq!(told.lock().unwrap().as_slice(), [false]);
    assert!(!server.resources("juliet@localhost")[0].has(flag));
    new.send(ask).await;
    bell.notify_one();
    new.sync_whole().await;
    assert_eq!(told.lock().unwrap().as_slice(), [false, true]);
    assert!(server.resources("juliet@localhost")[0].has(flag));
}
