//! What a message shares, whichever way it says so.

use super::{
    Disposition, FileMetadata, FileSharing, OutOfBand, Source, Sources,
    sims::{MediaReference, MediaSharing},
};
use crate::file::{Function, name};
use std::collections::HashSet;
use xmpp_core::{
    payload::{DateTime, Payload, TextValue as _},
    stanza::{Message, MessageType},
};

/// Files of one message that are looked at.
const FILES: usize = 64;
/// Places of one file that are kept.
const SOURCES: usize = 32;
/// The longest address that is kept, in bytes.
const MAX_URL: usize = 4 * 1024;
/// What a file is called that has no name which could be one.
const NAMELESS: &str = "file";

/// A file that a message tells of. Nothing that is said of it is proven before it is there and its hash is right.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SharedFile {
    /// What it is known by within its message, for sources that follow.
    pub id: Option<String>,
    /// How it was told of.
    pub told: Told,
    /// How it is meant to be shown.
    pub disposition: Option<Disposition>,
    /// What is said of it; only little where [`told`](Self::told) is [`Told::OutOfBand`].
    pub file: FileMetadata,
    /// Where it can be had. While there is nothing it is still on its way, and sources may be [attached](Self::attach).
    pub sources: Vec<Source>,
}

/// The way in which a file is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// Stateless file sharing (XEP-0447).
    Sharing,
    /// Stateless inline media sharing (XEP-0385).
    Media,
    /// An address out of band (XEP-0066).
    OutOfBand,
}

/// The files that a message tells of, each once, though it may be told of in several ways. Addresses that would give the key to
/// an encrypted file away (`aesgcm:`, XEP-0454 §7), or that are of no use for a file, are left out, and so is what cannot be read. An error
/// that comes back shares nothing.
pub fn shared(message: &Message) -> Vec<SharedFile> {
    let mut found = Vec::new();
    // What comes back was ours.
    if message.type_() == MessageType::Error {
        return found;
    }
    for payload in message.payloads().take(4 * FILES) {
        if FileSharing::matches(payload) {
            found.extend(FileSharing::read(payload).ok().map(SharedFile::from));
        } else if MediaReference::matches(payload) {
            let media = MediaReference::read(payload).ok().and_then(|reference| reference.media);
            found.extend(media.map(SharedFile::from));
        } else if OutOfBand::matches(payload) {
            let place = OutOfBand::read(payload).ok();
            found.extend(place.and_then(SharedFile::out_of_band));
        }
        if found.len() >= FILES {
            break;
        }
    }
    // The newer ways say more.
    found.sort_by_key(|file| file.told as u8);
    let mut known = HashSet::new();
    found.retain(|file| {
        let marks: Vec<String> = file.marks().collect();
        let is_new = file.told == Told::Sharing || !marks.iter().any(|mark| known.contains(mark));
        known.extend(marks);
        is_new
    });
    found
}

/// An address of a file that may be fetched.
fn is_fetchable(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    url.len() <= MAX_URL && matches!(scheme.as_deref(), Some("https" | "http"))
}

fn sources(said: impl IntoIterator<Item = Source>) -> Vec<Source> {
    said.into_iter().filter(|source| source.url().is_none_or(is_fetchable)).take(SOURCES).collect()
}

impl From<FileSharing> for SharedFile {
    fn from(sharing: FileSharing) -> SharedFile {
        let FileSharing { id, disposition, file, sources: said } = sharing;
        let sources = sources(said.unwrap_or_default().sources);
        SharedFile { id, told: Told::Sharing, disposition, file, sources }
    }
}

impl From<MediaSharing> for SharedFile {
    fn from(media: MediaSharing) -> SharedFile {
        let MediaSharing { file, sources: said } = media;
        let references = said.references.into_iter().filter_map(|reference| reference.source());
        SharedFile {
            id: None,
            told: Told::Media,
            disposition: Some(Disposition::Inline),
            sources: sources(references),
            file: FileMetadata::from(&file),
        }
    }
}

