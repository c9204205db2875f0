//! Finding the service (§3).

use super::{UploadError, Uploads};
use crate::upload::{NS, max_file_size};
use tokio::task::JoinSet;
use xmpp_core::{
    jid::Jid,
    payload::disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
    stanza::Iq,
};

/// Items of a server that are asked.
const ITEMS: usize = 32;

/// A service that takes uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadService {
    /// Where it is.
    pub jid: Jid,
    /// The largest file that it takes, in bytes, if it says so.
    pub max_file_size: Option<u64>,
}

impl Uploads {
    /// The service of our server: the server itself, or the first of its items that answers as one. It is remembered until the
    /// session ends. Cancel-safe.
    ///
    /// # Errors
    /// [`UploadError::NoService`], [`UploadError::Request`].
    pub async fn service(&self) -> Result<UploadService, UploadError> {
        if let Some(found) = self.part.found(|found| found.clone()) {
            return Ok(found);
        }
        let found = self.look().await?;
        self.part.found(|known| *known = Some(found.clone()));
        Ok(found)
    }

    async fn look(&self) -> Result<UploadService, UploadError> {
        let server = Jid::from_parts(None, self.client.account().domain(), None).map_err(|_| UploadError::NoService)?;
        if let Some(found) = asked(self.client.clone(), server.clone()).await {
            return Ok(found);
        }
        let items: DiscoItems = self.client.query(Iq::get(server).payload(&DiscoItemsQuery::default())).await?;
        // One that does not answer is not to hold up the others.
        let mut asking = JoinSet::new();
        for item in items.items.into_iter().filter(|item| item.node.is_none()).take(ITEMS) {
            asking.spawn(asked(self.client.clone(), item.jid));
        }
        while let Some(answer) = asking.join_next().await {
            if let Ok(Some(found)) = answer {
                return Ok(found);
            }
        }
        Err(UploadError::NoService)
    }
}

async fn asked(client: xmpp_core::client::Client, jid: Jid) -> Option<UploadService> {
    let info = client.query::<DiscoInfo>(Iq::get(jid.clone()).payload(&DiscoInfoQuery::default())).await.ok()?;
    info.has_feature(NS).then(|| UploadService { jid, max_file_size: max_file_size(&info) })
}
