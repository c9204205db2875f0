//! An account of one's own: registered before the login, used, given another password, removed (XEP-0077).

use crate::{
    check::{Report, expect},
    peer::{Peer, User, Way},
    session::Session,
};
use xmpp_im::registration::{self, RegisterError};

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let name = format!("newcomer-{way}-{}", std::process::id());
    let user = |password: &str| User { name: name.clone(), password: password.to_owned() };
    let (first, second) = (user("a first password"), user("a second password"));
    report
        .check(&format!("{way} an account is registered, and logs in"), async {
            registration::register(peer.user(way, &first, "new")?, &first.password, None).await?;
            Session::login(peer.user(way, &first, "new")?).await?;
            Ok(String::new())
        })
        .await;
    report
        .check(&format!("{way} a name that is taken is a conflict"), async {
            let again = registration::register(peer.user(way, &first, "new")?, &first.password, None).await;
            expect(matches!(again, Err(RegisterError::Conflict)), || format!("{again:?}"))?;
            Ok(String::new())
        })
        .await;
    report
        .check(&format!("{way} the password is changed, and the account removed"), async {
            let session = Session::login(peer.user(way, &first, "changes")?).await?;
            registration::change_password(&session.client, &second.password).await?;
            let session = Session::login(peer.user(way, &second, "removes")?).await?;
            registration::remove_account(&session.client).await?;
            let gone = Session::login(peer.user(way, &second, "gone")?).await;
            expect(gone.is_err(), || "the account is still there".to_owned())?;
            Ok(String::new())
        })
        .await;
}
