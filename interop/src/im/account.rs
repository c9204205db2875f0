//! What a server keeps for an account, and what it can be asked: each only where service discovery names it.

use super::{
    Features, TRICKY,
    device::{Device, soon},
};
use crate::{
    check::{Checked, Report, expect_eq},
    peer::Peer,
    session::{Session, refusal},
};
use xmpp_core::{
    client::{Client, ConnectionError, RequestError},
    jid::Jid,
    payload::{
        Payload,
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        last::{self, LastActivity, LastQuery},
        ping::Ping,
    },
    stanza::{Condition, Iq},
    stream::NegotiationError,
};
use xmpp_im::{
    blocking::{self, BlockChange},
    chat::Progress,
    command, private, registration, search,
    vcard::{self, VCard},
};

/// Something that a client keeps for itself.
#[derive(Debug, PartialEq, Payload)]
#[xml(name = "notes", ns = "urn:example:interop")]
struct Notes {
    #[xml(attr)]
    number: u32,
    #[xml(text)]
    text: String,
}

pub(super) async fn checks(report: &mut Report, peer: &Peer, features: &Features) {
    let mut pair = None;
    report
        .check("im two accounts with something to keep", async {
            let romeo = Device::available(peer, &peer.users[0], "keeps").await?;
            let juliet = Device::available(peer, &peer.users[1], "keeps too").await?;
            pair = Some((romeo, juliet));
            Ok(String::new())
        })
        .await;
    let Some((mut romeo, mut juliet)) = pair else { return };
    let domain: Jid = romeo.jid.domain().parse().unwrap_or_else(|_| romeo.full());
    if features.has(blocking::NS) {
        report
            .check("im blocking: who is blocked cannot write, and can again", blocked(peer, &mut romeo, &mut juliet))
            .await;
    } else {
        report.skip("im blocking", "the server has none");
    }
    if features.has(vcard::NS) {
        report.check("im vCard: stored, and seen by another", card(&romeo, &juliet)).await;
    } else {
        report.skip("im vCard", "the server has none");
    }
    private_xml(report, &romeo.client, features).await;
    if features.has(command::NS) {
        report
            .check("im commands of the server are listed", async {
                let commands = command::list(&romeo.client, &domain).await?;
                Ok(format!("{}", commands.len()))
            })
            .await;
    } else {
        report.skip("im commands", "the server has none");
    }
    if features.has(last::NS) {
        report.check("im last activity of the account and of the server", activity(&romeo, &domain)).await;
    } else {
        report.skip("im last activity", "the server tells none");
    }
    match directory(&romeo.client, &domain).await {
        Some(directory) => report.check("im search in a directory", found(&romeo, &directory)).await,
        None => report.skip("im search", "the server has no directory"),
    }
    report
        .check("im two accounts that keep something close", async {
            romeo.close().await?;
            juliet.close().await?;
            Ok(String::new())
        })
        .await;
    if features.has(registration::NS) {
        report.check("im another password", password(peer)).await;
    } else {
        report.skip("im another password", "the server changes none");
    }
}

