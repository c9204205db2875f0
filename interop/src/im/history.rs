//! Archives (XEP-0313) and offline messages (XEP-0160): what was missed comes once, whichever way it comes.

use super::{
    Features,
    device::{Device, soon, text},
    expect_each_once,
};
use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::Peer,
    wire::Wire,
};
use std::{collections::BTreeMap, time::Duration};
use xmpp_core::{
    client::Event,
    payload::{archive, ping::Ping},
    stanza::Iq,
};
use xmpp_im::{
    archive::Since,
    chat::{ChatClient, ChatEventKind, Source},
    roster::SavedRoster,
};

pub(super) async fn checks(report: &mut Report, peer: &Peer, features: &Features) {
    if features.has("msgoffline") {
        report.check("im offline messages come in order, each with its time", offline(peer)).await;
    } else {
        report.skip("im offline messages", "the server does not say that it keeps them");
    }
    if !features.has(archive::NS) {
        return report.skip("im archive", "the account has none");
    }
    for first in ["the archive", "what waits"] {
        let name = format!("im archive: what came while nobody was there is told once, {first} first");
        report.check(&name, missed(peer, first == "the archive")).await;
    }
    report.check("im archive: what other clients sent and got is told once", other_clients(peer)).await;
    report.check("im archive: catching up after a resumed session tells nothing twice", resumed(peer)).await;
    report.check("im archive: catching up after a new session tells nothing twice", renewed(peer)).await;
    report.check("im archive: only what was exchanged with one contact", filtered(peer)).await;
}

/// How often each of these texts has been told. Nothing more comes: a last message is sent behind them all.
#[derive(Default)]
struct Told(BTreeMap<String, usize>);

impl Told {
    fn add(&mut self, body: &str) {
        *self.0.entry(body.to_owned()).or_default() += 1;
    }

    /// What is told live up to the `last`.
    async fn live(&mut self, device: &mut Device, last: &str) -> Checked {
        soon(last, async {
            loop {
                let event = device.chats.next().await.ok_or("the client has ended")?;
                if matches!(event.kind, ChatEventKind::New(_)) {
                    if text(&event) == last {
                        return Ok(());
                    }
                    self.add(text(&event));
                }
            }
        })
        .await
    }

