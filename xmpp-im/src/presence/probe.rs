//! Answers to presence probes (RFC 6121 §4.3.2, §4.6.6).

use super::server::addressed;
use crate::roster::{chart::Act, server::Rosters};
use xmpp_core::{
    jid::Jid,
    server::{Resource, Server},
    stanza::{PresenceBuilder, PresenceType, StanzaError},
};

/// Answers a probe of `prober` for `to`, an account here or one that does not exist: both look the same to who is not
/// subscribed.
pub(crate) async fn answer_probe(
    rosters: &Rosters,
    server: &Server,
    prober: &Jid,
    to: &Jid,
    id: Option<&str>,
) -> Result<(), StanzaError> {
    let (user, contact) = (to.to_bare(), prober.to_bare());
    let subscribed = user == contact || rosters.store.record(&user, &contact).await?.state().subscription().is_from();
    if !subscribed && rosters.directed.has_told(to, prober) {
        mere(server, to, prober, PresenceType::Available, None);
    } else if !subscribed {
        let denial = PresenceBuilder::new(Some(contact.clone().into()), Act::Unsubscribed.presence_type());
        answer(server, denial, &user.into(), &contact.into(), id);
    } else if to.resource().is_some() {
        match available(server, to).find(|resource| &resource.jid == to) {
            Some(_) => mere(server, to, prober, PresenceType::Available, None),
            None => mere(server, to, prober, PresenceType::Unavailable, id),
        }
    } else {
        let mut nobody = true;
        for resource in available(server, to) {
            if let Some(presence) = &resource.presence {
                server.send(resource.jid.clone(), prober.clone(), addressed(presence, prober));
                nobody = false;
            }
        }
        if nobody {
            mere(server, to, prober, PresenceType::Unavailable, id);
        }
    }
    Ok(())
}

fn available(server: &Server, user: &Jid) -> impl Iterator<Item = Resource> {
    server.resources(user.bare_str()).into_iter().filter(|resource| resource.priority.is_some())
}

/// That somebody is there or not, and no more.
fn mere(server: &Server, from: &Jid, to: &Jid, type_: PresenceType, id: Option<&str>) {
    answer(server, PresenceBuilder::new(Some(to.clone()), type_), from, to, id);
}

/// §4.3.2.1: with the id of the probe, unless what is told has been told before.
fn answer(server: &Server, presence: PresenceBuilder, from: &Jid, to: &Jid, id: Option<&str>) {
    let presence = presence.from(from.clone());
    let presence = match id {
        Some(id) => presence.id(id),
        None => presence,
    };
    server.send(from.clone(), to.clone(), presence.build().into_stanza());
}
