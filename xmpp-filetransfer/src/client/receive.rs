//! Receiving a file that was offered.

use super::{
    Part, Report, TransferError, element,
    jingle::{Job, Proof, function_of, take, verify},
    sink::Sink,
    tally::Tally,
    way::Way,
    wire::{Wire, session_failed},
};
use crate::{
    file::{Description, File, Range},
    jingle::{Content, Reason, client::Invitation},
};
use xmpp_core::client::Client;

/// A file that was offered in a session.
pub(super) struct Offered {
    pub(super) client: Client,
    pub(super) invitation: Invitation,
    pub(super) content: Content,
    pub(super) file: File,
}

/// From which byte on the file is wanted, when so much of it is there.
fn offset(file: &File, there: u64) -> Result<u64, TransferError> {
    match &file.range {
        // The sender begins there, whatever we say (XEP-0234 §6.4).
        Some(range) if range.offset > 0 || range.length.is_some() => {
            let fits = range.offset <= there && range.length.is_none();
            fits.then_some(range.offset).ok_or(TransferError::NotAvailable)
        }
        Some(_) => Ok(file.size.filter(|size| there <= *size).map_or(0, |_| there)),
        None => Ok(0),
    }
}

pub(super) async fn by_jingle(
    part: &Part,
    offered: Offered,
    mut sink: Sink,
    job: &mut Job,
) -> Result<Report, TransferError> {
    let mut tally = Tally::new(function_of(&offered.file));
    let (wire, result) = receive(part, offered, &mut sink, &mut tally, job).await;
    settle(wire, result, sink, &tally, job).await
}

/// What becomes of the file, and of the session, when all has come or nothing more will.
pub(super) async fn settle(
    mut wire: Wire,
    result: Received,
    sink: Sink,
    tally: &Tally,
    job: &Job,
) -> Result<Report, TransferError> {
    let (road, proof) = match result {
        Ok(done) => done,
        Err(error) => {
            // The file first: who has heard that it failed may try again.
            keep(sink, &error).await;
            return wire.conclude(Err(error)).await;
        }
    };
    let place = sink.place();
    let published = sink.publish().await.map_err(|error| TransferError::file(error, &place));
    let path = match published {
        Ok(path) => path,
        Err(error) => return wire.conclude(Err(error)).await,
    };
    wire.tell_received().await;
    wire.end(Reason::success()).await;
    let Proof { verified, compared } = proof;
    let (bytes, moved, elapsed) = (tally.at, tally.moved, job.started.elapsed());
    Ok(Report { path, url: None, road, bytes, moved, verified, compared, elapsed })
}

pub(super) type Received = Result<(super::Road, Proof), TransferError>;

async fn receive(part: &Part, offered: Offered, sink: &mut Sink, tally: &mut Tally, job: &mut Job) -> (Wire, Received) {
    let Offered { client, invitation, content, file } = offered;
    let Invitation { session, events, .. } = invitation;
    let settings = part.settings.clone();
    let id = content.id.clone();
    let in_band = settings.ways.in_band && content.transport_ns() != Some(crate::ibb::JINGLE_NS);
    let mut wire = Wire::new(client, session, events, id, in_band, settings);
    let (brake, failing) = (job.brake.clone(), wire.failing());
    let moving = async {
        let offset = offset(&file, sink.length())?;
        sink.resume(offset, |bytes| tally.look(bytes)).await.map_err(TransferError::File)?;
        tally.at = offset;
        let way = Way::answer(&wire.client, wire.session.peer(), &content, &wire.settings).await?;
        let mut answer = content.clone().with_transport(way.transport());
        if offset > 0 {
            let mut file = file.clone();
            file.range = Some(Range { offset, ..Range::default() });
            answer = answer.with_description(element(&Description { file }));
        }
        wire.session.accept(vec![answer]).await.map_err(session_failed)?;
        let road = take(&mut wire, way, &content, (sink, tally, file.size), job).await?;
        job.meter.phase(super::Phase::Verifying);
        Ok((road, verify(&wire, &file, tally).await?))
    };
    let result = tokio::select! {
        biased;
        result = moving => result,
        () = brake.cancelled() => Err(TransferError::Cancelled),
        error = failing => Err(error),
    };
    (wire, result)
}

/// What is to become of a part: it serves a later attempt, unless it is wrong or unwanted.
pub(super) async fn keep(sink: Sink, error: &TransferError) {
    let wrong = matches!(
        error,
        TransferError::HashMismatch { .. }
            | TransferError::WrongSize { .. }
            | TransferError::TooLarge { .. }
            | TransferError::Cancelled
    );
    if wrong || sink.length() == 0 {
        sink.discard().await;
    } else {
        sink.leave().await;
    }
}