/// What an offer says of a file, in the other words.
impl From<&crate::file::File> for FileMetadata {
    fn from(file: &crate::file::File) -> FileMetadata {
        FileMetadata {
            media_type: file.media_type.clone(),
            name: file.name.clone(),
            date: file.date.as_deref().and_then(|date| DateTime::from_text(date).ok()),
            size: file.size,
            hashes: file.hashes.iter().filter(|hash| !hash.value.0.is_empty()).cloned().collect(),
            descriptions: file.descriptions.iter().map(|words| words.text.clone()).collect(),
            thumbnails: file.thumbnails().collect(),
            ..FileMetadata::default()
        }
    }
}

impl SharedFile {
    /// What lies at this address, of which nothing else is known.
    ///
    /// ```
    /// use xmpp_filetransfer::share::SharedFile;
    ///
    /// let file = SharedFile::at("https://files.example.org/1/tr%C3%A8s%20cool.jpg?x=1").ok_or("no file")?;
    /// assert_eq!(file.name(), "très cool.jpg");
    /// assert!(SharedFile::at("ftp://files.example.org/1").is_none());
    /// # Ok::<(), &str>(())
    /// ```
    pub fn at(url: &str) -> Option<SharedFile> {
        let sources = vec![is_fetchable(url).then(|| Source::at(url))?];
        Some(SharedFile { id: None, told: Told::OutOfBand, disposition: None, file: FileMetadata::default(), sources })
    }

    fn out_of_band(place: OutOfBand) -> Option<SharedFile> {
        let mut file = SharedFile::at(&place.url)?;
        file.file.descriptions.extend(place.desc);
        Some(file)
    }

    /// What it is called: nothing but a name, whatever the sender says; that of its address, or `file`, where none is said.
    pub fn name(&self) -> String {
        let said = self.file.name.as_deref().and_then(name::safe);
        let named = || self.urls().find_map(|url| name::safe(&last_segment(url)));
        said.or_else(named).unwrap_or_else(|| NAMELESS.to_owned())
    }

    /// The addresses where it can be had by HTTP.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(Source::url).filter(|url| is_fetchable(url))
    }

    /// Whether one of its hashes proves that a file is the one that was meant.
    pub fn is_provable(&self) -> bool {
        self.function().is_some_and(Function::is_proof)
    }

    /// The strongest function of its hashes.
    pub(crate) fn function(&self) -> Option<Function> {
        let hashes = self.file.hashes.iter().filter(|hash| !hash.value.0.is_empty());
        Function::strongest(hashes.map(|hash| hash.algo.as_str()))
    }

    /// Whether it may be fetched before the user has said so (XEP-0447 §3.2).
    pub fn may_be_fetched_unasked(&self) -> bool {
        self.disposition != Some(Disposition::Attachment)
    }

    /// Adds sources that were [attached](Sources::attached) to the message which this file is of (XEP-0447 §3.3), and says whether
    /// they count: those of others than its sender do where a hash proves that it is the same file (§7).
    pub fn attach(&mut self, more: Sources, by_its_sender: bool) -> bool {
        let counts = self.told == Told::Sharing && self.id == more.id && (by_its_sender || self.is_provable());
        if counts {
            let room = SOURCES.saturating_sub(self.sources.len());
            self.sources.extend(sources(more.sources).into_iter().take(room));
        }
        counts
    }

    /// What tells that two are about the same file.
    fn marks(&self) -> impl Iterator<Item = String> {
        let hashes =
            self.file.hashes.iter().filter(|hash| {
                !hash.value.0.is_empty() && Function::from_name(&hash.algo).is_some_and(Function::is_proof)
            });
        let hashes = hashes.map(|hash| format!("{} {:?}", hash.algo, hash.value.0));
        hashes.chain(self.urls().map(str::to_owned))
    }
}

/// What stands behind the last slash of an address, without its escapes.
fn last_segment(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, path)| path);
    let segment = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default();
    let (mut octets, mut rest) = (Vec::with_capacity(segment.len()), segment.as_bytes());
    while let Some((first, others)) = rest.split_first() {
        let escaped = others.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        octets.push(escaped.unwrap_or(*first));
        rest = others.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&octets).into_owned()
}
