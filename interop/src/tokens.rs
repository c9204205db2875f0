//! SASL2, Bind 2 and tokens (XEP-0388, XEP-0386, XEP-0484), where the server has them.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way, optional},
};
use xmpp_core::{
    client::{ClientBuilder, Event},
    jid::FullJid,
    sasl::Mechanism,
    stream::{FastToken, UserAgent},
};

struct Login {
    jid: FullJid,
    mechanism: Option<Mechanism>,
    token: Option<FastToken>,
}

async fn log_in(builder: ClientBuilder) -> Checked<Login> {
    let (client, mut events) = builder.no_reconnect().connect()?;
    let login = match events.next().await {
        Some(Event::Online { jid, mechanism, token, .. }) => Login { jid, mechanism, token },
        other => return Err(format!("not online but {other:?}").into()),
    };
    client.close().await;
    Ok(login)
}

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let [first, ..] = &peer.users;
    let id = UserAgent::new_id();
    let builder = || -> Checked<ClientBuilder> {
        // Without a resource: the server makes it.
        Ok(peer.client(way, &format!("{}@{}", first.name, peer.domain), &first.password)?.user_agent(
            id.clone(),
            "interop",
            "a test",
        ))
    };
    let token = match async { log_in(builder()?).await }.await {
        Ok(Login { token: Some(token), .. }) => token,
        Ok(_) => return report.skip(&format!("{way} login by token"), "the server gives none"),
        Err(error) => {
            let failed = async { Err(error) };
            return report.check(&format!("{way} login by SASL2"), failed).await;
        }
    };
    report
        .check(&format!("{way} login by token"), async {
            let login = log_in(builder()?.token(token.clone())).await?;
            expect_eq("the mechanism", &login.mechanism, &Some(token.mechanism))?;
            expect(login.jid.resource().starts_with("interop"), || format!("the tag is not in {}", login.jid))?;
            Ok(format!("{} as {}", token.mechanism, login.jid))
        })
        .await;
    let name = format!("{way} a wrong token gives way to the password");
    if optional("TOKEN_OR_NOTHING").is_some() {
        return report.skip(&name, "after a wrong token the server takes nothing else on that stream");
    }
    report
        .check(&name, async {
            let wrong = FastToken { secret: "guessed".into(), ..token.clone() };
            let login = log_in(builder()?.token(wrong)).await?;
            expect(login.mechanism != Some(token.mechanism), || "logged in by a guess".into())?;
            Ok(String::new())
        })
        .await;
}
