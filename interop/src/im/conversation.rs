//! Chats between two accounts: each feature of a message is sent by one handle and told by the other's. Copies for other
//! clients (XEP-0280), and forged ones.

use super::{
    Features, TRICKY,
    device::{Device, soon, text},
};
use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::Peer,
};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{Payload, chat_state::ChatState, forward::Forwarded},
    stanza::Message,
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{
    carbons::{self, Carbon},
    chat::{ChatClient, ChatEvent, ChatEventKind, Content, Progress, Sent, Source},
};

pub(super) async fn checks(report: &mut Report, peer: &Peer, features: &Features) {
    let mut pair = None;
    report
        .check("im two who talk", async {
            let romeo = Device::available(peer, &peer.users[0], "orchard").await?;
            let juliet = Device::available(peer, &peer.users[1], "balcony").await?;
            pair = Some((romeo, juliet));
            Ok(String::new())
        })
        .await;
    let Some((mut romeo, mut juliet)) = pair else { return };
    report
        .check("im a message, its receipt (0184) and its displayed marker (0333)", followed(&mut romeo, &mut juliet))
        .await;
    report.check("im a correction (0308), told with a receipt of its own", corrected(&mut romeo, &mut juliet)).await;
    report.check("im reactions (0444), and none of them", reacted(&mut romeo, &mut juliet)).await;
    report.check("im a reply with a quotation (0461, 0428)", replied(&mut romeo, &mut juliet)).await;
    report.check("im a retraction (0424), of one's own messages alone", retracted(&mut romeo, &mut juliet)).await;
    report.check("im chat states (0085)", states(&mut romeo, &mut juliet)).await;
    report
        .check("im mentions (0372), attachments (0066), spoilers (0382), attention (0224), /me (0245)", async {
            adorned(&romeo, &mut juliet).await
        })
        .await;
    report.check("im a message to a server that is not there fails", failed(&romeo)).await;
    if features.has(carbons::NS) {
        copies(report, peer, &mut romeo, &mut juliet).await;
    } else {
        report.skip("im carbons", "the server has none");
    }
    report.check("im a forged copy is dropped", forged(peer, &mut romeo)).await;
    report
        .check("im two who talked close", async {
            romeo.close().await?;
            juliet.close().await?;
            Ok(String::new())
        })
        .await;
}

/// Waits until a sent message has come this far.
async fn comes_to(sent: &mut Sent, wanted: Progress) -> Checked {
    soon(&format!("{wanted:?}"), async {
        while sent.progress() != wanted {
            sent.changed().await.ok_or("nothing more will be told of it")?;
        }
        Ok(())
    })
    .await
}

/// A message that the other has read.
async fn exchanged(from: &Device, to: &mut Device, body: &str) -> Checked<(Sent, ChatEvent)> {
    let sent = from.chat(to)?.send(body).await?;
    let event = to.reads(body).await?;
    expect_eq("the id", event.id.as_deref(), Some(sent.id()))?;
    Ok((sent, event))
}

/// What kind of thing the next is.
async fn kind<T>(device: &mut Device, what: &str, wanted: impl Fn(&ChatEventKind) -> Option<T>) -> Checked<T> {
    device.tells(what, |event| wanted(&event.kind)).await
}

async fn followed(from: &mut Device, to: &mut Device) -> Checked<String> {
    let (mut sent, event) = exchanged(from, to, TRICKY).await?;
    expect(!event.is_mine && event.source == Source::Live, || format!("{:?}", event.source))?;
    expect_eq("the author", &event.author, &Jid::from(from.bare()))?;
    comes_to(&mut sent, Progress::Delivered).await?;
    expect(to.chat(from)?.mark_displayed(&event).await?, || "no marker was sent".into())?;
    comes_to(&mut sent, Progress::Displayed).await?;
    let is_delivered =
        |kind: &ChatEventKind| matches!(kind, ChatEventKind::Delivered { id } if id == sent.id()).then_some(());
    kind(from, "the receipt", is_delivered).await?;
    let is_displayed =
        |kind: &ChatEventKind| matches!(kind, ChatEventKind::Displayed { id } if id == sent.id()).then_some(());
    kind(from, "the marker", is_displayed).await?;
    Ok(if event.archive_id.is_some() { "with an archive's id" } else { "" }.to_owned())
}

async fn corrected(from: &mut Device, to: &mut Device) -> Checked<String> {
    let (sent, _) = exchanged(from, to, "what lihgt").await?;
    let mut better = from.chat(to)?.correct(sent.id(), "what light").await?;
    let content = kind(to, "the correction", |kind| match kind {
        ChatEventKind::Corrected { id, content } if id == sent.id() => Some(content.clone()),
        _ => None,
    });
    expect_eq("the body", content.await?.body.as_str(), "what light")?;
    comes_to(&mut better, Progress::Delivered).await?;
    Ok(String::new())
}

