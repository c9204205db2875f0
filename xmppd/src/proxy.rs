//! What of the relay of bytestreams can be configured.

use crate::{Outcome, handed::Handed};
use serde::Deserialize;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use xmpp_core::{jid::BareJid, server::ServerBuilder};
use xmpp_filetransfer::proxy65::{Proxy65, Proxy65Settings};

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Proxy {
    listen: Vec<SocketAddr>,
    domain: Option<String>,
    name: String,
    host: Option<String>,
    port: Option<u16>,
    r#use: Use,
    streams: usize,
    streams_of_user: usize,
    waiting: usize,
    of_address: usize,
    of_network: usize,
    bytes_per_second: u32,
}

/// Who may use it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Use {
    Anyone,
    Local,
}

impl Default for Proxy {
    fn default() -> Proxy {
        let settings = Proxy65Settings::default();
        Proxy {
            listen: Vec::new(),
            domain: None,
            name: settings.name,
            host: None,
            port: None,
            r#use: Use::Local,
            streams: settings.streams,
            streams_of_user: settings.streams_of_user,
            waiting: settings.waiting,
            of_address: settings.of_address,
            of_network: settings.of_network,
            bytes_per_second: 0,
        }
    }
}

impl Proxy {
    /// The relay's domain, if there is one: of the server's first domain unless another is given.
    fn domain(&self, domains: &[&str]) -> Option<String> {
        let first = domains.first().copied().unwrap_or("localhost");
        (!self.listen.is_empty()).then(|| self.domain.clone().unwrap_or_else(|| format!("proxy.{first}")))
    }

    pub(crate) fn check(&self, domains: &[&str]) -> Outcome<()> {
        let Some(domain) = self.domain(domains) else { return Ok(()) };
        if !BareJid::new(&domain).is_ok_and(|jid| jid.local().is_none()) {
            return Err(format!("proxy.domain: {domain:?} is no domain").into());
        }
        if self.port == Some(0) {
            return Err("proxy.port: nobody can connect to port 0".into());
        }
        if [self.streams, self.streams_of_user, self.of_address].contains(&0)
            || [self.waiting, self.of_address, self.of_network].iter().any(|least| *least < 2)
        {
            return Err("proxy: a stream needs two connections that wait, and a place".into());
        }
        Ok(())
    }

    fn settings(&self) -> Proxy65Settings {
        let mut settings = Proxy65Settings::default();
        settings.name.clone_from(&self.name);
        settings.streams = self.streams;
        settings.streams_of_user = self.streams_of_user;
        settings.waiting = self.waiting;
        settings.of_address = self.of_address;
        settings.of_network = self.of_network;
        settings.bytes_per_second = (self.bytes_per_second > 0).then_some(self.bytes_per_second);
        if self.r#use == Use::Anyone {
            settings.may_use = Some(Arc::new(|_| true));
        }
        settings
    }

    /// Opens the ports, and adds the relay to the server.
    pub(crate) async fn compose(
        &self,
        builder: ServerBuilder,
        domains: &[&str],
        handed: &mut Handed,
    ) -> Outcome<ServerBuilder> {
        let Some(domain) = self.domain(domains) else { return Ok(builder) };
        let mut relay = Proxy65::new(&domain).settings(self.settings());
        let mut advertised = Vec::new();
        for address in &self.listen {
            let listener = match handed.take(*address) {
                Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
                None => TcpListener::bind(address).await,
            };
            let listener = listener
                .map_err(|error| format!("cannot listen on {address} for bytestreams (proxy.listen): {error}"))?;
            let port = self.port.unwrap_or(listener.local_addr()?.port());
            if !advertised.contains(&port) {
                advertised.push(port);
            }
            relay = relay.listen(listener)?;
        }
        let host = self.host.as_deref().unwrap_or(&domain);
        Ok(builder.with(advertised.into_iter().fold(relay, |relay, port| relay.advertise(host, port))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Proxy {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_relay_is_there_where_it_listens() {
        assert_eq!(Proxy::default().domain(&["example.org"]), None);
        assert_eq!(read("listen = ['[::]:7777']").domain(&["example.org", "b"]).unwrap(), "proxy.example.org");
        let named = read("listen = ['[::]:7777']\ndomain = 'files.example.org'");
        assert_eq!(named.domain(&["example.org"]).unwrap(), "files.example.org");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (wrong, says) in [
            ("domain = 'a@b'", "proxy.domain"),
            ("port = 0", "port 0"),
            ("waiting = 1", "two connections"),
            ("streams = 0", "a place"),
        ] {
            let text = format!("listen = ['127.0.0.1:7777']\n{wrong}");
            let error = read(&text).check(&["example.org"]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(read(wrong).check(&["example.org"]).is_ok(), "without a port it does not matter");
        }
        assert!(toml::from_str::<Proxy>("use = 'nobody'").is_err());
    }

    #[test]
    fn settings_are_handed_on() {
        let settings = read("bytes_per_second = 7\nuse = 'anyone'\nstreams = 3").settings();
        assert_eq!((settings.bytes_per_second, settings.streams), (Some(7), 3));
        assert!(settings.may_use.is_some());
        let settings = read("").settings();
        assert!(settings.bytes_per_second.is_none() && settings.may_use.is_none());
    }
}
