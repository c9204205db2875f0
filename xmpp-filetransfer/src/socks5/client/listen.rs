//! Waits for the other side at our own addresses.

use super::socket::prepare;
use crate::socks5::{StreamHash, handshake};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

/// Handshakes at a time, of one stream.
const HANDSHAKES: usize = 8;
/// Connections that have said the right thing and that nobody has taken yet.
const ARRIVALS: usize = 8;
/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Open ports, one at each address. Dropped, they are closed, and so is what came and was not taken.
#[derive(Debug)]
pub(super) struct Listening {
    /// Where they are.
    pub(super) places: Vec<SocketAddr>,
    /// Who has come, with the number of the place.
    arrivals: mpsc::Receiver<(usize, TcpStream)>,
    _tasks: JoinSet<()>,
}

/// Opens ports for a stream that goes by either of these names. Who does not ask for it within `limit` is sent away.
pub(super) async fn listen(addresses: Vec<IpAddr>, hashes: [StreamHash; 2], limit: Duration) -> Listening {
    let (sender, arrivals) = mpsc::channel(ARRIVALS);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let (mut places, mut tasks) = (Vec::new(), JoinSet::new());
    for ip in addresses {
        let bound = TcpListener::bind((ip, 0)).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let Ok((place, listener)) = bound else { continue };
        let number = places.len();
        places.push(place);
        let (sender, handshakes) = (sender.clone(), Arc::clone(&handshakes));
        tasks.spawn(async move { accept(listener, number, hashes, limit, handshakes, sender).await });
    }
    Listening { places, arrivals, _tasks: tasks }
}

async fn accept(
    listener: TcpListener,
    number: usize,
    hashes: [StreamHash; 2],
    limit: Duration,
    handshakes: Arc<Semaphore>,
    arrivals: mpsc::Sender<(usize, TcpStream)>,
) {
    let mut tasks = JoinSet::new();
    loop {
        // Whoever comes when all places are taken waits in the kernel's queue until one is free, which is soon.
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        while tasks.try_join_next().is_some() {}
        let Ok((mut socket, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let arrivals = arrivals.clone();
        tasks.spawn(async move {
            let _permit = permit;
            let greeted = async {
                prepare(&socket)?;
                let hash = handshake::asked(&mut socket).await?;
                if !hashes.contains(&hash) {
                    return Err(std::io::ErrorKind::PermissionDenied.into());
                }
                handshake::grant(&mut socket, &hash).await
            };
            match tokio::time::timeout(limit, greeted).await {
                // Who comes too often finds no room.
                Ok(Ok(())) => drop(arrivals.try_send((number, socket))),
                Ok(Err(error)) => tracing::debug!(%error, "somebody has connected who does not know the stream"),
                Err(_) => tracing::debug!("somebody has connected who says nothing"),
            }
        });
    }
}

impl Listening {
    /// Who comes next; never, where no port is open. Cancel-safe.
    pub(super) async fn next(&mut self) -> (usize, TcpStream) {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            None => std::future::pending().await,
        }
    }
}
