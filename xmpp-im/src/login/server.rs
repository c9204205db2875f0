//! The server notes logins, and tells what is to be told.

use super::LoginStore;
use crate::storage::forget_removed;
use std::{
    collections::HashSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use xmpp_core::{
    jid::Jid,
    server::{Resource, Server, ServerRegistrar},
    stanza::Message,
};

/// Notes who logs in, and tells them what there is to tell. Users without an account are told nothing.
pub fn server(store: Arc<dyn LoginStore>) -> impl FnOnce(&mut ServerRegistrar) {
    move |r| {
        let noted = r.session_flag();
        let noting = Arc::clone(&store);
        r.on_availability(move |server, resource, _| {
            let first = resource.priority.is_some() && !resource.has(noted);
            if first && has_account(server, &resource.jid) && server.flag_resource(resource, noted, true) {
                let (store, server, jid) = (Arc::clone(&noting), server.clone(), resource.jid.clone());
                server.clone().spawn(async move { logged_in(&*store, &server, &jid).await });
            }
        });
        forget_removed(r, move |user| {
            let store = Arc::clone(&store);
            Box::pin(async move { store.forget(&user).await })
        });
    }
}

/// Users without an account are not seen again.
fn has_account(server: &Server, user: &Jid) -> bool {
    !server.admits_anonymous(user.domain())
}

async fn logged_in(store: &dyn LoginStore, server: &Server, session: &Jid) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match store.login(&session.to_bare(), now).await {
        Ok(notices) => notices.iter().for_each(|text| tell(server, session, text)),
        Err(error) => tracing::error!(%error, "a login is not noted"),
    }
}

/// In a normal message, which is stored if the session is gone by now.
fn tell(server: &Server, to: &Jid, text: &str) {
    let Ok(from) = Jid::new(to.domain()) else { return };
    let message = Message::normal(to.clone()).from(from.clone()).body(text).build();
    server.send(from, to.clone(), message.into_stanza());
}

/// Tells the message of the day to the users who are online and were not told it, one after another, until all are told or
/// the server is to stop: who is not told now is told with the next login.
pub(crate) async fn tell_everybody(store: Arc<dyn LoginStore>, server: Server) {
    let mut online = HashSet::new();
    server.each_resource(|Resource { jid, priority, .. }| {
        if priority.is_some() && has_account(&server, &jid) {
            online.insert(jid.to_bare());
        }
    });
    let telling = async {
        for user in &online {
            match store.news(user).await {
                Ok(Some(text)) => tell(&server, &user.into(), &text),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the message of the day is not told"),
            }
        }
    };
    tokio::select! {
        () = telling => {}
        () = server.stopped() => {}
    }
}
