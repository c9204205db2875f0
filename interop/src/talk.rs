//! Messages and presence between clients of ours, through the server.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way, optional},
    session::Session,
};
use std::time::Duration;
use xmpp_core::{
    client::ConnectionError,
    jid::Jid,
    stanza::{Message, MessageType, Presence, Show},
    stream::StreamCondition,
};

/// What an XML writer can get wrong.
const TRICKY: &str = "1 < 2 & \"q\" 'a' ]]> é 日本 🙌 e\u{301}\n\ttwo lines  ";

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let [first, second, _] = &peer.users;
    let mut pair = None;
    report
        .check(&format!("{way} two users online"), async {
            let one = Session::login(peer.user(way, first, "one")?).await?;
            let two = Session::login(peer.user(way, second, "two")?).await?;
            for session in [&one, &two] {
                session.client.send(Presence::available()).await?;
            }
            pair = Some((one, two));
            Ok(String::new())
        })
        .await;
    let Some((mut one, mut two)) = pair else { return };
    report.check(&format!("{way} presence reaches one's other resource"), own_resource(peer, way, &mut one)).await;
    report
        .check(&format!("{way} message to a full address"), async {
            exchange(&one, &mut two, true).await?;
            exchange(&two, &mut one, true).await
        })
        .await;
    report
        .check(&format!("{way} message to a bare address"), async {
            exchange(&one, &mut two, false).await?;
            exchange(&two, &mut one, false).await
        })
        .await;
    report.check(&format!("{way} 200 messages in order"), order(&one, &mut two)).await;
    report.check(&format!("{way} directed presence, and its end"), directed(peer, way, &mut one)).await;
    let name = format!("{way} echo");
    match optional("ECHO_JID") {
        None => report.skip(&name, "no bot is there"),
        Some(bot) => report.check(&name, async { echoed(&mut one, &bot, TRICKY).await }).await,
    }
    report.check(&format!("{way} resource conflict ends the older session for good"), conflict(peer, way, one)).await;
    report
        .check(&format!("{way} close awaits the server's end tag"), async {
            expect(two.client.close().await, || "it did not come".into())?;
            Ok(String::new())
        })
        .await;
}

async fn own_resource(peer: &Peer, way: Way, one: &mut Session) -> Checked<String> {
    let other = Session::login(peer.user(way, &peer.users[0], "other")?).await?;
    other.client.send(Presence::available().show(Show::Dnd).status(TRICKY).priority(-5)).await?;
    let seen = one.shown(&other.full()).await?;
    expect_eq("show", seen.show(), Some(Show::Dnd))?;
    expect_eq("status", seen.status().as_deref(), Some(TRICKY))?;
    expect_eq("priority", seen.priority(), -5)?;
    other.client.close().await;
    one.gone(&other.full()).await?;
    Ok(String::new())
}

async fn exchange(from: &Session, to: &mut Session, full: bool) -> Checked<String> {
    let address = if full { to.full() } else { to.bare() };
    let message = Message::chat(address.clone()).body(TRICKY).subject("a subject").thread("a thread");
    from.client.send(message).await?;
    let got = to.message().await?;
    expect_eq("from", got.from(), Some(&from.full()))?;
    expect_eq("to", got.to(), Some(&address))?;
    expect_eq("the body", got.body().as_deref(), Some(TRICKY))?;
    expect_eq("the subject", got.subject().as_deref(), Some("a subject"))?;
    expect_eq("the thread", got.thread().as_deref(), Some("a thread"))?;
    Ok(String::new())
}

async fn order(from: &Session, to: &mut Session) -> Checked<String> {
    const COUNT: usize = 200;
    for n in 0..COUNT {
        from.client.send(Message::chat(to.full()).body(n.to_string())).await?;
    }
    for n in 0..COUNT {
        expect_eq("the body", to.message().await?.body().as_deref(), Some(n.to_string().as_str()))?;
    }
    Ok(String::new())
}

/// RFC 6121 §4.6: somebody who is no contact is told, and told of the end too.
async fn directed(peer: &Peer, way: Way, one: &mut Session) -> Checked<String> {
    for address in [one.full(), one.bare()] {
        let other = Session::login(peer.user(way, &peer.users[2], "passing")?).await?;
        other.client.send(Presence::available().to(address.clone()).status("hello")).await?;
        let seen = one.shown(&other.full()).await?;
        expect_eq("status", seen.status().as_deref(), Some("hello"))?;
        other.client.close().await;
        one.gone(&other.full()).await?;
    }
    Ok(String::new())
}

/// The bot says the same.
pub(crate) async fn echoed(one: &mut Session, bot: &str, body: &str) -> Checked<String> {
    one.client.send(Message::chat(bot.parse::<Jid>()?).body(body)).await?;
    let reply = one.message().await?;
    expect_eq("the type", reply.type_(), MessageType::Chat)?;
    expect_eq("the sender", reply.from().map(|from| from.to_bare().to_string()).as_deref(), Some(bot))?;
    expect_eq("the body", reply.body().as_deref(), Some(body))?;
    Ok(String::new())
}

/// RFC 6120 §7.7.2.2: the peers all end the older session.
async fn conflict(peer: &Peer, way: Way, mut one: Session) -> Checked<String> {
    if way == Way::Bosh {
        // Its next request has to be with the server: Prosody forgets what it cannot say at once.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let newer = Session::login(peer.user(way, &peer.users[0], "one")?).await?;
    expect_eq("the newer address", newer.jid.as_str(), one.jid.as_str())?;
    match one.end().await? {
        ConnectionError::Stream(error) => expect_eq("the condition", error.condition, StreamCondition::Conflict)?,
        other => return Err(format!("another reason: {other:?}").into()),
    }
    expect(newer.client.close().await, || "the newer session was not closed in good order".into())?;
    Ok(String::new())
}
