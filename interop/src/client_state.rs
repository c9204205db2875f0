//! What can wait does while nobody looks at the client (XEP-0352).

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way},
    session::Session,
};
use std::time::Duration;
use xmpp_core::{
    client::Event,
    jid::Jid,
    payload::{chat_state::ChatState, ping::Ping},
    stanza::{Iq, Message, Presence, Show},
};

/// How long nothing shall come of what waits. It need not be long: what was not held back would be there with the
/// answer to the ping before, or on its way.
const SILENCE: Duration = Duration::from_secs(1);

/// What the second says that can wait, in its order.
const WAITS: [&str; 2] = ["presence xa", "Paused"];

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let name = format!("{way} inactive: presence and a chat state wait, and come before a message");
    report.check(&name, flushed(peer, way)).await;
    let name = format!("{way} active again: what waited comes, and nothing waits any more");
    report.check(&name, active_again(peer, way)).await;
}

async fn flushed(peer: &Peer, way: Way) -> Checked<String> {
    let (mut one, two) = pair(peer, way).await?;
    quiet(&one, &two).await?;
    silent(&mut one).await?;
    two.client.send(Message::chat(one.full()).body("look")).await?;
    let came = until_body(&mut one, &two.full(), "look").await?;
    expect_eq("what came", came, [WAITS[0], WAITS[1], "look"].map(str::to_owned).to_vec())?;
    close(one, two).await
}

async fn active_again(peer: &Peer, way: Way) -> Checked<String> {
    let (mut one, two) = pair(peer, way).await?;
    quiet(&one, &two).await?;
    silent(&mut one).await?;
    one.client.set_active(true).await?;
    for waited in WAITS {
        expect_eq("what waited", next(&mut one, &two.full()).await?.as_str(), waited)?;
    }
    two.client.send(Presence::available().to(one.full()).show(Show::Chat)).await?;
    expect_eq("what came at once", next(&mut one, &two.full()).await?.as_str(), "presence chat")?;
    close(one, two).await
}

/// The first is inactive, and the server knows: a presence that tries it out is held back. Nothing is asked of the
/// server, because to Prosody whoever says something is looking for a while.
async fn pair(peer: &Peer, way: Way) -> Checked<(Session, Session)> {
    let mut one = Session::login(peer.user(way, &peer.users[0], "pocket")?).await?;
    let two = Session::login(peer.user(way, &peer.users[1], "desk")?).await?;
    one.client.set_active(false).await?;
    loop {
        two.client.send(Presence::available().to(one.full()).show(Show::Dnd)).await?;
        two.client.request(Iq::get_own().payload(&Ping)).await?;
        if silent(&mut one).await.is_ok() {
            return Ok((one, two));
        }
    }
}

/// The second says what can wait. The server has it all when it answers the ping.
async fn quiet(one: &Session, two: &Session) -> Checked {
    two.client.send(Presence::available().to(one.full()).show(Show::Xa)).await?;
    two.client.send(Message::chat(one.full()).payload(&ChatState::Paused)).await?;
    two.client.request(Iq::get_own().payload(&Ping)).await?;
    Ok(())
}

/// Nothing comes of the second's. It is not seen by a ping of the first's: to Prosody that is somebody looking.
async fn silent(one: &mut Session) -> Checked {
    match tokio::time::timeout(SILENCE, one.until(Some)).await {
        Err(_) => Ok(()),
        Ok(event) => Err(format!("not held back: {:?}", event?).into()),
    }
}

/// What came before this body, and the body.
async fn until_body(one: &mut Session, from: &Jid, body: &str) -> Checked<Vec<String>> {
    let mut came: Vec<String> = Vec::new();
    while came.last().map(String::as_str) != Some(body) {
        came.push(next(one, from).await?);
    }
    Ok(came)
}

/// The next thing that somebody says, in a word or two.
async fn next(one: &mut Session, from: &Jid) -> Checked<String> {
    one.until(|event| match event {
        Event::Presence(presence) if presence.from() == Some(from) => {
            let show = presence.show().map_or("", Show::as_str);
            // The one that tried it out, unless the server lets the next take its place.
            (show != Show::Dnd.as_str()).then(|| format!("presence {show}"))
        }
        Event::Message(message) if message.from() == Some(from) => Some(match message.body() {
            Some(body) => body.into_owned(),
            None => format!("{:?}", message.payload::<ChatState>()?.ok()?),
        }),
        _ => None,
    })
    .await
}

async fn close(one: Session, two: Session) -> Checked<String> {
    expect(one.client.close().await && two.client.close().await, || "not closed in good order".into())?;
    Ok(String::new())
}
