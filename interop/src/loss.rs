//! The server goes away without a word and comes back.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way, optional},
    session::Session,
};
use std::time::Duration;
use xmpp_core::{
    client::Event,
    jid::Jid,
    payload::ping::Ping,
    stanza::{Iq, Message, MessageType},
};

/// The longer a server took to start, the longer the bot waits before it tries again.
pub(crate) const BOT: Duration = Duration::from_secs(300);

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let mut session = None;
    report
        .check(&format!("{way} the server is killed: offline, tries again"), async {
            session = Some(killed(peer, way).await?);
            Ok(String::new())
        })
        .await;
    let Some(mut session) = session else { return };
    let mut asked = None;
    report
        .check(&format!("{way} what is sent meanwhile waits"), async {
            for n in 0..3 {
                session.client.send(Message::chat(session.full()).body(format!("waited {n}"))).await?;
            }
            // A request made while offline is asked as soon as there is a session.
            let (client, asking) = (session.client.clone(), Iq::get_own().payload(&Ping));
            asked = Some(tokio::spawn(async move { client.request(asking).await }));
            Ok(String::new())
        })
        .await;
    // The time that a server takes to start is not ours.
    let resumed = peer.control("resume").await;
    report
        .check(&format!("{way} the server is back: online, what waited arrives exactly once"), async {
            resumed?;
            let note = back(&mut session).await?;
            asked.ok_or("was not asked")?.await?.map_err(|error| format!("the request made while offline: {error}"))?;
            Ok(note)
        })
        .await;
    if let Some(bot) = optional("ECHO_JID") {
        report.check_within(BOT, &format!("{way} the bot is back too"), bot_is_back(&mut session, &bot)).await;
    }
    report
        .check(&format!("{way} the session that came back closes in good order"), async {
            expect(session.client.close().await, || "the server did not close its stream".into())?;
            Ok(String::new())
        })
        .await;
}

async fn killed(peer: &Peer, way: Way) -> Checked<Session> {
    let mut session = Session::login(peer.user(way, &peer.users[0], "stays")?).await?;
    // What has been answered has been received; it must not be sent again.
    session.client.send(Message::chat(session.full()).body("before")).await?;
    session.client.request(Iq::get_own().payload(&Ping)).await?;
    expect_eq("the first message", session.message().await?.body().as_deref(), Some("before"))?;
    peer.control("kill").await?;
    let (error, retry) = session
        .until(|event| match event {
            Event::Offline { error, retry } => Some((error, retry)),
            _ => None,
        })
        .await?;
    expect(retry.is_some(), || format!("gave up after: {error}"))?;
    expect(session.client.jid().is_none(), || "still has an address".into())?;
    Ok(session)
}

async fn back(session: &mut Session) -> Checked<String> {
    let mut attempts = 1;
    let jid = session
        .until(|event| match event {
            Event::Online { jid, .. } => Some(jid),
            Event::Offline { .. } => {
                attempts += 1;
                None
            }
            _ => None,
        })
        .await?;
    expect_eq("the address", jid.as_str(), session.jid.as_str())?;
    // Anything sent a second time would come before this.
    session.client.send(Message::chat(session.full()).body("last")).await?;
    let bodies = session.bodies_before("last").await?;
    expect_eq("what arrived", bodies, (0..3).map(|n| format!("waited {n}")).collect())?;
    Ok(format!("after {attempts} attempts"))
}

/// It tries again less often than we do; until then the server bounces the message, or stores it.
pub(crate) async fn bot_is_back(session: &mut Session, bot: &str) -> Checked<String> {
    let bot = bot.parse::<Jid>()?;
    let mut bounces = 0;
    loop {
        session.client.send(Message::chat(bot.clone()).body("are you there?")).await?;
        let reply = session.message().await?;
        expect_eq("the sender", reply.from().map(|from| from.to_bare().into()), Some(bot.clone()))?;
        if reply.type_() != MessageType::Error {
            return Ok(format!("after {bounces} messages bounced"));
        }
        bounces += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
