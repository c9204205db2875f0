//! Files that are known and not there: after a power failure, a restored backup, or by somebody's hand.

use super::{Service, address::OLD};
use crate::upload::store::StorageError;
use std::sync::{Arc, atomic::Ordering};

/// Files that are looked at in one go.
const AT_ONCE: usize = 1_000;
/// Turns between the end of a round and the next one.
const REST: u32 = 60;
/// So many may be lost at a time; of more, only where it is not most of them.
const FEW: usize = 10;

/// Goes through all files, a part of them each time.
#[derive(Debug, Default)]
pub(super) struct Round {
    last: Option<String>,
    rest: u32,
    /// A file was seen in this round whose address is not signed.
    old: bool,
}

impl Round {
    /// Looks at some more files, and forgets those that are not there, for they would count as somebody's for ever.
    pub(super) async fn go_on(&mut self, service: &Arc<Service>) -> Result<(), StorageError> {
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(());
        }
        let page = service.store.files(self.last.as_deref(), AT_ONCE).await?;
        self.old |= page.iter().any(|(id, _)| id.len() == OLD);
        self.last = page.last().map(|(id, _)| id.clone());
        if page.len() < AT_ONCE {
            service.has_old.store(self.old, Ordering::Relaxed);
            *self = Round { rest: REST, ..Round::default() };
        }
        look(service, &page).await
    }
}

async fn look(service: &Arc<Service>, page: &[(String, u64)]) -> Result<(), StorageError> {
    let mut lost = Vec::new();
    for (id, size) in page {
        match service.folder.size(id).await {
            Ok(Some(found)) if found == *size => {}
            Ok(_) => lost.push(id),
            Err(error) => {
                tracing::error!(%error, "the folder of uploads cannot be read");
                return Ok(());
            }
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let away = service.folder.is_untouched().await.unwrap_or(true) || (lost.len() > FEW && lost.len() > page.len() / 2);
    if away {
        // What would be forgotten now could not be had again when the disk is back.
        tracing::error!(lost = lost.len(), "files of uploads are missing: is their folder the right one?");
        return Ok(());
    }
    for id in lost {
        let Some(place) = service.remove_alone(id) else { continue };
        // It may have been removed since, or be whole by now.
        let Some(upload) = service.store.find(id).await?.filter(|upload| upload.published) else { continue };
        if service.folder.size(id).await.is_ok_and(|size| size != Some(upload.size)) {
            tracing::error!(id, owner = %upload.owner, "the file of an upload is lost");
            let _ = service.drop_file(&place).await;
        }
    }
    Ok(())
}
