//! What all connections of bytestreams have.

use socket2::{SockRef, TcpKeepalive};
use std::{io, time::Duration};
use tokio::net::TcpStream;

/// How long a connection is silent before the kernel asks whether it still leads anywhere, and how often then. Nobody else would
/// see that it does not, where the other side may be silent for as long as it likes.
const SILENCE: Duration = Duration::from_secs(30);

/// Small writes go at once, and a connection that leads nowhere any more ends.
pub(super) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let often = TcpKeepalive::new().with_time(SILENCE);
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd", windows))]
    let often = often.with_interval(SILENCE / 3);
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&often) {
        tracing::debug!(%error, "a connection cannot be watched");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_that_leads_nowhere_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!SockRef::from(&socket).keepalive().unwrap());
        prepare(&socket).unwrap();
        assert!(SockRef::from(&socket).keepalive().unwrap());
    }
}
