//! The yardstick: the smallest tokio program that reads a stanza on one socket and writes it to another.
//!
//! Every two connections to its first port, in the order of their arrival, are a pair. Its second port is for requests:
//! what comes is written back. On its third, connections are put into groups, and what comes on one is written to all of
//! its group. It looks at nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::error::Result;
use crate::rooms::GROUP;

/// Serves for `lifetime`, whatever happens: nothing started by a measurement outlives it for long.
pub(crate) async fn run(port: u16, lifetime: Duration) -> Result<()> {
    let pairs = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let fan = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{} {} {}", pairs.local_addr()?.port(), echo.local_addr()?.port(), fan.local_addr()?.port());
    let serve = async { tokio::try_join!(accept_pairs(pairs), accept_echo(echo), accept_groups(fan)).map(drop) };
    tokio::time::timeout(lifetime, serve).await.unwrap_or(Ok(()))
}

async fn accept_pairs(listener: TcpListener) -> Result<()> {
    loop {
        let (one_read, one_write) = accept(&listener).await?.into_split();
        let (two_read, two_write) = accept(&listener).await?.into_split();
        tokio::spawn(copy(one_read, two_write));
        tokio::spawn(copy(two_read, one_write));
    }
}

async fn accept_echo(listener: TcpListener) -> Result<()> {
    loop {
        let (read, write) = accept(&listener).await?.into_split();
        tokio::spawn(copy(read, write));
    }
}

async fn accept_groups(listener: TcpListener) -> Result<()> {
    loop {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for _ in 0..GROUP {
            let (read, write) = accept(&listener).await?.into_split();
            reads.push(read);
            writes.push(write);
        }
        let writes = Arc::new(Mutex::new(writes));
        for read in reads {
            tokio::spawn(fan_out(read, Arc::clone(&writes)));
        }
    }
}

async fn fan_out(mut from: OwnedReadHalf, to: Arc<Mutex<Vec<OwnedWriteHalf>>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        for write in to.lock().await.iter_mut() {
            if write.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
                return;
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if to.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
            break;
        }
    }
}
