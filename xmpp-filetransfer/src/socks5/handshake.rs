//! The handshake over a connection.

use super::{Accepting, Asking, HandshakeError, Progress, Refusal, StreamHash, granted};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Which stream a peer asks for that has connected. It is not granted yet. Cancelled, the connection is of no more use.
pub(crate) async fn asked<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> io::Result<StreamHash> {
    let mut end = Accepting::new();
    loop {
        let progress = step(socket, end.wants(), |bytes| end.input(bytes)).await?;
        if let Some(hash) = progress {
            return Ok(hash);
        }
    }
}

/// Grants the stream that was asked for.
pub(crate) async fn grant<S: AsyncWrite + Unpin>(socket: &mut S, hash: &StreamHash) -> io::Result<()> {
    socket.write_all(&granted(hash)).await
}

/// Asks for a stream where we have connected to.
#[cfg(feature = "client")]
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S, hash: StreamHash) -> io::Result<()> {
    let (mut end, greeting) = Asking::new(hash);
    socket.write_all(&greeting).await?;
    while step(socket, end.wants(), |bytes| end.input(bytes)).await?.is_none() {}
    Ok(())
}

async fn step<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    wants: usize,
    input: impl FnOnce(&[u8]) -> Result<Progress, Refusal>,
) -> io::Result<Option<StreamHash>> {
    let mut buffer = [0; 257];
    let room = buffer.get_mut(..wants.clamp(1, 257)).unwrap_or_default();
    let count = socket.read(room).await?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match input(buffer.get(..count).unwrap_or_default()) {
        Ok(Progress::More) => Ok(None),
        Ok(Progress::Send(bytes)) => socket.write_all(&bytes).await.map(|()| None),
        Ok(Progress::Stream(hash)) => Ok(Some(hash)),
        Err(refusal) => {
            if !refusal.reply.is_empty() {
                socket.write_all(&refusal.reply).await?;
                socket.shutdown().await?;
            }
            Err(refusal.error.into())
        }
    }
}
