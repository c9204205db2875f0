//! A network that can fail without a word.

use crate::{
    check::Checked,
    peer::{Peer, Way},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
};
use xmpp_core::client::ClientBuilder;

/// A relay between a client and the server.
pub(crate) struct Wire {
    port: u16,
    way: Way,
    cuts: watch::Sender<u32>,
}

impl Wire {
    pub(crate) async fn to(peer: &Peer, way: Way) -> Checked<Wire> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let server = peer.address(way);
        let cuts = watch::Sender::new(0);
        let accepting = cuts.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (up, down) = (client.into_split(), server.into_split());
                for (from, to) in [(up.0, down.1), (down.0, up.1)] {
                    let mut cut = accepting.clone();
                    cut.mark_unchanged();
                    tokio::spawn(carry(from, to, cut));
                }
            }
        });
        Ok(Wire { port, way, cuts })
    }

    /// The client, sent this way.
    pub(crate) fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        match self.way {
            Way::StartTls => builder.server("127.0.0.1", self.port),
            Way::DirectTls => builder.server_tls("127.0.0.1", self.port),
            // Nobody lays a wire for these.
            Way::WebSocket | Way::Bosh => builder,
        }
    }

    /// Nothing comes through what is connected any more, and neither end is told. New connections work.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut cut: watch::Receiver<u32>) {
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::select! {
            biased;
            // Both sockets stay open for as long as the program runs.
            _ = cut.changed() => return std::future::pending().await,
            read = from.read(&mut buffer) => read,
        };
        match read {
            Ok(count) if count > 0 && to.write_all(buffer.get(..count).unwrap_or_default()).await.is_ok() => {}
            _ => return,
        }
    }
}
