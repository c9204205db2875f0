//! A client that others wrote at the other end of a chat: `slixmpp_partner.py`, at PARTNER_JID. It says what it has seen,
//! and does what it is asked.

use super::{
    TRICKY,
    device::{Device, soon, text},
};
use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, optional},
};
use xmpp_core::{jid::BareJid, payload::chat_state::ChatState};
use xmpp_im::{
    ClientExt,
    chat::{Chat, ChatClient, ChatEvent, ChatEventKind, Progress},
};

pub(super) async fn checks(report: &mut Report, peer: &Peer) {
    let Some(partner) = optional("PARTNER_JID").and_then(|jid| jid.parse::<BareJid>().ok()) else {
        return report.skip("im another's client", "none is there");
    };
    let mut talk = None;
    report
        .check("im another's client is there", async {
            let mut device = Device::available(peer, &peer.users[0], "orchard").await?;
            let chat = device.client.chat(partner.clone())?;
            let sent = chat.send("are you there?").await?;
            expect_saw(&mut device, &format!("body {} are you there?", sent.id())).await?;
            talk = Some((device, chat));
            Ok(String::new())
        })
        .await;
    let Some((mut device, chat)) = talk else { return };
    report.check("im slixmpp reads a text, and confirms it", texts(&mut device, &chat)).await;
    report.check("im slixmpp sees corrections, reactions, retractions", changes(&mut device, &chat)).await;
    report.check("im slixmpp sees a reply and takes the quotation off", reply(&mut device, &chat)).await;
    report.check("im slixmpp sees chat states", states(&mut device, &chat)).await;
    report.check("im slixmpp's message is confirmed and marked", confirmed(&mut device, &chat)).await;
    report.check("im slixmpp's correction, reactions, retraction, state", its_changes(&mut device, &chat)).await;
    report.check("im slixmpp's reply is read without its quotation", its_reply(&mut device, &chat)).await;
    report.check("im what slixmpp can do, and slixmpp of us", capabilities(&mut device, &chat)).await;
    report
        .check("im the talk with another's client ends", async {
            device.close().await?;
            Ok(String::new())
        })
        .await;
}

/// It says that it has seen this.
async fn expect_saw(device: &mut Device, what: &str) -> Checked {
    let wanted = format!("saw {what}");
    device
        .tells(&wanted, |event| (matches!(event.kind, ChatEventKind::New(_)) && text(event) == wanted).then_some(()))
        .await
}

/// It is asked to do something.
async fn ask(chat: &Chat, what: &str) -> Checked {
    chat.send(format!("please {what}")).await?;
    Ok(())
}

async fn texts(device: &mut Device, chat: &Chat) -> Checked<String> {
    let mut sent = chat.send(TRICKY).await?;
    expect_saw(device, &format!("body {} {TRICKY}", sent.id())).await?;
    soon("its receipt", async {
        while sent.progress() != Progress::Delivered {
            sent.changed().await.ok_or("nothing more will be told of it")?;
        }
        Ok(())
    })
    .await?;
    ask(chat, &format!("mark {}", sent.id())).await?;
    soon("its marker", async {
        while sent.progress() != Progress::Displayed {
            sent.changed().await.ok_or("nothing more will be told of it")?;
        }
        Ok(())
    })
    .await?;
    Ok(String::new())
}

async fn changes(device: &mut Device, chat: &Chat) -> Checked<String> {
    let sent = chat.send("to be changed").await?;
    expect_saw(device, &format!("body {} to be changed", sent.id())).await?;
    chat.correct(sent.id(), "changed").await?;
    expect_saw(device, &format!("correction {} changed", sent.id())).await?;
    chat.react(sent.id(), ["👍", "🐢"]).await?;
    expect_saw(device, &format!("reactions {} 👍 🐢", sent.id())).await?;
    chat.retract(sent.id()).await?;
    expect_saw(device, &format!("retraction {}", sent.id())).await?;
    Ok(String::new())
}

/// The event of the next new message that begins so.
async fn says(device: &mut Device, what: &str) -> Checked<ChatEvent> {
    device
        .tells(what, |event| {
            (matches!(event.kind, ChatEventKind::New(_)) && text(event).starts_with(what)).then(|| event.clone())
        })
        .await
}

