//! The server that is checked, from the environment.

use crate::check::Checked;
use std::{
    env,
    fmt::{self, Display},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;
use xmpp_core::{
    client::{Backoff, Client, ClientBuilder},
    jid::Jid,
    net::ClientTls,
};

/// How a connection is secured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    StartTls,
    DirectTls,
    WebSocket,
    Bosh,
}

impl Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::StartTls => "starttls",
            Way::DirectTls => "direct-tls",
            Way::WebSocket => "websocket",
            Way::Bosh => "bosh",
        })
    }
}

impl Way {
    /// Whether it is among `WAYS`, if that is set: names with blanks between them.
    pub(crate) fn is_wanted(self) -> bool {
        optional("WAYS").is_none_or(|ways| ways.split(' ').any(|way| way == self.to_string()))
    }
}

/// An account's name and password.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// Where the server is, and what it has.
pub(crate) struct Peer {
    host: String,
    starttls: u16,
    direct: u16,
    /// Its WebSocket, if it has one.
    pub(crate) websocket: Option<String>,
    pub(crate) domain: String,
    tls: ClientTls,
    pub(crate) users: [User; 3],
}

impl Peer {
    pub(crate) fn from_env() -> Checked<Peer> {
        let user = |n: u8| -> Checked<User> {
            Ok(User { name: var(&format!("USER{n}"))?, password: var(&format!("PASSWORD{n}"))? })
        };
        Ok(Peer {
            host: var("HOST")?,
            starttls: var("C2S_PORT")?.parse()?,
            direct: var("TLS_PORT")?.parse()?,
            websocket: optional("WSS_URL").or_else(|| optional("WS_URL")),
            domain: var("DOMAIN")?,
            tls: trusted()?,
            users: [user(1)?, user(2)?, user(3)?],
        })
    }

    /// Host and port.
    pub(crate) fn address(&self, way: Way) -> (String, u16) {
        (self.host.clone(), if way == Way::StartTls { self.starttls } else { self.direct })
    }

    /// A client that tries again soon, so that one which should not is seen to.
    pub(crate) fn client(&self, way: Way, account: &str, password: &str) -> Checked<ClientBuilder> {
        let builder = Client::builder(account.parse::<Jid>()?, password);
        let builder = match way {
            Way::StartTls => builder.server(&self.host, self.starttls),
            Way::DirectTls => builder.server_tls(&self.host, self.direct),
            Way::WebSocket => {
                let url = self.websocket.clone().ok_or("the server has no WebSocket")?;
                if url.starts_with("ws:") { builder.websocket(url).allow_plaintext() } else { builder.websocket(url) }
            }
            Way::Bosh => {
                let url = bosh_url().ok_or("the server has no BOSH")?;
                let bare = optional("BOSH_SASL2").as_deref() == Some("0");
                let builder = if bare { builder.without_sasl2() } else { builder };
                if url.starts_with("http:") { builder.bosh(url).allow_plaintext() } else { builder.bosh(url) }
            }
        };
        let backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_millis(500) };
        Ok(builder.tls(self.tls.clone()).backoff(backoff).request_timeout(Duration::from_secs(300)))
    }

    /// As [`client`](Self::client), for one of the three users.
    pub(crate) fn user(&self, way: Way, user: &User, resource: &str) -> Checked<ClientBuilder> {
        self.client(way, &format!("{}@{}/{resource}", user.name, self.domain), &user.password)
    }

    /// Ends the server without a word, or brings it back with the same ports and data.
    pub(crate) async fn control(&self, command: &str) -> Checked {
        let status = Command::new(var("PEER_SCRIPT")?)
            .arg(command)
            .arg(var("PEER_DIR")?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        if status.success() { Ok(()) } else { Err(format!("the server cannot be told to {command}").into()) }
    }
}

/// Where the server has BOSH, over TLS if it can be had so.
pub(crate) fn bosh_url() -> Option<String> {
    optional("BOSHS_URL").or_else(|| optional("BOSH_URL"))
}

/// A variable that must be there.
pub(crate) fn var(name: &str) -> Checked<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// What only some peers have.
pub(crate) fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Trust in the peer's own CA alone.
pub(crate) fn trusted() -> Checked<ClientTls> {
    let pem = std::fs::read(var("CA")?)?;
    Ok(ClientTls::builder().only_roots().add_root_pem(&pem)?.build()?)
}
