//! A server inside a program, with a user table of the program's own.
//!
//! `cargo run --example embedded_server` listens on 127.0.0.1:5222 and knows two users, ada and grace, whose
//! passwords are their names.

use std::collections::HashMap;
use xmpp_core::{
    jid::BareJid,
    net::{ServerTls, tls::SelfSigned},
    sasl::{Hash, ScramCredentials},
    server::{Accounts, AccountsError, Server, hash_password},
};

/// Whatever the program has: a database, a directory, a file. Here a map.
struct Users(HashMap<String, ScramCredentials>);

impl Users {
    fn new(names: &[&str]) -> Users {
        let user = |name: &&str| (name.to_string(), hash_password(Hash::Sha256, name));
        Users(names.iter().map(user).collect())
    }
}

impl Accounts for Users {
    async fn credentials(&self, user: &BareJid, hash: Hash) -> Result<Option<ScramCredentials>, AccountsError> {
        let stored = user.local().and_then(|name| self.0.get(name));
        Ok(stored.filter(|stored| stored.hash == hash).cloned())
    }

    async fn exists(&self, user: &BareJid) -> Result<bool, AccountsError> {
        Ok(user.local().is_some_and(|name| self.0.contains_key(name)))
    }

    fn hashes(&self) -> &[Hash] {
        &[Hash::Sha256]
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let certificate = SelfSigned::generate(&["localhost"], 30)?;
    let server = Server::builder("localhost")
        .accounts(Users::new(&["ada", "grace"]))
        .tls(ServerTls::single(certificate.certificate_key)?)
        .with(xmpp_im::roster::server(xmpp_im::roster::MemoryRosters::new()))
        .with(xmpp_im::delivery::server)
        .build()?;
    let address = server.listen("127.0.0.1:5222".parse()?).await?;
    println!("listening on {address}; users ada and grace, each with the name as password");
    println!("the certificate to trust:\n{}", certificate.certificate_pem);
    server.stopped().await;
    Ok(())
}
