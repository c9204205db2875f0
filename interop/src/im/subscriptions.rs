//! Subscriptions between two accounts, presence by them, and what others' software can do.

use super::{TRICKY, device::Device};
use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::Peer,
};
use xmpp_core::{
    jid::{BareJid, Jid},
    stanza::Show,
};
use xmpp_im::{
    ClientExt,
    presence::{OwnPresence, PresenceEvent},
    roster::{Item, RosterError, Subscription},
};

pub(super) async fn checks(report: &mut Report, peer: &Peer) {
    let mut pair = None;
    report
        .check("im two accounts", async {
            let romeo = Device::available(peer, &peer.users[0], "orchard").await?;
            let juliet = Device::available(peer, &peer.users[1], "balcony").await?;
            pair = Some((romeo, juliet));
            Ok(String::new())
        })
        .await;
    let Some((mut romeo, mut juliet)) = pair else { return };
    report.check("im a request that is denied", denied(&mut romeo, &mut juliet)).await;
    report.check("im a request that is accepted", accepted(&mut romeo, &mut juliet)).await;
    report.check("im a request the other way", accepted(&mut juliet, &mut romeo)).await;
    report
        .check("im both rosters say so", async {
            for (device, other) in [(&romeo, &juliet), (&juliet, &romeo)] {
                device.until_item("a subscription both ways", is(&other.bare(), Some(Subscription::Both))).await?;
            }
            Ok(String::new())
        })
        .await;
    report.check("im presence of a contact: show, status, priority", shown(&mut romeo, &juliet)).await;
    report.check("im what a contact's software can do", capabilities(peer, &mut romeo, &juliet)).await;
    report
        .check("im presence of contacts comes again in the next session", async {
            let again = Device::available(peer, &peer.users[0], "again").await?;
            let (presence, jid) = (again.presence()?, juliet.jid.clone());
            let mut again = again;
            while presence.resources(&juliet.bare()).iter().all(|one| one.jid != jid) {
                again.heard.next().await.ok_or("the client has ended")?;
            }
            let can = again.client.caps().ok_or("without caps")?.of(&juliet.full()).await?;
            expect(can.has_feature("urn:xmpp:receipts"), || format!("{:?}", can.features))?;
            again.close().await?;
            Ok(String::new())
        })
        .await;
    report.check("im a contact is removed, and both subscriptions end", removed(&mut romeo, &mut juliet)).await;
    report
        .check("im a contact goes", async {
            juliet.forget_everybody().await?;
            juliet.close().await?;
            Ok(String::new())
        })
        .await;
    report.check("im a request to who is offline waits", waiting(peer, &mut romeo)).await;
    report.check("im approval in advance", in_advance(peer, &mut romeo)).await;
    report
        .check("im who asked goes", async {
            romeo.forget_everybody().await?;
            romeo.close().await?;
            Ok(String::new())
        })
        .await;
}

/// Whether somebody is in a roster so.
fn is(contact: &BareJid, wanted: Option<Subscription>) -> impl Fn(&[Item]) -> bool {
    let contact = contact.clone();
    move |items| {
        let item = items.iter().find(|item| contact == item.jid);
        item.map(|item| item.subscription) == wanted && item.is_none_or(|item| !item.ask)
    }
}

/// The next request is of this account.
async fn requested(device: &mut Device, by: &BareJid) -> Checked {
    let request = device.hears("a request", |event| match event {
        PresenceEvent::Request(request) => Some(request),
        _ => None,
    });
    expect_eq("who asks", &request.await?.from, by)?;
    let waiting = device.presence()?.requests();
    expect(waiting.iter().any(|request| &request.from == by), || format!("{waiting:?} wait"))
}

async fn denied(asks: &mut Device, denies: &mut Device) -> Checked<String> {
    let (one, other) = (asks.bare(), denies.bare());
    asks.roster()?.subscribe(&other).await?;
    requested(denies, &one).await?;
    asks.until_item("ask", |items| items.iter().any(|item| other == item.jid && item.ask)).await?;
    denies.presence()?.deny(&one).await?;
    asks.hears("the denial", |event| (event == PresenceEvent::Unsubscribed(other.clone())).then_some(())).await?;
    asks.until_item("no subscription", is(&other, Some(Subscription::None))).await?;
    expect_eq("requests that wait", denies.presence()?.requests().len(), 0)?;
    Ok(String::new())
}

async fn accepted(asks: &mut Device, gives: &mut Device) -> Checked<String> {
    let (one, other) = (asks.bare(), gives.bare());
    asks.roster()?.subscribe(&other).await?;
    requested(gives, &one).await?;
    gives.roster()?.approve(&one).await?;
    let (mut subscribed, mut available) = (false, false);
    let full = gives.jid.clone();
    asks.hears("approval and presence", |event| {
        match event {
            PresenceEvent::Subscribed(contact) => subscribed |= contact == other,
            PresenceEvent::Available(contact) => available |= contact.jid == full,
            _ => {}
        }
        (subscribed && available).then_some(())
    })
    .await?;
    Ok(String::new())
}