async fn blocked(peer: &Peer, romeo: &mut Device, juliet: &mut Device) -> Checked<String> {
    let (client, theirs) = (&romeo.client, Jid::from(juliet.bare()));
    let (told, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let listener = blocking::client(move |change| drop(told.send(change)));
    let saved = Default::default();
    let phone = Device::with(peer, &peer.users[0], "phone", saved, |builder| builder.with(listener)).await?;
    // Who has asked for the list is told of changes.
    expect_eq("the list", blocking::list(&phone.client).await?, vec![])?;
    blocking::list(client).await?;
    blocking::block(client, [theirs.clone()]).await?;
    let change = soon("the push", async { Ok(changes.recv().await.ok_or("the client has ended")?) }).await?;
    expect_eq("what the other client learns", change, BlockChange::Blocked(vec![theirs.clone()]))?;
    expect_eq("the list", blocking::list(&phone.client).await?, vec![theirs.clone()])?;
    match juliet.client.request(Iq::get(romeo.full()).payload(&Ping)).await {
        Err(RequestError::Refused(error)) => {
            expect_eq("the condition", error.condition, Condition::ServiceUnavailable)?
        }
        other => return Err(format!("a request came through: {other:?}").into()),
    }
    juliet.chat(romeo)?.send("blocked").await?;
    juliet.sync().await?;
    let mut out = romeo.chat(juliet)?.send("to who is blocked").await?;
    let refused = soon("the refusal", async {
        loop {
            match out.progress() {
                Progress::Failed(condition) => return Ok(condition),
                _ => drop(out.changed().await.ok_or("nothing more will be told of it")?),
            }
        }
    });
    expect_eq("the condition", refused.await?, Condition::NotAcceptable)?;
    blocking::unblock(client, [theirs.clone()]).await?;
    let change = soon("the push", async { Ok(changes.recv().await.ok_or("the client has ended")?) }).await?;
    expect_eq("what the other client learns", change, BlockChange::Unblocked(vec![theirs.clone()]))?;
    blocking::block(client, [theirs]).await?;
    blocking::unblock_all(client).await?;
    expect_eq("the list", blocking::list(client).await?, vec![])?;
    juliet.chat(romeo)?.send("free").await?;
    romeo.reads("free").await?;
    phone.close().await?;
    Ok(String::new())
}

async fn card(romeo: &Device, juliet: &Device) -> Checked<String> {
    let own = VCard::write_with(|out| {
        out.text_element("FN", vcard::NS, TRICKY);
        out.text_element("NICKNAME", vcard::NS, "Romeo");
    });
    vcard::set(&romeo.client, &own).await?;
    expect_eq("one's own", vcard::get(&romeo.client, None).await?.text("FN").as_deref(), Some(TRICKY))?;
    let seen = vcard::get(&juliet.client, Some(&romeo.bare())).await?;
    expect_eq("the name", seen.text("FN").as_deref(), Some(TRICKY))?;
    expect_eq("the nickname", seen.text("NICKNAME").as_deref(), Some("Romeo"))?;
    Ok(String::new())
}

/// Not all that have it name it: a refusal says so too.
async fn private_xml(report: &mut Report, client: &Client, features: &Features) {
    let notes = Notes { number: 7, text: TRICKY.to_owned() };
    let stored = private::set(client, &notes).await;
    if !features.has(private::NS)
        && matches!(&stored, Err(RequestError::Refused(error)) if error.condition == Condition::ServiceUnavailable)
    {
        return report.skip("im private XML", "the server has none");
    }
    report
        .check("im private XML: stored and read", async {
            stored?;
            expect_eq("the notes", private::get::<Notes>(client).await?, notes)?;
            Ok(String::new())
        })
        .await;
}

async fn activity(romeo: &Device, domain: &Jid) -> Checked<String> {
    let uptime: LastActivity = romeo.client.query(Iq::get(domain.clone()).payload(&LastQuery)).await?;
    let account: LastActivity = romeo.client.query(Iq::get(Jid::from(romeo.bare())).payload(&LastQuery)).await?;
    Ok(format!("up for {} s, idle for {} s", uptime.seconds, account.seconds))
}

/// A service of the server that says it can be searched.
async fn directory(client: &Client, domain: &Jid) -> Option<Jid> {
    let query = Iq::get(domain.clone()).payload(&DiscoItemsQuery::default());
    let items: DiscoItems = client.query(query).await.ok()?;
    for item in items.items {
        let info = client.query::<DiscoInfo>(Iq::get(item.jid.clone()).payload(&DiscoInfoQuery::default())).await;
        if info.is_ok_and(|info| info.has_feature(search::NS)) {
            return Some(item.jid);
        }
    }
    None
}

async fn found(romeo: &Device, directory: &Jid) -> Checked<String> {
    let fields = search::fields(&romeo.client, directory).await?;
    let (client, own) = (&romeo.client, Jid::from(romeo.bare()));
    let Some(form) = fields.form else { return Err(format!("no form: {fields:?}").into()) };
    let nick = form.fields.iter().filter_map(|field| field.var.as_deref()).find(|var| var.starts_with("nick"));
    let nick = nick.ok_or_else(|| format!("no nickname among {:?}", form.fields))?;
    let wanted = xmpp_core::payload::form::DataForm::typed(
        xmpp_core::payload::form::FormKind::Submit,
        form.form_type().unwrap_or(search::NS),
    );
    let wanted = wanted.with(xmpp_core::payload::form::Field::new(nick).value("Romeo"));
    let wanted = search::Search { form: Some(wanted), ..search::Search::default() };
    // The index is written when it suits the server.
    soon("somebody in the directory", async {
        loop {
            let found = search::search(client, directory, &wanted).await?;
            let rows = found.form.map(|form| format!("{form:?}")).unwrap_or_default();
            if rows.contains(own.as_str()) || found.items.iter().any(|item| item.jid == own) {
                return Ok(String::new());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await
}

/// XEP-0077 §3.3.
async fn password(peer: &Peer) -> Checked<String> {
    let (user, way) = (&peer.users[1], crate::peer::Way::StartTls);
    let session = Session::login(peer.user(way, user, "changes")?).await?;
    registration::change_password(&session.client, "another 'pässword' €").await?;
    session.client.close().await;
    let address = format!("{}@{}/changes", user.name, peer.domain);
    let again = Session::login(peer.client(way, &address, "another 'pässword' €")?).await?;
    match refusal(peer.user(way, user, "changes")?).await? {
        ConnectionError::Negotiation(NegotiationError::Refused(_)) => {}
        other => return Err(format!("the old password: {other:?}").into()),
    }
    registration::change_password(&again.client, &user.password).await?;
    again.client.close().await;
    Session::login(peer.user(way, user, "changes")?).await?.client.close().await;
    Ok(String::new())
}
