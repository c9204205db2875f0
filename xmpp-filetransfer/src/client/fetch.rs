//! Files that are fetched from others (XEP-0234 §6.2).

use super::{
    Files, Part, Report, Transfer, TransferError, element,
    jingle::{Job, function_of, take, verify},
    part_file::PartFile,
    receive::{keep, settle},
    send::start,
    sink::Sink,
    tally::Tally,
    way::Way,
    wire::{Wire, file_of, session_failed},
};
use crate::{
    file::{Description, File, Range, name},
    jingle::{Content, Senders, client::JingleClient},
};
use std::{path::PathBuf, sync::Arc};
use tokio::io::AsyncWrite;
use xmpp_core::{
    client::Client,
    jid::{FullJid, Jid},
    payload::hash::Hash,
};

/// A file that is to be fetched.
#[derive(Debug)]
#[must_use = "nothing is fetched before it is said where to"]
pub struct Fetching {
    client: Client,
    part: Arc<Part>,
    from: FullJid,
    hash: Hash,
}

impl Files {
    /// Fetches the file of this hash from a client that hosts it.
    pub fn fetch(&self, from: FullJid, hash: Hash) -> Fetching {
        Fetching { client: self.client.clone(), part: Arc::clone(&self.part), from, hash }
    }
}

impl Fetching {
    /// To a place, as [`Offer::accept_to`](super::Offer::accept_to) does.
    ///
    /// # Errors
    /// [`TransferError::Exists`], [`TransferError::File`]. The rest is told by [`finish`](Transfer::finish):
    /// [`TransferError::NotAvailable`] if there is no such file there, or not for us.
    pub async fn to(self, place: impl Into<PathBuf>) -> Result<Transfer, TransferError> {
        let place = place.into();
        let mark = [self.from.bare_str().as_bytes(), self.hash.algo.as_bytes(), self.hash.value.0.as_slice()];
        // It is known by its hash.
        let part = PartFile::open(&place, &mark, true).await.map_err(|error| TransferError::file(error, &place))?;
        let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(self.begin(name, Sink::Part(part)))
    }

    /// Into whatever the application has made for it, as [`Offer::accept`](super::Offer::accept) does.
    pub fn into_writer(self, writer: impl AsyncWrite + Send + Unpin + 'static) -> Transfer {
        self.begin(String::new(), Sink::Writer(Box::new(writer)))
    }

    fn begin(self, name: String, sink: Sink) -> Transfer {
        let peer = Jid::from(self.from.clone());
        start(peer, name, None, move |mut job| async move {
            let result = self.run(sink, &mut job).await;
            (result, job)
        })
    }

    async fn run(self, mut sink: Sink, job: &mut Job) -> Result<Report, TransferError> {
        let mut file = File { hashes: vec![self.hash.clone()], ..File::default() };
        let mut tally = Tally::new(function_of(&file));
        let offset = sink.length();
        let opened = async {
            sink.resume(offset, |bytes| tally.look(bytes)).await.map_err(TransferError::File)?;
            tally.at = offset;
            let asked = File { range: (offset > 0).then(|| Range { offset, ..Range::default() }), ..file.clone() };
            self.open(asked).await
        };
        let brake = job.brake.clone();
        let opened = tokio::select! {
            opened = opened => opened,
            () = brake.cancelled() => Err(TransferError::Cancelled),
        };
        let (way, mut wire) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                keep(sink, &error).await;
                return Err(error);
            }
        };
        let failing = wire.failing();
        let moving = async {
            let theirs = wire.accepted().await?;
            let said = file_of(&theirs).unwrap_or_default();
            (file.size, file.name) = (said.size, said.name.as_deref().and_then(name::safe));
            job.meter.total(file.size);
            let limit = wire.settings.unannounced;
            match file.size {
                Some(size) if size > limit => return Err(TransferError::TooLarge { limit: Some(limit) }),
                // What is there was never this file.
                Some(size) if size < tally.at => {
                    return Err(TransferError::WrongSize { offered: size, received: tally.at });
                }
                _ => {}
            }
            let road = take(&mut wire, way, &theirs, (&mut sink, &mut tally, file.size), job).await?;
            job.meter.phase(super::Phase::Verifying);
            Ok((road, verify(&wire, &file, &tally).await?))
        };
        let result = tokio::select! {
            biased;
            result = moving => result,
            () = brake.cancelled() => Err(TransferError::Cancelled),
            error = failing => Err(error),
        };
        settle(wire, result, sink, &tally, job).await
    }

    /// Asks for it.
    async fn open(&self, asked: File) -> Result<(Way, Wire), TransferError> {
        let settings = &self.part.settings;
        let way = Way::offer(&self.client, &self.from, settings.ways, settings).await?;
        let content = Content::initial("file")
            .with_senders(Senders::Responder)
            .with_description(element(&Description { file: asked }))
            .with_transport(way.transport());
        let id = content.id.clone();
        let sessions = self.client.jingle().map_err(|_| TransferError::Offline)?;
        let opened = sessions.initiate(self.from.clone(), vec![content]).await;
        let (session, events) = opened.map_err(session_failed)?;
        let in_band = settings.ways.in_band && settings.ways.sockets;
        Ok((way, Wire::new(self.client.clone(), session, events, id, in_band, settings.clone())))
    }
}
