//! What people expect of a client, at a server: `xmpp-interop im`.
//!
//! What the server has is asked by service discovery; what it lacks is skipped.

mod account;
mod contacts;
mod conversation;
mod device;
mod history;
mod partner;
mod subscriptions;

use crate::{
    check::{Checked, Report, expect},
    peer::Peer,
};
use device::Device;
use xmpp_core::{
    client::Client,
    jid::Jid,
    payload::disco::{DiscoInfo, DiscoInfoQuery},
    stanza::Iq,
};

/// What an XML writer can get wrong.
const TRICKY: &str = "1 < 2 & \"q\" 'a' ]]> é 日本 🙌 e\u{301}";

/// What the server says that it has.
pub(crate) struct Features {
    /// Of the domain.
    server: DiscoInfo,
    /// Of the account.
    account: DiscoInfo,
}

impl Features {
    async fn ask(client: &Client, domain: &Jid) -> Checked<Features> {
        let ask = |jid: Jid| client.query::<DiscoInfo>(Iq::get(jid).payload(&DiscoInfoQuery::default()));
        let account = client.account().to_bare().into();
        Ok(Features { server: ask(domain.clone()).await?, account: ask(account).await? })
    }

    /// Whether it has this, at the domain or at the account.
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.server.has_feature(feature) || self.account.has_feature(feature)
    }
}

/// All checks.
pub(crate) async fn checks(report: &mut Report, peer: &Peer) {
    let mut features = None;
    report
        .check("im empty rosters", async {
            let domain: Jid = peer.domain.parse()?;
            for user in &peer.users {
                let device = Device::login(peer, user, "clean").await?;
                if features.is_none() {
                    features = Some(Features::ask(&device.client, &domain).await?);
                }
                device.forget_everybody().await?;
                device.archive_everything().await?;
                device.close().await?;
            }
            Ok(String::new())
        })
        .await;
    let Some(features) = features else { return };
    contacts::checks(report, peer).await;
    subscriptions::checks(report, peer).await;
    conversation::checks(report, peer, &features).await;
    history::checks(report, peer, &features).await;
    account::checks(report, peer, &features).await;
    partner::checks(report, peer).await;
}

/// Fails unless all are there, in any order, each once.
fn expect_each_once(what: &str, mut got: Vec<String>, wanted: &[String]) -> Checked {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    got.sort();
    expect(got == wanted, || format!("{what} are {got:?}, not {wanted:?}"))
}
