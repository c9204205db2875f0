//! The network fails without a word, and the session goes on over a new connection (XEP-0198).

use crate::{
    check::{Checked, Report, expect, expect_eq},
    loss::{BOT, bot_is_back},
    peer::{Peer, Way, optional},
    session::Session,
    wire::Wire,
};
use std::time::Duration;
use xmpp_core::{
    client::{Client, Event, Events, Unacknowledged},
    payload::{Payload, delay::Delay, ping::Ping},
    stanza::{Iq, Message, Presence},
};

/// How soon a dead connection is found.
const KEEPALIVE: Duration = Duration::from_secs(2);

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    report.check(&format!("{way} a dead connection: resumed, all arrives exactly once"), resumed(peer, way)).await;
    report.check(&format!("{way} a suspended session goes on in another client"), suspended(peer, way)).await;
    report
        .check(&format!("{way} the server forgets the session: what may be lost is told, and sent again"), async {
            forgotten(peer, way).await
        })
        .await;
    if let Some(bot) = optional("ECHO_JID") {
        report
            .check_within(BOT, &format!("{way} the bot is back after the server forgot its session too"), async {
                let mut one = Session::login(peer.user(way, &peer.users[0], "asks")?).await?;
                let note = bot_is_back(&mut one, &bot).await?;
                one.client.close().await;
                Ok(note)
            })
            .await;
    }
}

/// A user behind a wire, and another with whom to talk.
async fn pair(peer: &Peer, way: Way, wire: &Wire) -> Checked<(Session, Session)> {
    let one = wire.client(peer.user(way, &peer.users[0], "wired")?).keepalive(KEEPALIVE);
    let one = Session::login(one).await?;
    let two = Session::login(peer.user(way, &peer.users[1], "steady")?).await?;
    for session in [&one, &two] {
        session.client.send(Presence::available()).await?;
        session.client.request(Iq::get_own().payload(&Ping)).await?;
    }
    Ok((one, two))
}

async fn numbered(from: &Session, to: &Session, numbers: std::ops::Range<u32>) -> Checked {
    for n in numbers {
        from.client.send(Message::chat(to.full()).body(n.to_string())).await?;
    }
    Ok(())
}

/// What has arrived, and nothing follows.
async fn rest(from: &Client, to: &mut Session) -> Checked<Vec<String>> {
    from.send(Message::chat(to.full()).body("that is all")).await?;
    to.bodies_before("that is all").await
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

async fn resumed(peer: &Peer, way: Way) -> Checked<String> {
    let wire = Wire::to(peer, way).await?;
    let (mut one, mut two) = pair(peer, way, &wire).await?;
    // Some has arrived, and is not taken before the cut.
    numbered(&one, &two, 0..5).await?;
    numbered(&two, &one, 0..5).await?;
    two.client.request(Iq::get(one.full()).payload(&Ping)).await?;
    wire.cut();
    numbered(&one, &two, 5..20).await?;
    numbered(&two, &one, 5..20).await?;
    let (client, asking) = (one.client.clone(), Iq::get_own().payload(&Ping));
    let asked = tokio::spawn(async move { client.request(asking).await });
    let (mut bodies, mut back) = (Vec::new(), false);
    while !(back && bodies.len() >= 20) {
        let event = one.until(Some).await?;
        match event {
            Event::Message(message) => bodies.extend(message.body().map(|body| body.into_owned())),
            Event::Resumed { jid, .. } => {
                expect_eq("the address", &jid, &one.jid)?;
                back = true;
            }
            Event::Presence(_) => {}
            other => return Err(format!("not resumed but {other:?}").into()),
        }
    }
    numbered(&one, &two, 20..25).await?;
    bodies.extend(rest(&two.client, &mut one).await?);
    expect_eq("what came in", as_told(bodies), as_told(numbers(0..20)))?;
    expect_eq("what went out", rest(&one.client, &mut two).await?, numbers(0..25))?;
    asked.await?.map_err(|error| format!("the request: {error}"))?;
    for session in [one, two] {
        expect(session.client.close().await, || "not closed in good order".into())?;
    }
    Ok(String::new())
}

/// What came for a session that was away. `ORDER=loose` says that the server hands that over in no certain order; all of it
/// has to be there, once.
fn as_told(mut bodies: Vec<String>) -> Vec<String> {
    if optional("ORDER").as_deref() == Some("loose") {
        bodies.sort();
    }
    bodies
}

async fn suspended(peer: &Peer, way: Way) -> Checked<String> {
    let wire = Wire::to(peer, way).await?;
    let (one, mut two) = pair(peer, way, &wire).await?;
    wire.cut();
    numbered(&one, &two, 0..5).await?;
    let saved = one.client.suspend().await.ok_or("nothing was saved")?;
    numbered(&two, &one, 0..5).await?;
    let builder = peer.user(way, &peer.users[0], "another")?.session(saved);
    let (client, mut events): (Client, Events) = builder.connect()?;
    let mut bodies = Vec::new();
    match events.next().await {
        Some(Event::Resumed { jid, .. }) => expect_eq("the address", &jid, &one.jid)?,
        other => return Err(format!("not resumed but {other:?}").into()),
    }
    while bodies.len() < 5 {
        if let Some(Event::Message(message)) = events.next().await {
            bodies.extend(message.body().map(|body| body.into_owned()));
        }
    }
    expect_eq("what came in", as_told(bodies), as_told(numbers(0..5)))?;
    expect_eq("what went out", rest(&client, &mut two).await?, numbers(0..5))?;
    expect(client.close().await && two.client.close().await, || "not closed in good order".into())?;
    Ok(String::new())
}

async fn forgotten(peer: &Peer, way: Way) -> Checked<String> {
    let wire = Wire::to(peer, way).await?;
    let (mut one, two) = pair(peer, way, &wire).await?;
    drop(two);
    wire.cut();
    let me = one.full();
    for n in 0..3 {
        one.client.send(Message::chat(me.clone()).body(n.to_string())).await?;
    }
    peer.control("kill").await?;
    peer.control("resume").await?;
    let lost: Vec<Unacknowledged> = one
        .until(|event| match event {
            Event::Unacknowledged(lost) => Some(lost),
            _ => None,
        })
        .await?;
    let bodies = |lost: &[Unacknowledged]| -> Vec<String> {
        lost.iter()
            .filter_map(|one| Some(one.stanza.root().child("body", "jabber:client")?.text().into_owned()))
            .collect()
    };
    expect_eq("what may be lost", bodies(&lost), numbers(0..3))?;
    expect(lost.iter().all(|one| one.doubtful), || "there is no doubt".into())?;
    one.client.send_again(lost).await?;
    for n in 0..3 {
        let message = one.message().await?;
        expect_eq("the body", message.body().as_deref(), Some(n.to_string().as_str()))?;
        expect(message.stanza().root().children().any(Delay::matches), || "no time is told".into())?;
    }
    expect(one.client.close().await, || "not closed in good order".into())?;
    Ok(String::new())
}
