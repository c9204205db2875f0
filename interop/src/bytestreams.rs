//! Bytestreams with clients that others wrote: `slixmpp_bytestreams.py` and `aioxmpp_bytestreams.py` ask by messages, and this
//! does it. What came through a stream is told by its length and the sum of its bytes.

use crate::{
    check::Checked,
    peer::{Peer, Way, optional},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use xmpp_core::{
    client::{Client, Event},
    jid::Jid,
    stanza::{Message, Presence},
};
use xmpp_filetransfer::{
    ibb::{self, Carrier, Opening},
    socks5::{self, Socks5Settings},
};

/// So many bytes we send.
const BYTES: u32 = 300_000;

/// Says where it is, and serves until it is told to stop. With DIRECT=0 it offers relays alone.
pub(crate) async fn serve(peer: &Peer) -> Checked {
    let mut settings = Socks5Settings::default();
    settings.loopback = true;
    settings.direct = optional("DIRECT").as_deref() != Some("0");
    let resource = if settings.direct { "streams" } else { "hidden" };
    let builder = peer.user(Way::StartTls, &peer.users[0], resource)?;
    let (client, mut events) = builder.with(ibb::client).with(socks5::client_with(settings)).connect()?;
    let mut offers = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Online { jid, .. } => {
                client.send(Presence::available()).await?;
                offers.get_or_insert_with(|| tokio::spawn(listen(client.clone())));
                println!("ready {jid}");
            }
            Event::Message(message) => {
                let (Some(body), Some(from)) = (message.body(), message.from()) else { continue };
                if body == "stop" {
                    client.close().await;
                    return Ok(());
                }
                tokio::spawn(obey(client.clone(), from.clone(), body.into_owned()));
            }
            _ => {}
        }
    }
    Err("the session has ended".into())
}

/// Takes every in-band stream.
async fn listen(client: Client) -> Checked {
    let mut offers = ibb::listen(&client)?;
    while let Some(offer) = offers.next().await {
        let (peer, sid) = (offer.peer().clone(), offer.sid().to_owned());
        let stream = offer.accept().await?;
        match sid.as_str() {
            "leave" => drop(tokio::spawn(leave(client.clone(), peer, stream))),
            "echo" => drop(tokio::spawn(echo(client.clone(), peer, stream))),
            _ => drop(tokio::spawn(told(client.clone(), peer, sid, stream))),
        }
    }
    Ok(())
}

async fn obey(client: Client, from: Jid, order: String) {
    if let Err(error) = carry_out(&client, &from, &order).await {
        let _ = client.send(Message::chat(from).body(format!("failed {order}: {error}"))).await;
    }
}

async fn carry_out(client: &Client, from: &Jid, order: &str) -> Checked {
    let (what, sid) = order.rsplit_once(' ').ok_or("an order has a stream's id at its end")?;
    match what {
        "open" => sent(ibb::open(client, from.clone(), sid, Opening::default()).await?).await,
        "open large" => sent(ibb::open(client, from.clone(), sid, Opening::default().block_size(32_768)).await?).await,
        "open messages" => {
            sent(ibb::open(client, from.clone(), sid, Opening::default().carrier(Carrier::Message)).await?).await
        }
        "offer" => sent(socks5::offer(client, from.clone(), sid).await?).await,
        "expect" => {
            let expected = socks5::expect(client, from.clone(), sid)?;
            client.send(Message::chat(from.clone()).body(format!("expecting {sid}"))).await?;
            told(client.clone(), from.clone(), sid.to_owned(), expected.stream().await?).await
        }
        other => Err(format!("{other}: nobody does that").into()),
    }
}

/// Sends what both sides know.
async fn sent(mut stream: impl AsyncWrite + Unpin) -> Checked {
    let bytes: Vec<u8> = (0..BYTES).map(|n| n.wrapping_mul(n).to_le_bytes()[1]).collect();
    stream.write_all(&bytes).await?;
    Ok(stream.shutdown().await?)
}

/// Reads some of a stream, and closes it.
async fn leave(client: Client, peer: Jid, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Checked {
    stream.read_exact(&mut [0; 10_000]).await?;
    stream.shutdown().await?;
    Ok(client.send(Message::chat(peer).body("left leave")).await?)
}

/// Says what is said, until the peer closes.
async fn echo(client: Client, peer: Jid, stream: impl AsyncRead + AsyncWrite) -> Checked {
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(client.send(Message::chat(peer).body("echoed echo")).await?)
}

/// Reads a stream to its end, and tells what came.
async fn told(client: Client, peer: Jid, sid: String, mut stream: impl AsyncRead + Unpin) -> Checked {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    Ok(client.send(Message::chat(peer).body(format!("got {sid} {} {sum}", bytes.len()))).await?)
}
