//! Files from one client to another, over an embedded server.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod abroad;
mod crowd;
mod fetch;
mod lies;
mod offers;
mod older;
mod places;
mod roads;
mod silence;
mod spoilt;
mod support;
mod takers;
mod villain;

use support::*;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use xmpp_core::{
    client::{Client, Events},
    jid::FullJid,
    server::{MemoryAccounts, Server},
    stanza::Presence,
};
use xmpp_filetransfer::{
    client::{FilesClient, FilesSettings, Offer, Offers, Phase, Report, Road, Transfer, TransferError, client_with},
    proxy65::Proxy65,
};
