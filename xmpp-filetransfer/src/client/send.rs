//! Sending a file: what is offered, and to whom.

use super::{
    Part, Phase, Report, Transfer, TransferError, Ways, element,
    find::{Taker, taker},
    initiation,
    jingle::{Job, transmit},
    progress::{Brake, Meter},
    propose,
    source::Source,
    tally::Tally,
    way::Way,
    wire::{Wire, session_failed},
};
use crate::{
    file::{Description, File, Function, Range},
    jingle::{
        Content, Senders,
        client::{JingleClient, Proposing},
    },
    share::Thumbnail,
};
use std::{future::IntoFuture, path::PathBuf, sync::Arc};
use tokio::{sync::oneshot, time::Instant};
use xmpp_core::{BoxFuture, client::Client, jid::Jid, payload::hash::HashUsed};

/// A file that is to be sent; awaited, it is a [`Transfer`].
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Sending {
    client: Client,
    part: Arc<Part>,
    to: Jid,
    path: PathBuf,
    name: Option<String>,
    media_type: Option<String>,
    description: Option<String>,
    thumbnails: Vec<Thumbnail>,
    hash_first: bool,
    ways: Ways,
}

impl Sending {
    pub(super) fn new(client: Client, part: Arc<Part>, to: Jid, path: PathBuf) -> Sending {
        let ways = part.settings.ways;
        Sending {
            client,
            part,
            to,
            path,
            name: None,
            media_type: None,
            description: None,
            thumbnails: Vec::new(),
            hash_first: false,
            ways,
        }
    }

    /// Under another name than that of the file.
    pub fn name(mut self, name: impl Into<String>) -> Sending {
        self.name = Some(name.into());
        self
    }

    /// With its media type (RFC 6838).
    pub fn media_type(mut self, media_type: impl Into<String>) -> Sending {
        self.media_type = Some(media_type.into());
        self
    }

    /// With words about it.
    pub fn description(mut self, words: impl Into<String>) -> Sending {
        self.description = Some(words.into());
        self
    }

    /// With a small picture of it (XEP-0264), which [bits of binary](crate::share::bob::client) can offer.
    pub fn thumbnail(mut self, thumbnail: Thumbnail) -> Sending {
        self.thumbnails.push(thumbnail);
        self
    }

    /// Reads the file once before it is offered, so that the offer has its hash: the other side may know the file already. Otherwise
    /// the hash follows the file.
    pub fn hash_first(mut self) -> Sending {
        self.hash_first = true;
        self
    }

    /// By these ways alone, of those that the [settings](super::FilesSettings::ways) allow.
    pub fn ways(mut self, ways: Ways) -> Sending {
        let allowed = self.part.settings.ways;
        self.ways = Ways {
            jingle: ways.jingle && allowed.jingle,
            sockets: ways.sockets && allowed.sockets,
            in_band: ways.in_band && allowed.in_band,
            initiation: ways.initiation && allowed.initiation,
            http: ways.http && allowed.http,
            proposals: ways.proposals && allowed.proposals,
        };
        self
    }

    /// Whether what nobody takes is uploaded.
    #[cfg(feature = "http-client")]
    fn uploads(&self) -> bool {
        use crate::upload::client::UploadClient;
        self.ways.http && self.client.uploads().is_ok()
    }

    async fn begin(self) -> Result<Transfer, TransferError> {
        let unreadable = |error| TransferError::file(error, &self.path);
        let mut source = Source::open(&self.path).await.map_err(unreadable)?;
        let own = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = self.name.clone().or(own).unwrap_or_default();
        let mut file = File {
            name: Some(name.clone()),
            media_type: self.media_type.clone(),
            size: Some(source.size),
            range: Some(Range::default()),
            ..File::default()
        };
        if let Some(modified) = source.modified {
            file = file.with_modified(modified);
        }
        if let Some(words) = &self.description {
            file = file.with_description(words);
        }
        file = self.thumbnails.iter().fold(file, File::with_thumbnail);
        if self.hash_first {
            file.hashes.push(source.hash(Function::Sha256).await.map_err(unreadable)?);
        } else {
            file.hashes_used.push(HashUsed { algo: Function::Sha256.name().to_owned() });
        }
        let there = self.part.present().of(&self.to);
        let size = source.size;
        let taker = match taker(&self.client, &self.to, there, self.ways).await {
            Ok(taker) => taker,
            Err(TransferError::NobodyThere | TransferError::PeerGone)
                if self.ways.proposals && self.ways.jingle && self.to.resource().is_none() =>
            {
                return Ok(start(self.to.clone(), name, Some(size), move |job| self.propose(file, source, job)));
            }
            #[cfg(feature = "http-client")]
            Err(TransferError::NobodyThere | TransferError::PeerGone) if self.uploads() => {
                let Sending { client, to, .. } = self;
                return Ok(start(to.clone(), name, Some(size), move |mut job| async move {
                    let result = super::http::send(&client, to, &file, source, &mut job).await;
                    (result, job)
                }));
            }
            Err(error) => return Err(error),
        };
        let peer = taker.jid.clone().into();
        let Sending { client, part, .. } = self;
        Ok(start(peer, name, Some(size), move |job| run(client, part, taker, file, source, job)))
    }
}

