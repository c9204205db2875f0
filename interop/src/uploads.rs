//! Files to the server's HTTP upload and back (XEP-0363).

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way},
    session::Session,
};
use std::{io::Cursor, path::PathBuf, time::Instant};
use xmpp_core::jid::Jid;
use xmpp_filetransfer::upload::client::{UploadClient as _, UploadError, Uploads, client};

/// A folder of this process.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Checked<Folder> {
        let path = std::env::temp_dir().join(format!("xmpp-interop-uploads-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from(n * 7 % 251).unwrap_or_default()).collect()
}

pub(crate) async fn checks(report: &mut Report, peer: &Peer) {
    report.check("a file goes up and comes down", up_and_down(peer)).await;
    report.check("a part of a file comes down", a_part(peer)).await;
    report.check("what is too large is told with the limit", too_large(peer)).await;
    report.check("a file that is too short is refused", too_short(peer)).await;
    match std::env::args().nth(2) {
        Some(size) => {
            report.check_within(std::time::Duration::from_secs(3_600), "a large file", large(peer, size)).await
        }
        None => report.skip("a large file", "its size is not named"),
    }
}

async fn uploads(peer: &Peer) -> Checked<(Session, Uploads)> {
    let session = Session::login(peer.user(Way::StartTls, &peer.users[0], "uploads")?.with(client)).await?;
    let uploads = session.client.uploads()?;
    Ok((session, uploads))
}

async fn up_and_down(peer: &Peer) -> Checked<String> {
    let (session, uploads) = uploads(peer).await?;
    let service = uploads.service().await?;
    let folder = Folder::new()?;
    let (file, copy) = (folder.0.join("très cool.png"), folder.0.join("copy.png"));
    let sent = content(300_000);
    std::fs::write(&file, &sent)?;
    let mut upload = uploads.put_path(&file, Some("image/png")).await?;
    let mut seen = 0;
    while let Some(progress) = upload.changed().await {
        seen = progress.done;
    }
    let uploaded = upload.finish().await?;
    expect_eq("the progress", seen, 300_000)?;
    let to: Jid = session.bare();
    expect(uploaded.message(to).build().body().as_deref() == Some(uploaded.url.as_str()), || "no body".into())?;
    let fetched = uploads.get(&uploaded.url).to_path(&copy).finish().await?;
    expect(std::fs::read(&copy)? == sent, || "another file came back".into())?;
    session.client.close().await;
    Ok(format!("{}, at most {:?} bytes, {:?}", service.jid, service.max_file_size, fetched.content_type))
}

async fn a_part(peer: &Peer) -> Checked<String> {
    let (session, uploads) = uploads(peer).await?;
    let sent = content(100_000);
    let upload = uploads.put(Cursor::new(sent.clone()), 100_000, "part.png", Some("image/png")).await?;
    let url = upload.finish().await?.url;
    let folder = Folder::new()?;
    let rest = folder.0.join("rest");
    let file = tokio::fs::File::create(&rest).await?;
    let fetched = uploads.get(&url).from(90_000).to(file).finish().await?;
    expect_eq("the size", fetched.size, 100_000)?;
    expect(std::fs::read(&rest)? == sent[90_000..], || "another part came back".into())?;
    session.client.close().await;
    Ok(String::new())
}

async fn too_large(peer: &Peer) -> Checked<String> {
    let (session, uploads) = uploads(peer).await?;
    let limit = uploads.service().await?.max_file_size.ok_or("it names no limit")?;
    let refused = uploads.put(tokio::io::empty(), limit + 1, "large.png", Some("image/png")).await;
    let Err(UploadError::TooLarge { limit: Some(told) }) = refused else {
        return Err(format!("not refused but {refused:?}").into());
    };
    expect_eq("the limit", told, limit)?;
    session.client.close().await;
    Ok(format!("{limit} bytes"))
}

async fn too_short(peer: &Peer) -> Checked<String> {
    let (session, uploads) = uploads(peer).await?;
    let upload = uploads.put(Cursor::new(content(10)), 11, "short.png", Some("image/png")).await?;
    let ended = upload.finish().await;
    expect(matches!(ended, Err(UploadError::Https(_))), || format!("not refused but {ended:?}"))?;
    session.client.close().await;
    Ok(String::new())
}

/// The most memory that this process had at a time, in kilobytes.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("?").to_owned()
}

async fn large(peer: &Peer, size: String) -> Checked<String> {
    let size: u64 = size.parse()?;
    let (session, uploads) = uploads(peer).await?;
    let folder = Folder::new()?;
    let before = peak();
    let zeros = tokio::io::AsyncReadExt::take(tokio::io::repeat(7), size);
    let start = Instant::now();
    let uploaded = uploads.put(zeros, size, "large.bin", None).await?.finish().await?;
    let up = start.elapsed();
    let start = Instant::now();
    let fetched = uploads.get(&uploaded.url).max_bytes(size).to_path(folder.0.join("large")).finish().await?;
    let down = start.elapsed();
    expect_eq("the size", fetched.size, size)?;
    uploaded.delete().await?;
    session.client.close().await;
    Ok(format!("{size} bytes up in {up:?}, down in {down:?}; at most {} KiB of memory, {before} before", peak()))
}
