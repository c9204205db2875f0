//! Questions and answers, both ways.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way},
    session::Session,
};
use xmpp_core::{
    client::{Client, RequestError},
    jid::Jid,
    payload::{
        Payload,
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        ping::Ping,
        version::{Version, VersionQuery},
    },
    stanza::{Condition, Iq},
};

/// What nobody can answer.
#[derive(Payload)]
#[xml(name = "query", ns = "urn:example:nobody-knows")]
struct Unknown;

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let [first, second, _] = &peer.users;
    let mut pair = None;
    report
        .check(&format!("{way} two users to ask"), async {
            let one = Session::login(peer.user(way, first, "asks")?).await?;
            let two = Session::login(peer.user(way, second, "answers")?).await?;
            pair = Some((one, two));
            Ok(String::new())
        })
        .await;
    let Some((one, two)) = pair else { return };
    let asking = &one.client.clone();
    let server = Jid::new(&peer.domain);
    report
        .check(&format!("{way} disco#info of the server"), async {
            let info = info(asking, &server.clone()?).await?;
            expect(info.has_identity("server", "im"), || format!("identities {:?}", info.identities))?;
            Ok(format!("{} features", info.features.len()))
        })
        .await;
    report
        .check(&format!("{way} disco#items of the server"), async {
            let query = Iq::get(server.clone()?).payload(&DiscoItemsQuery::default());
            let items: DiscoItems = asking.query(query).await?;
            Ok(format!("{} items", items.items.len()))
        })
        .await;
    for (whom, address) in [("the server", server.clone()), ("the other client", Ok(two.full()))] {
        report
            .check(&format!("{way} ping of {whom}"), async {
                asking.request(Iq::get(address.clone()?).payload(&Ping)).await?;
                Ok(String::new())
            })
            .await;
        report
            .check(&format!("{way} version of {whom}"), async {
                let version: Version = asking.query(Iq::get(address.clone()?).payload(&VersionQuery)).await?;
                expect(!version.name.is_empty() && !version.version.is_empty(), || format!("{version:?}"))?;
                Ok(format!("{} {}", version.name, version.version))
            })
            .await;
        report
            .check(&format!("{way} unknown request to {whom} is service-unavailable"), async {
                for request in [Iq::get(address.clone()?), Iq::set(address.clone()?)] {
                    match asking.request(request.payload(&Unknown)).await {
                        Err(RequestError::Refused(error)) => {
                            expect_eq("the condition", error.condition, Condition::ServiceUnavailable)?;
                        }
                        other => return Err(format!("{other:?}").into()),
                    }
                }
                Ok(String::new())
            })
            .await;
    }
    report
        .check(&format!("{way} disco#info of the other client"), async {
            let info = info(asking, &two.full()).await?;
            expect(info.has_identity("client", "bot"), || format!("identities {:?}", info.identities))?;
            expect(info.has_feature("urn:xmpp:ping"), || format!("features {:?}", info.features))?;
            Ok(String::new())
        })
        .await;
    report
        .check(&format!("{way} request to who is not there is service-unavailable"), async {
            let nobody = format!("{}@{}/nobody", second.name, peer.domain).parse::<Jid>()?;
            match asking.request(Iq::get(nobody).payload(&Ping)).await {
                Err(RequestError::Refused(error)) => {
                    expect_eq("the condition", error.condition, Condition::ServiceUnavailable)?;
                }
                other => return Err(format!("{other:?}").into()),
            }
            Ok(String::new())
        })
        .await;
    one.client.close().await;
    two.client.close().await;
}

async fn info(asking: &Client, whom: &Jid) -> Checked<DiscoInfo> {
    Ok(asking.query(Iq::get(whom.clone()).payload(&DiscoInfoQuery::default())).await?)
}
