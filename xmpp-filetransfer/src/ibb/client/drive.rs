//! Sends the blocks of one stream, and hears the answers.

use super::{
    super::{Carrier, Close, Data, IbbError, Output},
    open::Seat,
};
use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use xmpp_core::{
    client::{Client, Handover, RequestError},
    jid::Jid,
    stanza::{Iq, Message},
};

/// How long the rest of a stream may take that has ended on our side.
const FAREWELL: Duration = Duration::from_secs(60);

type Answering = Pin<Box<dyn Future<Output = Result<(), IbbError>> + Send>>;

impl From<RequestError> for IbbError {
    fn from(error: RequestError) -> IbbError {
        match error {
            RequestError::Refused(error) => IbbError::Refused(error),
            RequestError::TimedOut => IbbError::TimedOut,
            RequestError::Send(_) => IbbError::ClientClosed,
            RequestError::TooMany => IbbError::TooMany,
            _ => IbbError::SessionLost,
        }
    }
}

/// Runs until the stream is over. The client lives as long.
pub(super) async fn drive(client: Client, seat: Seat) {
    let (peer, sid) = seat.key.clone();
    let mut unanswered: VecDeque<Answering> = VecDeque::new();
    let link = &seat.link;
    loop {
        let mut closes = false;
        while let Some(output) = link.look(|blocks| blocks.output()) {
            match output {
                Output::Block(seq, bytes) => {
                    let block = Data::new(sid.clone(), seq, bytes);
                    unanswered.push_back(send(client.clone(), &peer, block, seat.carrier, link.token()));
                }
                Output::Close => closes = true,
            }
        }
        if closes {
            close(&client, &peer, &sid, &mut unanswered).await;
            link.change(|blocks| blocks.closed());
        }
        if closes || link.look(|blocks| blocks.is_over()) {
            return;
        }
        tokio::select! {
            answer = poll_fn(|cx| first(&mut unanswered, cx)) => link.change(|blocks| blocks.answered(answer)),
            () = link.work() => {}
        }
    }
}

/// Closes the stream (§2.3). What the peer sends before it answers still comes in; what it says of the rest is of no interest.
async fn close(client: &Client, peer: &Jid, sid: &str, unanswered: &mut VecDeque<Answering>) {
    let request = Iq::set(peer.clone()).payload(&Close { sid: sid.to_owned() });
    // What was not handed over yet must not follow the end.
    let handed_over = poll_fn(|cx| {
        let _ = first(unanswered, cx);
        Poll::Ready(())
    });
    handed_over.await;
    // Either way both consider it closed.
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, client.request(request)).await {
        tracing::debug!(%error, "the peer did not confirm the end of an in-band stream");
    }
}

/// Sends a block, when first polled; resolves with its answer.
fn send(client: Client, peer: &Jid, block: Data, carrier: Carrier, token: &str) -> Answering {
    match carrier {
        Carrier::Iq => {
            let request = Iq::set(peer.clone()).payload(&block);
            Box::pin(async move { client.request(request).await.map(|_| ()).map_err(IbbError::from) })
        }
        Carrier::Message => {
            let id = format!("{token}-{}", block.seq);
            let message = Message::normal(peer.clone()).id(id).payload(&block);
            Box::pin(async move {
                let mut receipt = client.send_followed(message).await.map_err(|_| IbbError::ClientClosed)?;
                match receipt.settled().await {
                    Handover::Acknowledged | Handover::Written => Ok(()),
                    _ => Err(IbbError::SessionLost),
                }
            })
        }
    }
}

/// Polls all, in order, so that they are handed over in order; the first that is answered leaves.
fn first(unanswered: &mut VecDeque<Answering>, cx: &mut Context<'_>) -> Poll<Result<(), IbbError>> {
    let mut answered = None;
    for (place, one) in unanswered.iter_mut().enumerate() {
        if let Poll::Ready(answer) = one.as_mut().poll(cx) {
            answered = Some((place, answer));
            break;
        }
    }
    match answered {
        Some((place, answer)) => {
            drop(unanswered.remove(place));
            Poll::Ready(answer)
        }
        None => Poll::Pending,
    }
}