async fn reacted(from: &mut Device, to: &mut Device) -> Checked<String> {
    let (sent, _) = exchanged(from, to, "it is the east").await?;
    for reactions in [vec!["👍", "🐢"], vec!["🤦🏽‍♂️"], vec![]] {
        to.chat(from)?.react(sent.id(), reactions.clone()).await?;
        let got = kind(from, "the reactions", |kind| match kind {
            ChatEventKind::Reacted { id, reactions } if id == sent.id() => Some(reactions.clone()),
            _ => None,
        });
        expect_eq("the reactions", got.await?, reactions.iter().map(ToString::to_string).collect())?;
    }
    Ok(String::new())
}

async fn replied(from: &mut Device, to: &mut Device) -> Checked<String> {
    let (sent, event) = exchanged(from, to, "two\nlines 🙌").await?;
    to.chat(from)?.message("one line").reply_to(&event).send().await?;
    let reply = from.reads("one line").await?;
    let ChatEventKind::New(Content { reply: Some(to_what), .. }) = &reply.kind else {
        return Err(format!("no reply but {:?}", reply.kind).into());
    };
    expect_eq("to which message", to_what.id.as_str(), sent.id())?;
    expect_eq("the author of that", to_what.to.as_ref().map(Jid::to_bare), Some(from.bare()))?;
    expect_eq("what others read", reply.message.body().as_deref(), Some("> two\n> lines 🙌\none line"))?;
    Ok(String::new())
}

async fn retracted(from: &mut Device, to: &mut Device) -> Checked<String> {
    let (sent, _) = exchanged(from, to, "to be taken back").await?;
    // Not one's own: it is not believed.
    to.chat(from)?.retract(sent.id()).await?;
    to.chat(from)?.send("behind a retraction of another's message").await?;
    let next = from.tells("what is behind it", |event| match &event.kind {
        ChatEventKind::Retracted { id } => Some(format!("retraction of {id}")),
        ChatEventKind::New(content) => Some(content.body.clone()),
        _ => None,
    });
    expect_eq("what came", next.await?.as_str(), "behind a retraction of another's message")?;
    from.chat(to)?.retract(sent.id()).await?;
    kind(to, "the retraction", |kind| matches!(kind, ChatEventKind::Retracted { id } if id == sent.id()).then_some(()))
        .await?;
    Ok(String::new())
}

async fn states(from: &mut Device, to: &mut Device) -> Checked<String> {
    let chat = from.chat(to)?;
    for state in [ChatState::Composing, ChatState::Paused] {
        expect(chat.set_state(state).await?, || format!("{state:?} was not said"))?;
        let got = kind(to, "a state", |kind| match kind {
            ChatEventKind::State(got) => Some(*got),
            _ => None,
        });
        expect_eq("the state", got.await?, state)?;
    }
    expect(!chat.set_state(ChatState::Paused).await?, || "it was said twice".into())?;
    Ok(String::new())
}

async fn adorned(from: &Device, to: &mut Device) -> Checked<String> {
    let body = "/me 🙌 greets Juliet";
    let message = from.chat(to)?.message(body).mention(&to.bare(), "Juliet").attach("https://example.org/a", Some("a"));
    message.spoiler(Some("a hint")).attention().send().await?;
    let event = to.reads(body).await?;
    let ChatEventKind::New(content) = &event.kind else { return Err("nothing new".into()) };
    expect_eq("the action", content.action(), Some("🙌 greets Juliet"))?;
    let mention = content.references.first().ok_or("no mention")?;
    expect_eq("who is mentioned", mention.mentioned(), Some(to.bare()))?;
    expect_eq("where", mention.part(body), Some("Juliet"))?;
    expect_eq(
        "the attachment",
        content.attachments.first().map(|one| one.url.as_str()),
        Some("https://example.org/a"),
    )?;
    expect_eq("the hint", content.spoiler.as_ref().and_then(|one| one.hint.as_deref()), Some("a hint"))?;
    expect(content.attention && content.markable, || format!("{content:?}"))?;
    Ok(String::new())
}

/// What is for an account that is not there may vanish (RFC 6121 §8.5.1); what is for a server that is not there may not.
async fn failed(from: &Device) -> Checked<String> {
    let nobody: BareJid = "nobody@nowhere.invalid".parse()?;
    let mut sent = from.client.chat(nobody)?.send("are you there?").await?;
    soon("the failure", async {
        loop {
            match sent.progress() {
                Progress::Failed(condition) => return Ok(format!("{condition:?}")),
                _ => drop(sent.changed().await.ok_or("nothing more will be told of it")?),
            }
        }
    })
    .await
}