    /// What the archive tells.
    async fn archived(&mut self, device: &Device, since: Since) -> Checked<usize> {
        let mut sync = device.client.archive()?.page(7).sync(since);
        let mut count = 0;
        while let Some(message) = soon("the archive", async { Ok(sync.next().await) }).await? {
            for event in message?.events {
                expect(event.source == Source::Archive && event.time.is_some(), || format!("{event:?}"))?;
                if matches!(event.kind, ChatEventKind::New(_)) {
                    self.add(text(&event));
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn expect(self, wanted: &[String]) -> Checked {
        let got = self.0.into_iter().flat_map(|(body, count)| std::iter::repeat_n(body, count)).collect();
        expect_each_once("what was told", got, wanted)
    }
}

fn numbered(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{what} {n}")).collect()
}

async fn say(from: &Device, to: &Device, bodies: &[String]) -> Checked {
    let chat = from.chat(to)?;
    for body in bodies {
        chat.send(body.clone()).await?;
    }
    from.sync().await
}

/// Where the archive ends now, as a first login learns it.
async fn position(device: &Device) -> Checked<Since> {
    let archive = device.client.archive()?;
    let mut sync = archive.clone().page(200).sync(Since::Beginning);
    while let Some(message) = soon("the archive", async { Ok(sync.next().await) }).await? {
        message?;
    }
    Ok(archive.position().map_or(Since::Beginning, Since::After))
}

async fn offline(peer: &Peer) -> Checked<String> {
    let romeo = Device::available(peer, &peer.users[0], "writes").await?;
    let juliet = Device::available(peer, &peer.users[1], "away").await?;
    let address = juliet.bare();
    juliet.close().await?;
    let bodies = numbered("offline", 10);
    for body in &bodies {
        romeo.client.chat(address.clone())?.send(body.clone()).await?;
    }
    romeo.sync().await?;
    let mut juliet = Device::available(peer, &peer.users[1], "back").await?;
    for body in &bodies {
        let event = juliet.reads(body).await?;
        expect(event.time.is_some(), || format!("no time of {body}: {}", event.message.stanza().as_str()))?;
    }
    juliet.close().await?;
    romeo.close().await?;
    Ok(String::new())
}

/// Offline messages and the archive have the same: one of both is told.
async fn missed(peer: &Peer, archive_first: bool) -> Checked<String> {
    let romeo = Device::available(peer, &peer.users[0], "writes").await?;
    let mut juliet = Device::available(peer, &peer.users[1], "balcony").await?;
    let saved = position(&juliet).await?;
    say(&romeo, &juliet, &numbered("live", 3)).await?;
    let mut told = Told::default();
    say(&romeo, &juliet, &["the last live".into()]).await?;
    told.live(&mut juliet, "the last live").await?;
    expect_eq("the archive since then", told.archived(&juliet, saved.clone()).await?, 0)?;
    // What Prosody did not give a session that had read the archive, it gives the next one.
    told.0.retain(|body, _| body.starts_with("live"));
    told.expect(&numbered("live", 3))?;
    let saved = juliet.client.archive()?.position().map_or(saved, Since::After);
    let gone = juliet.bare();
    juliet.close().await?;
    let bodies = numbered(if archive_first { "missed" } else { "waiting" }, 20);
    for body in &bodies {
        romeo.client.chat(gone.clone())?.send(body.clone()).await?;
    }
    romeo.sync().await?;
    let mut juliet = Device::login(peer, &peer.users[1], "balcony").await?;
    let mut told = Told::default();
    if !archive_first {
        juliet.appear().await?;
    }
    let count = told.archived(&juliet, saved).await?;
    if archive_first {
        juliet.appear().await?;
    }
    say(&romeo, &juliet, &["after it".into()]).await?;
    told.live(&mut juliet, "after it").await?;
    // Once more: all of it is known.
    told.archived(&juliet, Since::Beginning).await?;
    // Of what came before, much is news to this client.
    told.0.retain(|body, _| bodies.contains(body));
    told.expect(&bodies)?;
    juliet.close().await?;
    romeo.close().await?;
    Ok(format!("{count} of 20 from the archive"))
}

async fn other_clients(peer: &Peer) -> Checked<String> {
    let romeo = Device::available(peer, &peer.users[0], "writes").await?;
    let mut juliet = Device::available(peer, &peer.users[1], "balcony").await?;
    let saved = position(&juliet).await?;
    let phone = Device::available(peer, &peer.users[1], "phone").await?;
    say(&romeo, &phone, &numbered("to all", 5)).await?;
    say(&phone, &romeo, &numbered("of the phone", 5)).await?;
    say(&juliet, &romeo, &numbered("of this client", 5)).await?;
    for body in numbered("to the phone", 5) {
        romeo.client.send(xmpp_core::stanza::Message::chat(phone.full()).body(body)).await?;
    }
    say(&romeo, &juliet, &["the end".into()]).await?;
    let mut told = Told::default();
    told.live(&mut juliet, "the end").await?;
    let live = told.0.len();
    let count = told.archived(&juliet, saved).await?;
    // Copies may come later than what was sent after them.
    phone.client.request(Iq::get(juliet.full()).payload(&Ping)).await?;
    say(&phone, &juliet, &["the very end".into()]).await?;
    told.live(&mut juliet, "the very end").await?;
    let wanted = ["to all", "of the phone", "to the phone"].map(|what| numbered(what, 5)).concat();
    told.expect(&wanted)?;
    for device in [juliet, phone, romeo] {
        device.close().await?;
    }
    Ok(format!("{live} live, {count} from the archive"))
}

async fn wired(peer: &Peer, resource: &str, managed: bool) -> Checked<(Wire, Device)> {
    let wire = Wire::to(peer, crate::peer::Way::StartTls).await?;
    let device = Device::with(peer, &peer.users[1], resource, SavedRoster::default(), |builder| {
        let builder = wire.client(builder).keepalive(Duration::from_secs(2));
        if managed { builder } else { builder.no_stream_management() }
    })
    .await?;
    device.appear().await?;
    Ok((wire, device))
}

async fn resumed(peer: &Peer) -> Checked<String> {
    let romeo = Device::available(peer, &peer.users[0], "writes").await?;
    let (wire, mut juliet) = wired(peer, "wired", true).await?;
    let saved = position(&juliet).await?;
    say(&romeo, &juliet, &numbered("before", 5)).await?;
    wire.cut();
    say(&romeo, &juliet, &numbered("during", 5)).await?;
    let how = juliet
        .until("the session again", |event| match event {
            Event::Resumed { .. } => Some("resumed"),
            Event::Online { .. } => Some("a new session"),
            _ => None,
        })
        .await?;
    expect_eq("the session", how, "resumed")?;
    say(&romeo, &juliet, &["the end".into()]).await?;
    let mut told = Told::default();
    told.live(&mut juliet, "the end").await?;
    let count = told.archived(&juliet, saved).await?;
    told.expect(&[numbered("before", 5), numbered("during", 5)].concat())?;
    expect_eq("from the archive", count, 0)?;
    juliet.close().await?;
    romeo.close().await?;
    Ok(String::new())
}

/// Without stream management what was on its way is lost to the session, and the archive has it.
async fn renewed(peer: &Peer) -> Checked<String> {
    let romeo = Device::available(peer, &peer.users[0], "writes").await?;
    let (wire, mut juliet) = wired(peer, "wired anew", false).await?;
    let saved = position(&juliet).await?;
    say(&romeo, &juliet, &numbered("before", 5)).await?;
    wire.cut();
    say(&romeo, &juliet, &numbered("during", 5)).await?;
    juliet.until("a new session", |event| matches!(event, Event::Online { .. }).then_some(())).await?;
    // Its presence is sent by itself.
    juliet.sync().await?;
    let mut told = Told::default();
    let count = told.archived(&juliet, saved).await?;
    say(&romeo, &juliet, &["the end".into()]).await?;
    told.live(&mut juliet, "the end").await?;
    told.expect(&[numbered("before", 5), numbered("during", 5)].concat())?;
    juliet.close().await?;
    romeo.close().await?;
    Ok(format!("{count} of 10 from the archive"))
}

async fn filtered(peer: &Peer) -> Checked<String> {
    let romeo = Device::available(peer, &peer.users[0], "writes").await?;
    let juliet = Device::available(peer, &peer.users[1], "reads").await?;
    let saved = position(&juliet).await?;
    let mallory = Device::available(peer, &peer.users[2], "others").await?;
    let address = juliet.bare();
    juliet.close().await?;
    for n in 0..3 {
        for from in [&romeo, &mallory] {
            from.client.chat(address.clone())?.send(format!("{n} of {}", from.bare())).await?;
            from.sync().await?;
        }
    }
    // Not available, so that nothing comes but from the archive.
    let juliet = Device::login(peer, &peer.users[1], "reads").await?;
    let mut sync = juliet.client.archive()?.with(romeo.bare()).page(2).sync(saved);
    let mut bodies = Vec::new();
    while let Some(message) = soon("the archive", async { Ok(sync.next().await) }).await? {
        bodies.extend(message?.events.iter().map(|event| text(event).to_owned()));
    }
    expect_each_once("what was told", bodies, &(0..3).map(|n| format!("{n} of {}", romeo.bare())).collect::<Vec<_>>())?;
    // What waits for her is taken.
    juliet.appear().await?;
    for device in [juliet, romeo, mallory] {
        device.close().await?;
    }
    Ok(String::new())
}