async fn reply(device: &mut Device, chat: &Chat) -> Checked<String> {
    ask(chat, "say two 🙌 words").await?;
    let event = says(device, "two 🙌 words").await?;
    let id = event.id.clone().ok_or("a message without id")?;
    chat.message("an answer").reply_to(&event).send().await?;
    expect_saw(device, &format!("reply {id} an answer")).await?;
    Ok(String::new())
}

async fn states(device: &mut Device, chat: &Chat) -> Checked<String> {
    // That it cares, it shows by a state of its own.
    ask(chat, "type").await?;
    device
        .tells("composing", |event| matches!(event.kind, ChatEventKind::State(ChatState::Composing)).then_some(()))
        .await?;
    says(device, "typed").await?;
    expect(chat.set_state(ChatState::Composing).await?, || "it was not said".into())?;
    expect_saw(device, "state composing").await?;
    Ok(String::new())
}

async fn confirmed(device: &mut Device, chat: &Chat) -> Checked<String> {
    ask(chat, "ask for a receipt").await?;
    let event = says(device, "confirm this").await?;
    let id = event.id.clone().ok_or("a message without id")?;
    expect_saw(device, &format!("receipt {id}")).await?;
    expect(chat.mark_displayed(&event).await?, || "it is not markable".into())?;
    expect_saw(device, &format!("displayed {id}")).await?;
    Ok(String::new())
}

async fn its_changes(device: &mut Device, chat: &Chat) -> Checked<String> {
    ask(chat, "say something wrong").await?;
    let event = says(device, "something wrong").await?;
    let first = event.id.clone().ok_or("a message without id")?;
    ask(chat, &format!("correct {first} something right")).await?;
    let content = device.tells("the correction", |event| match &event.kind {
        ChatEventKind::Corrected { id, content } if *id == first => Some(content.body.clone()),
        _ => None,
    });
    expect_eq("the body", content.await?.as_str(), "something right")?;
    ask(chat, &format!("react {first} 👋 🐢")).await?;
    let reactions = device.tells("the reactions", |event| match &event.kind {
        ChatEventKind::Reacted { id, reactions } if *id == first => Some(reactions.clone()),
        _ => None,
    });
    let mut reactions = reactions.await?;
    reactions.sort();
    expect_eq("the reactions", reactions, vec!["🐢".to_owned(), "👋".to_owned()])?;
    ask(chat, &format!("retract {first}")).await?;
    let is_it =
        |event: &ChatEvent| matches!(&event.kind, ChatEventKind::Retracted { id } if *id == first).then_some(());
    device.tells("the retraction", is_it).await?;
    Ok(String::new())
}

async fn its_reply(device: &mut Device, chat: &Chat) -> Checked<String> {
    let sent = chat.send("two\n🙌 lines").await?;
    ask(chat, &format!("answer {} a short answer", sent.id())).await?;
    let event = says(device, "a short answer").await?;
    let ChatEventKind::New(content) = &event.kind else { return Err("nothing new".into()) };
    expect_eq("the answer", content.body.as_str(), "a short answer")?;
    let to = content.reply.as_ref().ok_or("it is no reply")?;
    expect_eq("to what", to.id.as_str(), sent.id())?;
    let quoted = event.message.body().unwrap_or_default().into_owned();
    expect(quoted.starts_with("> "), || format!("no quotation: {quoted:?}"))?;
    Ok(String::new())
}

/// XEP-0115 both ways: presence is directed, so that nobody has to subscribe.
async fn capabilities(device: &mut Device, chat: &Chat) -> Checked<String> {
    ask(chat, "show yourself").await?;
    let partner = chat.with().clone();
    let seen = device
        .hears("its presence", |event| match event {
            xmpp_im::presence::PresenceEvent::Available(seen) if seen.jid.to_bare() == partner => Some(seen.jid),
            _ => None,
        })
        .await?;
    let caps = device.client.caps().ok_or("without caps")?;
    let can = caps.of(&seen.clone().into()).await?;
    expect(can.has_feature("urn:xmpp:receipts"), || format!("{:?}", can.features))?;
    expect(caps.known(&seen.into()).is_some(), || "the answer was not kept".into())?;
    let own = xmpp_core::stanza::Presence::available().to(xmpp_core::jid::Jid::from(partner));
    device.client.send(own).await?;
    expect_saw(device, "caps urn:xmpp:reactions:0").await?;
    Ok(format!("{} features", can.features.len()))
}