async fn shown(sees: &mut Device, contact: &Device) -> Checked<String> {
    let own = OwnPresence { show: Some(Show::Away), status: Some(TRICKY.into()), priority: 7 };
    contact.presence()?.set(own).await?;
    let jid = contact.jid.clone();
    let seen = sees
        .hears("the new presence", |event| match event {
            PresenceEvent::Available(seen) if seen.jid == jid && seen.show.is_some() => Some(seen),
            _ => None,
        })
        .await?;
    expect_eq("show", seen.show, Some(Show::Away))?;
    expect_eq("status", seen.status.as_deref(), Some(TRICKY))?;
    expect_eq("priority", seen.priority, 7)?;
    expect_eq("the best resource", sees.presence()?.best(&contact.bare()).map(|best| best.jid), Some(jid))?;
    Ok(String::new())
}

/// XEP-0115: asked once, and known of all who tell the same hash.
async fn capabilities(peer: &Peer, asks: &mut Device, contact: &Device) -> Checked<String> {
    let caps = asks.client.caps().ok_or("without caps")?;
    let can = caps.of(&contact.full()).await?;
    for feature in ["urn:xmpp:receipts", "urn:xmpp:chat-markers:0", "urn:xmpp:reactions:0", "urn:xmpp:ping"] {
        expect(can.has_feature(feature), || format!("{feature} is not among {:?}", can.features))?;
    }
    let another = Device::available(peer, &peer.users[1], "another").await?;
    let jid = another.jid.clone();
    asks.hears("another client of the contact", |event| match event {
        PresenceEvent::Available(seen) if seen.jid == jid => Some(()),
        _ => None,
    })
    .await?;
    expect(caps.known(&another.full()).is_some(), || "the same hash was not known".into())?;
    another.close().await?;
    asks.hears("its end", |event| (event == PresenceEvent::Unavailable(jid.clone())).then_some(())).await?;
    // Whoever tells of presence may hear of it a moment earlier than whoever forgets what its sender can do.
    let gone = async {
        while caps.known(&Jid::from(jid.clone())).is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let forgotten = tokio::time::timeout(std::time::Duration::from_secs(10), gone).await;
    expect(forgotten.is_ok(), || "who is gone is known".into())?;
    // The server tells a hash of its own in its features, and answers for it or not; its domain can be asked.
    let server = caps.of(&peer.domain.parse()?).await?;
    expect(server.has_identity("server", "im"), || format!("{:?}", server.identities))?;
    Ok(format!("{} features", can.features.len()))
}

async fn waiting(peer: &Peer, asks: &mut Device) -> Checked<String> {
    let absent = format!("{}@{}", peer.users[1].name, peer.domain).parse::<BareJid>()?;
    asks.roster()?.subscribe(&absent).await?;
    asks.sync().await?;
    for resource in ["later", "later still"] {
        let mut device = Device::available(peer, &peer.users[1], resource).await?;
        requested(&mut device, &asks.bare()).await?;
        if resource != "later" {
            device.presence()?.deny(&asks.bare()).await?;
            asks.until_item("the denial", is(&absent, Some(Subscription::None))).await?;
        }
        device.close().await?;
    }
    asks.roster()?.remove(&absent).await?;
    Ok("in two sessions".into())
}

/// RFC 6121 §3.4.
async fn in_advance(peer: &Peer, asks: &mut Device) -> Checked<String> {
    let prudent = Device::available(peer, &peer.users[1], "prudent").await?;
    let (one, other) = (asks.bare(), prudent.bare());
    match prudent.roster()?.pre_approve(&one).await {
        Err(RosterError::NoPreApproval) => {
            prudent.close().await?;
            return Ok("the server knows nothing of it, and the client says so".into());
        }
        approved => approved?,
    }
    prudent.sync().await?;
    asks.roster()?.subscribe(&other).await?;
    asks.until_item("a subscription without a question", is(&other, Some(Subscription::To))).await?;
    expect_eq("requests that wait", prudent.presence()?.requests().len(), 0)?;
    asks.roster()?.remove(&other).await?;
    prudent.forget_everybody().await?;
    prudent.close().await?;
    Ok(String::new())
}

async fn removed(removes: &mut Device, contact: &mut Device) -> Checked<String> {
    let (one, other) = (removes.bare(), contact.bare());
    removes.roster()?.remove(&other).await?;
    removes.until_item("no contact", is(&other, None)).await?;
    let (mut left, mut unsubscribed) = (false, false);
    contact
        .hears("both ends", |event| {
            left |= event == PresenceEvent::Left(one.clone());
            unsubscribed |= event == PresenceEvent::Unsubscribed(one.clone());
            (left && unsubscribed).then_some(())
        })
        .await?;
    contact.until_item("no subscription", is(&one, Some(Subscription::None))).await?;
    Ok(String::new())
}
