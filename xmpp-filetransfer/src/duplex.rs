//! What every road between two clients comes to.

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A bytestream between two clients, whatever carries it.
pub type ByteStream = Box<dyn Duplex>;
