//! Files that others may fetch (XEP-0234 §6.2).

use super::{
    Files, Part, TransferError, element,
    jingle::transmit,
    receive::Offered,
    send::start,
    source::Source,
    tally::Tally,
    way::Way,
    wire::{Wire, session_failed},
};
use crate::{
    file::{Description, File, Function, not_available},
    jingle::client::Invitation,
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Weak},
};
use xmpp_core::{
    jid::{FullJid, Jid},
    payload::hash::Hash,
};

type Allow = Arc<dyn Fn(&FullJid) -> bool + Send + Sync>;

/// Files that can be fetched, by their SHA-256.
#[derive(Default)]
pub(super) struct Shelf {
    next: u64,
    files: HashMap<Vec<u8>, Shelved>,
}

#[derive(Clone)]
struct Shelved {
    number: u64,
    path: PathBuf,
    file: File,
    allow: Allow,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Shelf {
    fn find(&self, wanted: &File) -> Option<Shelved> {
        let is_hash = |hash: &&Hash| hash.algo == Function::Sha256.name();
        let hash = wanted.hashes.iter().find(is_hash)?;
        self.files.get(&hash.value.0).cloned()
    }
}

/// A file that others may fetch, until this is dropped.
pub struct Hosted {
    part: Weak<Part>,
    number: u64,
    file: File,
    hash: Hash,
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Hosted {
    /// What others ask for: its SHA-256.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// What it is, for telling others of it.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        if let Some(part) = self.part.upgrade() {
            part.shelf().files.retain(|_, shelved| shelved.number != self.number);
        }
    }
}

impl Files {
    /// Lets those whom `allow` says yes to fetch a file from us, who know its hash. It is read once for that, and again each time it
    /// is fetched.
    ///
    /// # Errors
    /// [`TransferError::File`]; [`TransferError::Exists`] if the same content is hosted already, or as many files as may be.
    pub async fn host(
        &self,
        path: impl Into<PathBuf>,
        allow: impl Fn(&FullJid) -> bool + Send + Sync + 'static,
    ) -> Result<Hosted, TransferError> {
        let path = path.into();
        let unreadable = |error| TransferError::file(error, &path);
        let mut source = Source::open(&path).await.map_err(unreadable)?;
        let hash = source.hash(Function::Sha256).await.map_err(unreadable)?;
        let mut file = File {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()),
            size: Some(source.size),
            hashes: vec![hash.clone()],
            ..File::default()
        };
        if let Some(modified) = source.modified {
            file = file.with_modified(modified);
        }
        let mut shelf = self.part.shelf();
        if shelf.files.contains_key(&hash.value.0) || shelf.files.len() >= self.part.settings.hosted {
            return Err(TransferError::Exists(path));
        }
        let number = shelf.next;
        shelf.next = shelf.next.wrapping_add(1);
        shelf.files.insert(hash.value.0.clone(), Shelved { number, path, file: file.clone(), allow: Arc::new(allow) });
        drop(shelf);
        Ok(Hosted { part: Arc::downgrade(&self.part), number, file, hash })
    }
}

/// Somebody asks for a file.
pub(super) fn requested(part: &Arc<Part>, request: Offered) {
    let peer = request.invitation.session.peer().clone();
    let shelved = part.shelf().find(&request.file);
    // Whoever is asked may do with the shelf what it likes.
    let shelved = shelved.filter(|shelved| (shelved.allow)(&peer));
    let part = Arc::clone(part);
    let serving = start(Jid::from(peer), String::new(), None, move |mut job| async move {
        let result = serve(&part, request, shelved, &mut job).await;
        if let Err(error) = &result {
            tracing::debug!(%error, "a file was not fetched");
        }
        (result, job)
    });
    serving.detach();
}

async fn serve(
    part: &Part,
    request: Offered,
    shelved: Option<Shelved>,
    job: &mut super::jingle::Job,
) -> Result<super::Report, TransferError> {
    let Offered { client, invitation, content, file: wanted } = request;
    let Invitation { session, events, .. } = invitation;
    // Whoever may not have it does not learn that it is there (§9.1).
    let source = match &shelved {
        Some(shelved) => Source::open(&shelved.path).await.ok(),
        None => None,
    };
    let (Some(Shelved { file, .. }), Some(mut source)) = (shelved, source) else {
        let _ = session.terminate(not_available()).await;
        return Err(TransferError::NotAvailable);
    };
    let in_band = part.settings.ways.in_band && content.transport_ns() != Some(crate::ibb::JINGLE_NS);
    let mut wire = Wire::new(client, session, events, content.id.clone(), in_band, part.settings.clone());
    let (mut tally, failing, size) = (Tally::new(None), wire.failing(), source.size);
    let moving = async {
        if file.size != Some(size) {
            return Err(TransferError::NotAvailable);
        }
        let way = Way::answer(&wire.client, wire.session.peer(), &content, &wire.settings).await?;
        let description = Description { file: File { range: wanted.range.clone(), ..file } };
        let answer = content.clone().with_description(element(&description)).with_transport(way.transport());
        wire.session.accept(vec![answer]).await.map_err(session_failed)?;
        transmit(&mut wire, way, &content, (&mut source, &mut tally, true), job).await
    };
    let result = tokio::select! {
        biased;
        result = moving => result,
        error = failing => Err(error),
    };
    let (road, _) = wire.conclude(result).await?;
    let (moved, elapsed) = (tally.moved, job.started.elapsed());
    Ok(super::Report { path: None, url: None, road, bytes: size, moved, verified: None, compared: None, elapsed })
}