/// XEP-0280: Romeo has another client.
async fn copies(report: &mut Report, peer: &Peer, romeo: &mut Device, juliet: &mut Device) {
    let mut phone = None;
    report
        .check("im another client", async {
            phone = Some(Device::available(peer, &peer.users[0], "phone").await?);
            Ok(String::new())
        })
        .await;
    let Some(mut phone) = phone else { return };
    report
        .check("im carbons: what another client sends is told as one's own", async {
            let sent = phone.chat(juliet)?.send("from the phone").await?;
            let event = romeo.reads("from the phone").await?;
            expect(event.is_mine && event.source == Source::Carbon, || format!("{:?}", event.source))?;
            expect_eq("the chat", &event.chat, &Jid::from(juliet.bare()))?;
            expect_eq("the id", event.id.as_deref(), Some(sent.id()))?;
            juliet.reads("from the phone").await?;
            Ok(if event.archive_id.is_some() { "with an archive's id" } else { "without an archive's id" }.to_owned())
        })
        .await;
    report
        .check("im carbons: what another client gets is told, and confirmed by that one alone", async {
            let message = Message::chat(phone.full()).body("to the phone").id("to-the-phone");
            juliet.client.send(message.payload(&xmpp_core::payload::receipts::ReceiptRequest)).await?;
            let event = romeo.reads("to the phone").await?;
            expect(!event.is_mine && event.source == Source::Carbon, || format!("{:?}", event.source))?;
            phone.reads("to the phone").await?;
            // The receipt itself is sent by the phone, and copied.
            let confirms = |event: &ChatEvent| {
                let confirms = matches!(&event.kind, ChatEventKind::Delivered { id } if id == "to-the-phone");
                confirms.then(|| event.message.from().cloned())
            };
            let from = juliet.tells("the receipt", confirms).await?;
            expect_eq("who confirms", from, Some(phone.full()))?;
            Ok(if event.archive_id.is_some() { "with an archive's id" } else { "without an archive's id" }.to_owned())
        })
        .await;
    report
        .check("im carbons: a private message is not copied", async {
            let private = Message::chat(phone.full()).body("private").payload(&carbons::Private);
            juliet.client.send(private.payload(&xmpp_core::payload::hints::Hint::NoCopy)).await?;
            juliet.client.send(Message::chat(phone.full()).body("public")).await?;
            phone.reads("private").await?;
            phone.reads("public").await?;
            romeo.reads("public").await?;
            Ok(String::new())
        })
        .await;
    report
        .check("im the other client closes", async {
            phone.close().await?;
            Ok(String::new())
        })
        .await;
}

/// XEP-0280 §11: somebody else says what our other client has sent.
async fn forged(peer: &Peer, romeo: &mut Device) -> Checked<String> {
    let mallory = Device::available(peer, &peer.users[2], "mallory").await?;
    let inner = format!(
        "<message xmlns='jabber:client' type='chat' from='{}/phone' to='{}'><body>I never said that</body></message>",
        romeo.bare(),
        mallory.bare()
    );
    let inner = || Stanza::parse(&inner, ns::CLIENT, &XmlLimits::authenticated());
    for copy in [Carbon::Sent as fn(Forwarded) -> Carbon, Carbon::Received] {
        let forged = copy(Forwarded::new(inner()?, None));
        mallory.client.send(Message::chat(romeo.full()).body("forged").payload(&forged)).await?;
    }
    mallory.client.send(Message::chat(romeo.full()).body("plain")).await?;
    let told = romeo
        .tells("what is behind the forgery", |event| {
            let is_new = matches!(event.kind, ChatEventKind::New(_));
            is_new.then(|| (text(event).to_owned(), event.is_mine))
        })
        .await?;
    let seen = loop {
        let message = romeo.message().await?;
        let forged = message.payloads().any(Carbon::matches) && message.from() == Some(&mallory.full());
        if forged {
            break Some("the application saw the forgery");
        }
        if message.body().as_deref() == Some("plain") {
            break None;
        }
    };
    mallory.close().await?;
    // A server may refuse or strip what looks like a copy: what is left is a plain message of Mallory's own.
    expect(told.0 != "I never said that" && !told.1, || format!("{told:?} was believed"))?;
    match seen {
        None => Ok(if told.0 == "plain" { "" } else { "the server took the copy out" }.to_owned()),
        Some(why) => Err(why.into()),
    }
}
