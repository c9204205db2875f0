//! A server with tokens that listens with TLS on loopback, and clients that trust it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, ClientBuilder, ConnectionError, Event, Events},
    jid::Jid,
    net::{ClientTls, ServerTls, tls::CertificateKey},
    server::{MemoryTokens, Server, ServerBuilder},
};

/// Of localhost, and what trusts it.
pub fn certificate() -> (ServerTls, ClientTls) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key =
        CertificateKey::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let client = ClientTls::builder().add_root_pem(made.cert.pem().as_bytes()).unwrap().build().unwrap();
    (ServerTls::single(key).unwrap(), client)
}

pub struct House {
    pub server: Server,
    pub address: SocketAddr,
    pub tls: ClientTls,
    pub tokens: Arc<MemoryTokens>,
}

impl House {
    pub async fn of(builder: ServerBuilder) -> House {
        let (server_tls, tls) = certificate();
        let tokens = Arc::new(MemoryTokens::new());
        let server = builder.tls(server_tls).tokens(Arc::clone(&tokens)).secret([7; 32]).build().unwrap();
        let address = server.listen_tls("127.0.0.1:0".parse().unwrap()).await.unwrap();
        House { server, address, tls, tokens }
    }

    pub fn client(&self, jid: &str, password: &str) -> ClientBuilder {
        let account: Jid = jid.parse().unwrap();
        Client::builder(account, password).tls(self.tls.clone()).server_tls("127.0.0.1", self.address.port())
    }
}

/// Why a client is offline for good.
pub async fn offline(events: &mut Events) -> ConnectionError {
    loop {
        match timeout(Duration::from_secs(60), events.next()).await.unwrap() {
            Some(Event::Offline { error, retry: None, .. }) => return error,
            Some(_) => {}
            None => panic!("the client has ended without a word"),
        }
    }
}
