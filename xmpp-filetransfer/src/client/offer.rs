//! Files that others offer.

use super::{
    Part, Transfer, TransferError, host,
    initiation::{self, Initiated},
    part_file::PartFile,
    propose,
    receive::{self, Offered},
    send::start,
    sink::Sink,
    wire::file_of,
};
use crate::{
    file::{File, is_offer, name},
    jingle::{
        Creator, Reason,
        client::{Invitation, Proposed},
    },
};
use std::{path::PathBuf, sync::Arc};
use tokio::{io::AsyncWrite, sync::mpsc};
use xmpp_core::jid::{FullJid, Jid};

/// What a file is called that has no name which could be one.
const NAMELESS: &str = "file";

/// A file that somebody offers. Dropped, it is declined; of one that was proposed to all our devices (XEP-0353) the other side
/// then hears nothing.
pub struct Offer {
    part: Arc<Part>,
    from: FullJid,
    name: String,
    file: File,
    road: Way,
}

/// How it was offered.
enum Way {
    Jingle(Box<Offered>),
    Initiation(Box<Initiated>),
    Proposal(Box<Proposed>),
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("from", &self.from).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Offer {
    fn new(part: &Arc<Part>, from: FullJid, file: File, road: Way) -> Offer {
        let name = file.name.as_deref().and_then(name::safe).unwrap_or_else(|| NAMELESS.to_owned());
        Offer { part: Arc::clone(part), from, name, file, road }
    }

    pub(super) fn initiated(part: &Arc<Part>, from: FullJid, file: File, initiated: Initiated) -> Offer {
        Offer::new(part, from, file, Way::Initiation(Box::new(initiated)))
    }

    pub(super) fn proposed(part: &Arc<Part>, from: FullJid, file: File, proposed: Proposed) -> Offer {
        Offer::new(part, from, file, Way::Proposal(Box::new(proposed)))
    }

    /// Who offers it.
    pub fn from(&self) -> &FullJid {
        &self.from
    }

    /// What it is called: made safe, so that it is a name and nothing else. [`file`](Self::file) has what the peer says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the peer says of the file. Nothing of it is proved.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Takes it to a place. It has another name there until it is whole; nothing is overwritten. What an earlier attempt has left
    /// of the same file is not sent again, and is left only where it can be known again: if the offer has a hash that proves
    /// something, or comes from a client whose presence we see, other than in a room.
    ///
    /// # Errors
    /// [`TransferError::Exists`], [`TransferError::File`]; the offer is declined then. The rest is told by
    /// [`finish`](Transfer::finish).
    pub async fn accept_to(self, place: impl Into<PathBuf>) -> Result<Transfer, TransferError> {
        let place = place.into();
        let (size, file) = (self.file.size.map(u64::to_be_bytes), &self.file);
        let date = file.date.as_deref().unwrap_or_default();
        let mut mark: Vec<&[u8]> = vec![self.from.bare_str().as_bytes(), date.as_bytes()];
        mark.push(file.name.as_deref().unwrap_or_default().as_bytes());
        mark.push(size.as_ref().map_or(&[], |size| size.as_slice()));
        for hash in &file.hashes {
            mark.extend([hash.algo.as_bytes(), hash.value.0.as_slice()]);
        }
        // Without a hash, nothing proves that it is the same file but who offers it: a contact, and not whoever is in a room.
        let again = file.proof().is_some() || self.part.present().knows(&self.from);
        let part = PartFile::open(&place, &mark, again).await.map_err(|error| TransferError::file(error, &place))?;
        Ok(self.begin(Sink::Part(part)))
    }

    /// Takes it into whatever the application has made for it. That is shut down when the file is whole and right, and dropped
    /// otherwise: nothing before that is proved.
    ///
    /// # Errors
    /// None yet; the rest is told by [`finish`](Transfer::finish).
    pub async fn accept(self, writer: impl AsyncWrite + Send + Unpin + 'static) -> Result<Transfer, TransferError> {
        Ok(self.begin(Sink::Writer(Box::new(writer))))
    }

    /// Declines it, with words for people.
    pub async fn reject(self, text: Option<&str>) {
        let invitation = match self.road {
            Way::Jingle(offered) => offered.invitation,
            Way::Initiation(initiated) => return initiated.reject(text),
            Way::Proposal(proposed) => {
                let reason = text.into_iter().fold(Reason::busy(), |reason, text| reason.with_text(text));
                if let Err(error) = proposed.reject(reason).await {
                    tracing::debug!(%error, "nobody hears that a file is not wanted");
                }
                return;
            }
        };
        let reason = text.into_iter().fold(Reason::decline(), |reason, text| reason.with_text(text));
        if let Err(error) = invitation.session.terminate(reason).await {
            tracing::debug!(%error, "the offer of a file is gone");
        }
    }

    fn begin(self, sink: Sink) -> Transfer {
        let Offer { part, from, name, file, road } = self;
        let size = file.size;
        start(Jid::from(from), name, size, move |mut job| async move {
            let result = match road {
                Way::Jingle(offered) => receive::by_jingle(&part, *offered, sink, &mut job).await,
                Way::Initiation(initiated) => initiation::receive(&part, *initiated, &file, sink, &mut job).await,
                Way::Proposal(proposed) => propose::receive(&part, *proposed, &file, sink, &mut job).await,
            };
            (result, job)
        })
    }
}

/// Files that others offer, as they come.
#[derive(Debug)]
pub struct Offers {
    pub(super) offers: mpsc::Receiver<Offer>,
}

impl Offers {
    /// The next one; `None` when the client has ended, or somebody else listens. Cancel-safe.
    pub async fn next(&mut self) -> Option<Offer> {
        self.offers.recv().await
    }
}

/// Somebody asks for a session about a file.
pub(super) fn invited(part: &Arc<Part>, invitation: Invitation) {
    let client = part.client().as_ref().and_then(xmpp_core::client::WeakClient::upgrade);
    let contents = invitation.session.offered();
    let offered = contents.into_iter().find_map(|content| Some((file_of(&content)?, content)));
    let (Some(client), Some((file, content))) = (client, offered) else { return };
    match is_offer(Creator::Initiator, &content) {
        Some(true) => {}
        Some(false) => return host::requested(part, Offered { client, invitation, content, file }),
        // Who sends to whom is not a thing to guess.
        None => return end(invitation, Reason::incompatible_parameters()),
    }
    let from = invitation.session.peer().clone();
    let road = Way::Jingle(Box::new(Offered { client, invitation, content, file: file.clone() }));
    let offer = Offer::new(part, from, file, road);
    // Who was listening and is gone is like nobody.
    let listener = part.listener().offers.clone();
    let Some(listener) = listener else { return };
    if let Err(mpsc::error::TrySendError::Full(offer)) = listener.try_send(offer)
        && let Way::Jingle(offered) = offer.road
    {
        end(offered.invitation, Reason::busy());
    }
}

fn end(invitation: Invitation, reason: Reason) {
    tokio::spawn(async move { invitation.session.terminate(reason).await });
}
