//! The roster: what one client changes, the account's others learn, and the next run begins with it.

use super::{TRICKY, device::Device, device::soon};
use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::Peer,
};
use xmpp_core::jid::BareJid;
use xmpp_im::roster::{Item, RosterChange, SavedRoster};

pub(super) async fn checks(report: &mut Report, peer: &Peer) {
    let mut pair = None;
    report
        .check("im two clients of an account", async {
            let one = Device::available(peer, &peer.users[0], "one").await?;
            let two = Device::available(peer, &peer.users[0], "two").await?;
            pair = Some((one, two));
            Ok(String::new())
        })
        .await;
    let Some((one, two)) = pair else { return };
    let both = [&one, &two];
    let Ok(contact) = format!("contact@{}", peer.domain).parse::<BareJid>() else { return };
    let shows = |wanted: Option<(&str, &[&str])>| {
        let wanted = wanted.map(|(name, groups)| (name.to_owned(), groups.iter().map(|g| g.to_string()).collect()));
        let contact = contact.clone();
        move |items: &[Item]| {
            let item = items.iter().find(|item| contact == item.jid);
            let item = item.map(|item| (item.name.clone().unwrap_or_default(), sorted(&item.groups)));
            item == wanted.clone().map(|(name, groups): (String, Vec<String>)| (name, sorted(&groups)))
        }
    };
    report
        .check("im roster: a contact that is added is pushed to both clients", async {
            one.roster()?.add(&contact, Some(TRICKY), ["Friends", "<&> Gruppe ö"]).await?;
            for device in both {
                device.until_item("the contact", shows(Some((TRICKY, &["Friends", "<&> Gruppe ö"])))).await?;
            }
            Ok(String::new())
        })
        .await;
    report
        .check("im roster: another name, other groups", async {
            two.roster()?.rename(&contact, Some("Someone")).await?;
            one.until_item("the name", shows(Some(("Someone", &["Friends", "<&> Gruppe ö"])))).await?;
            one.roster()?.set_groups(&contact, ["Others"]).await?;
            two.until_item("the groups", shows(Some(("Someone", &["Others"])))).await?;
            one.roster()?.set_groups(&contact, [""; 0]).await?;
            two.until_item("no groups", shows(Some(("Someone", &[])))).await?;
            Ok(String::new())
        })
        .await;
    report.check("im roster: a forged push changes nothing", forged(peer, &one)).await;
    versions(report, peer, &one, &contact).await;
    report
        .check("im roster: a contact that is removed is gone from both clients", async {
            two.roster()?.remove(&contact).await?;
            for device in both {
                device.until_item("no contact", shows(None)).await?;
            }
            Ok(String::new())
        })
        .await;
    report
        .check("im roster: who is not there cannot be removed, or is gone", async {
            Ok(match one.roster()?.remove(&contact).await {
                Ok(()) => "taken".to_owned(),
                Err(error) => error.to_string(),
            })
        })
        .await;
    report
        .check("im two clients close", async {
            one.close().await?;
            two.close().await?;
            Ok(String::new())
        })
        .await;
}

fn sorted(groups: &[String]) -> Vec<String> {
    let mut groups = groups.to_vec();
    groups.sort();
    groups
}

/// RFC 6121 §2.1.6: somebody else says what is in our roster.
async fn forged(peer: &Peer, one: &Device) -> Checked<String> {
    let forger = Device::login(peer, &peer.users[1], "forger").await?;
    let before = one.roster()?.items();
    let forged = xmpp_core::stanza::Iq::set(one.full()).content(|out| {
        out.open("query", "jabber:iq:roster");
        out.open("item", "jabber:iq:roster");
        out.attr("jid", "mallory@example.org");
        out.attr("subscription", "both");
        out.close();
        out.close();
    });
    let answer = match forger.client.request(forged).await {
        Ok(_) => return Err("the push was taken".into()),
        Err(error) => error.to_string(),
    };
    one.sync().await?;
    expect_eq("the roster", one.roster()?.items(), before)?;
    forger.close().await?;
    Ok(answer)
}

/// RFC 6121 §2.6: the next run is told of changes, where the server knows versions.
async fn versions(report: &mut Report, peer: &Peer, one: &Device, contact: &BareJid) {
    let saved = match one.roster() {
        Ok(roster) => roster.save(),
        Err(_) => return,
    };
    if saved.version.is_none() {
        return report.skip("im roster: versions", "the server gives none");
    }
    report
        .check("im roster: a run that knows the version is not told what it knows", async {
            let (device, whole) = restored(peer, &saved).await?;
            expect_eq("the roster", device.roster()?.items(), saved.items.clone())?;
            device.close().await?;
            expect(!whole, || "the whole roster came".into())?;
            Ok(String::new())
        })
        .await;
    report
        .check("im roster: a run that knows an older version learns what has changed", async {
            one.roster()?.rename(contact, Some("Somebody else")).await?;
            let (device, whole) = restored(peer, &saved).await?;
            let renamed = |items: &[Item]| {
                items.iter().any(|item| contact == &item.jid && item.name.as_deref() == Some("Somebody else"))
            };
            device.until_item("the new name", renamed).await?;
            let again = device.roster()?.save();
            expect(again.version != saved.version, || "the version is the same".into())?;
            device.close().await?;
            Ok(if whole { "by the whole roster" } else { "by pushes" }.to_owned())
        })
        .await;
}

/// A client that begins with a saved roster, and whether the whole of it was sent.
async fn restored(peer: &Peer, saved: &SavedRoster) -> Checked<(Device, bool)> {
    let mut device = Device::with(peer, &peer.users[0], "restored", saved.clone(), |builder| builder).await?;
    expect(device.roster()?.ready().await, || "the roster was not fetched".into())?;
    device.sync().await?;
    // What comes of the answer has come; one change more ends the waiting.
    let (marker, mut whole) = (format!("marker@{}", peer.domain).parse::<BareJid>()?, false);
    device.roster()?.add(&marker, None, [""; 0]).await?;
    soon("the marker", async {
        loop {
            match device.changes.next().await.ok_or("the client has ended")? {
                RosterChange::Whole => whole = true,
                RosterChange::Set { item, .. } if marker == item.jid => return Ok(()),
                _ => {}
            }
        }
    })
    .await?;
    device.roster()?.remove(&marker).await?;
    device.until_item("no marker", |items| items.iter().all(|item| marker != item.jid)).await?;
    Ok((device, whole))
}
