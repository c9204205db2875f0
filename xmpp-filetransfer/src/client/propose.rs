//! Files that are proposed to all devices of an account (XEP-0353), since none of them is seen.

use super::{
    Offer, Part, Report, TransferError, Ways, element,
    find::taker,
    jingle::Job,
    receive::{self, Offered},
    send::by_jingle,
    sink::Sink,
    source::Source,
    wire::{file_of, session_failed},
};
use crate::{
    file::{Description, File, is_offer},
    jingle::{
        Creator, Reason,
        client::{Invitation, JingleClient, NotTaken, ProceedError, Proposed, Withdrawal},
    },
};
use std::sync::Arc;
use tokio::{sync::mpsc, time::timeout};
use xmpp_core::{client::Client, jid::Jid, payload::Payload};

/// Proposes the file, and sends it to the device that takes it. [`TransferError::NobodyThere`], with the file, if none does.
pub(super) async fn send(
    client: &Client,
    part: &Part,
    (to, ways): (&Jid, Ways),
    file: &File,
    source: Source,
    job: &mut Job,
) -> Result<Report, (TransferError, Option<Source>)> {
    let brake = job.brake.clone();
    let proposing = async {
        let sessions = client.jingle().map_err(|_| TransferError::Offline)?;
        let description = element(&Description { file: file.clone() });
        let mut proposing = sessions.propose(&to.to_bare(), vec![description]).await.map_err(session_failed)?;
        let device = match timeout(part.settings.ringing, proposing.taken()).await {
            Ok(Ok(device)) => device,
            Ok(Err(NotTaken::Rejected { reason })) => {
                return Err(TransferError::Declined { text: reason.and_then(|reason| reason.text) });
            }
            Ok(Err(NotTaken::Lost)) => return Err(TransferError::Offline),
            // It is taken back where it is dropped.
            Ok(Err(_)) | Err(_) => return Err(TransferError::NobodyThere),
        };
        let taker = taker(client, &device.into(), Vec::new(), ways).await?;
        Ok((proposing, taker))
    };
    let proposed = tokio::select! {
        proposed = proposing => proposed,
        () = brake.cancelled() => Err(TransferError::Cancelled),
    };
    let (proposing, taker) = match proposed {
        Ok(proposed) => proposed,
        Err(error) => return Err((error, Some(source))),
    };
    let Some(ways) = taker.jingle else { return Err((TransferError::NobodyThere, Some(source))) };
    let sent = by_jingle(client.clone(), part, (&taker, Some(proposing)), ways, file.clone(), source, job).await;
    sent.map_err(|error| (error, None))
}

/// Somebody proposes a session about a file.
pub(super) fn proposed(part: &Arc<Part>, proposed: Proposed) {
    let description = proposed.descriptions().iter().find(|it| Description::matches(it.root()));
    let file = description.and_then(|it| Description::read(it.root()).ok()).map(|description| description.file);
    let (Some(file), Ok(from)) = (file, proposed.from().clone().into_full()) else { return };
    // Who does not listen is not there.
    let Some(listener) = part.listener().offers.clone() else { return };
    if let Err(mpsc::error::TrySendError::Full(_)) = listener.try_send(Offer::proposed(part, from, file, proposed)) {
        tracing::debug!("too many files wait to be looked at for one more that is proposed");
    }
}

/// Takes the proposal, and then the file.
pub(super) async fn receive(
    part: &Part,
    proposed: Proposed,
    file: &File,
    sink: Sink,
    job: &mut Job,
) -> Result<Report, TransferError> {
    let brake = job.brake.clone();
    let invitation = tokio::select! {
        taken = proposed.proceed() => taken.map_err(not_to_be_had),
        () = brake.cancelled() => Err(TransferError::Cancelled),
    };
    let offered = match invitation {
        Ok(invitation) => offered(part, invitation, file).await,
        Err(error) => Err(error),
    };
    match offered {
        Ok(offered) => receive::by_jingle(part, offered, sink, job).await,
        Err(error) => {
            // What was there before is good for another time.
            match sink.length() {
                0 => sink.discard().await,
                _ => sink.leave().await,
            }
            Err(error)
        }
    }
}

/// The file that is offered in the session: it has to be the one that was proposed.
async fn offered(part: &Part, invitation: Invitation, proposed: &File) -> Result<Offered, TransferError> {
    let client = part.client().as_ref().and_then(xmpp_core::client::WeakClient::upgrade);
    let client = client.ok_or(TransferError::Offline)?;
    let contents = invitation.session.offered();
    let is_it = |file: &File| {
        let hashes = proposed.hashes.iter().all(|hash| file.hashes.contains(hash));
        file.name == proposed.name && file.size == proposed.size && hashes
    };
    let found = contents.into_iter().find_map(|content| Some((file_of(&content).filter(is_it)?, content)));
    match found.filter(|(_, content)| is_offer(Creator::Initiator, content) == Some(true)) {
        Some((file, content)) => Ok(Offered { client, invitation, content, file }),
        None => {
            let _ = invitation.session.terminate(Reason::incompatible_parameters()).await;
            Err(TransferError::EndedByPeer("it is another file than was proposed".to_owned()))
        }
    }
}

fn not_to_be_had(error: ProceedError) -> TransferError {
    match error {
        ProceedError::TimedOut | ProceedError::Withdrawn(Withdrawal::TimedOut) => TransferError::TimedOut,
        ProceedError::Withdrawn(Withdrawal::Lost) => TransferError::Offline,
        ProceedError::Withdrawn(Withdrawal::TakenElsewhere | Withdrawal::RejectedElsewhere) => {
            TransferError::EndedByPeer("another of our clients has answered".to_owned())
        }
        ProceedError::Withdrawn(_) => TransferError::EndedByPeer("it was taken back".to_owned()),
        ProceedError::Session(error) => session_failed(error),
    }
}
