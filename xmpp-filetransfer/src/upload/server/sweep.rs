//! Removing what has expired, and what belonged to accounts that are gone.

use super::{Service, web::Refusal};
use crate::upload::store::StorageError;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use xmpp_core::jid::BareJid;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(60);
/// What is removed in one go; then others have their turn.
const AT_ONCE: usize = 100;

/// Looks from time to time, as long as there is the service. Without a runtime only who needs room looks.
pub(super) fn start(service: &Arc<Service>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let service = Arc::downgrade(service);
    runtime.spawn(run(service));
}

async fn run(service: Weak<Service>) {
    loop {
        tokio::time::sleep(EVERY).await;
        loop {
            let Some(service) = service.upgrade() else { return };
            match some(&service).await {
                Ok(removed) if removed >= AT_ONCE => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::error!("{error}");
                    break;
                }
            }
        }
    }
}

/// Removes what has expired, up to a hundred files; says how many.
pub(super) async fn some(service: &Service) -> Result<usize, StorageError> {
    let mut removed = 0;
    for id in service.store.expired(service.now(), AT_ONCE).await? {
        // A file may come when its slot has expired, if it began before.
        if !service.under_way().contains_key(&id) {
            // One that stays, which is logged, is not to keep the others.
            removed += usize::from(service.drop_file(&id).await.is_ok());
        }
    }
    Ok(removed)
}

impl Service {
    /// Removes a file, and then what is known of it: in this order nothing stays that nobody knows of. One that was put
    /// meanwhile goes too: what comes later finds no slot.
    pub(super) async fn drop_file(&self, id: &str) -> Result<(), Refusal> {
        self.unlink(id).await?;
        self.store.remove(id).await?;
        self.unlink(id).await
    }

    async fn unlink(&self, id: &str) -> Result<(), Refusal> {
        self.folder.remove(id).await.map_err(|error| {
            tracing::error!(%error, "an upload cannot be removed");
            Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be removed\n")
        })
    }

    /// Removes all that an account had.
    pub(super) async fn forget(&self, user: &BareJid) {
        loop {
            let ids = match self.store.of_user(user, AT_ONCE).await {
                Ok(ids) => ids,
                Err(error) => {
                    tracing::error!(%error, %user, "uploads of a removed account stay");
                    return;
                }
            };
            if ids.is_empty() {
                return;
            }
            for id in ids {
                // What is still coming finds no slot when it has.
                if self.drop_file(&id).await.is_err() {
                    return;
                }
            }
        }
    }
}
