//! The server goes away without a word and comes back.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way},
    session::Session,
};
use std::time::Duration;
use xmpp_core::{
    client::Event,
    payload::ping::Ping,
    stanza::{Iq, Message},
};

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let mut session = None;
    report
        .check(&format!("{way} the server is killed: offline, tries again"), async {
            session = Some(killed(peer, way).await?);
            Ok(String::new())
        })
        .await;
    let Some(mut session) = session else { return };
    report
        .check(&format!("{way} the server is back: online, what waited arrives exactly once"), async {
            back(peer, &mut session).await
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

async fn back(peer: &Peer, session: &mut Session) -> Checked<String> {
    for n in 0..3 {
        session.client.send(Message::chat(session.full()).body(format!("waited {n}"))).await?;
    }
    // A request made while offline is asked as soon as there is a session.
    let (client, asking) = (session.client.clone(), Iq::get_own().payload(&Ping));
    let asked = tokio::spawn(async move { client.request(asking).await });
    peer.control("resume").await?;
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
    let bodies = session.bodies(Duration::from_secs(1)).await;
    expect_eq("what arrived", bodies, (0..3).map(|n| format!("waited {n}")).collect())?;
    asked.await?.map_err(|error| format!("the request made while offline: {error}"))?;
    expect(session.client.close().await, || "the server did not close its stream".into())?;
    Ok(format!("after {attempts} attempts"))
}
