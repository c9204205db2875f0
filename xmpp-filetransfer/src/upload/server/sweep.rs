//! Removing what has expired, and what belonged to accounts that are gone.

use super::{Busy, Place, Service, lost, web::Refusal};
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
/// What is passed over in one go, since it cannot be removed.
const STUCK: usize = 10_000;

/// Looks from time to time, as long as there is the service. Without a runtime only who needs room looks.
pub(super) fn start(service: &Arc<Service>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let service = Arc::downgrade(service);
    runtime.spawn(run(service));
}

async fn run(service: Weak<Service>) {
    let mut round = lost::Round::default();
    loop {
        let Some(service_here) = service.upgrade() else { return };
        if let Err(error) = round.go_on(&service_here).await {
            tracing::error!("{error}");
        }
        drop(service_here);
        tokio::time::sleep(EVERY).await;
        loop {
            let Some(service) = service.upgrade() else { return };
            match some(&service, None).await {
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

/// Removes what has expired, of a user or of all, up to a hundred files; says how many. What cannot be removed, which is
/// logged, does not keep the others.
pub(super) async fn some(service: &Arc<Service>, user: Option<&BareJid>) -> Result<usize, StorageError> {
    let (mut removed, mut seen, mut last) = (0, 0, None);
    while removed < AT_ONCE && seen < STUCK {
        let page = service.store.expired(user, service.now(), last.as_ref(), AT_ONCE - removed).await?;
        if page.is_empty() {
            break;
        }
        for due in &page {
            removed += usize::from(service.remove_expired(&due.id).await?);
        }
        seen += page.len();
        last = page.into_iter().next_back();
    }
    Ok(removed)
}

impl Service {
    /// The right to remove something, unless it is being put or removed already.
    pub(super) fn remove_alone(self: &Arc<Self>, id: &str) -> Option<Place> {
        let mut busy = self.busy();
        if busy.contains_key(id) {
            return None;
        }
        busy.insert(id.to_owned(), Busy::Removal);
        Some(Place { service: Arc::clone(self), id: id.to_owned() })
    }

    /// Removes something that was seen to have expired, if that is still so: a file may have come meanwhile, if it began
    /// before its slot expired.
    async fn remove_expired(self: &Arc<Self>, id: &str) -> Result<bool, StorageError> {
        let Some(place) = self.remove_alone(id) else { return Ok(false) };
        let found = self.store.find(id).await?;
        if found.and_then(|upload| upload.expires).is_none_or(|expires| expires > self.now()) {
            return Ok(false);
        }
        Ok(self.drop_file(&place).await.is_ok())
    }

    /// Removes a file, and then what is known of it: in this order nothing stays that nobody knows of.
    pub(super) async fn drop_file(&self, place: &Place) -> Result<(), Refusal> {
        self.folder.remove(&place.id).await.map_err(|error| {
            tracing::error!(%error, id = place.id, "an upload cannot be removed");
            Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be removed\n")
        })?;
        self.store.remove(&place.id).await?;
        Ok(())
    }

    /// Removes all that an account had. Nothing of it is served any more, and nothing comes into it, before the first file
    /// has gone.
    pub(super) async fn forget(self: &Arc<Self>, user: &BareJid) -> Result<u64, StorageError> {
        let released = self.store.release(user).await?;
        while some(self, Some(user)).await? >= AT_ONCE {}
        Ok(released)
    }
}