impl Sending {
    /// Proposes the file to who is not seen, and uploads it if nobody takes it.
    async fn propose(self, file: File, source: Source, mut job: Job) -> (Result<Report, TransferError>, Job) {
        let to = (&self.to, self.ways);
        let result = match propose::send(&self.client, &self.part, to, &file, source, &mut job).await {
            #[cfg(feature = "http-client")]
            Err((TransferError::NobodyThere | TransferError::PeerGone, Some(source))) if self.uploads() => {
                super::http::send(&self.client, self.to.clone(), &file, source, &mut job).await
            }
            result => result.map_err(|(error, _)| error),
        };
        (result, job)
    }
}

impl IntoFuture for Sending {
    type Output = Result<Transfer, TransferError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

/// Begins a transfer, in a task of its own.
pub(super) fn start<F>(peer: Jid, name: String, size: Option<u64>, run: impl FnOnce(Job) -> F) -> Transfer
where
    F: Future<Output = (Result<Report, TransferError>, Job)> + Send + 'static,
{
    let (meter, watching) = Meter::new(size);
    let brake = Brake::new();
    let (tell, outcome) = oneshot::channel();
    let running = run(Job { meter, brake: brake.clone(), started: Instant::now() });
    tokio::spawn(async move {
        let (result, mut job) = running.await;
        job.meter.phase(Phase::Ended);
        let _ = tell.send(result);
    });
    Transfer { peer, name, size, watching, brake, outcome, kept: false }
}

async fn run(
    client: Client,
    part: Arc<Part>,
    taker: Taker,
    file: File,
    source: Source,
    mut job: Job,
) -> (Result<Report, TransferError>, Job) {
    let result = match (taker.jingle, taker.initiation) {
        (Some(ways), _) => by_jingle(client, &part, (&taker, None), ways, file, source, &mut job).await,
        (None, Some(ways)) => initiation::send(&client, &part.settings, (&taker, ways), &file, source, &mut job).await,
        (None, None) => Err(TransferError::NobodyThere),
    };
    (result, job)
}

/// Sends it in a session, which the taker may have been found for by a proposal.
pub(super) async fn by_jingle(
    client: Client,
    part: &Part,
    (taker, proposing): (&Taker, Option<Proposing>),
    ways: Ways,
    file: File,
    mut source: Source,
    job: &mut Job,
) -> Result<Report, TransferError> {
    let brake = job.brake.clone();
    let function = function(&file);
    let told = !file.hashes.is_empty();
    let opening = async {
        let way = Way::offer(&client, &taker.jid, ways, &part.settings).await?;
        let content = Content::initial("file")
            .with_senders(Senders::Initiator)
            .with_description(element(&Description { file }))
            .with_transport(way.transport());
        let id = content.id.clone();
        let sessions = client.jingle().map_err(|_| TransferError::Offline)?;
        let opened = match proposing {
            Some(proposing) => proposing.initiate(vec![content]).await,
            None => sessions.initiate(taker.jid.clone(), vec![content]).await,
        };
        let (session, events) = opened.map_err(session_failed)?;
        Ok::<_, TransferError>((
            way,
            Wire::new(client.clone(), session, events, id, ways.in_band, part.settings.clone()),
        ))
    };
    let (way, mut wire) = tokio::select! {
        opened = opening => opened?,
        () = brake.cancelled() => return Err(TransferError::Cancelled),
    };
    let (mut tally, size) = (Tally::new(Some(function)), source.size);
    let failing = wire.failing();
    let moving = async {
        let theirs = wire.accepted().await?;
        transmit(&mut wire, way, &theirs, (&mut source, &mut tally, told), job).await
    };
    let result = tokio::select! {
        biased;
        result = moving => result,
        () = brake.cancelled() => Err(TransferError::Cancelled),
        error = failing => Err(error),
    };
    let (road, confirmed) = wire.conclude(result).await?;
    Ok(Report {
        path: None,
        url: None,
        road,
        bytes: size,
        moved: tally.moved,
        verified: confirmed.then(|| function.name().to_owned()),
        compared: None,
        elapsed: job.started.elapsed(),
    })
}

fn function(file: &File) -> Function {
    super::jingle::function_of(file).unwrap_or(Function::Sha256)
}
