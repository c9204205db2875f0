//! What a message says of files (XEP-0447, XEP-0385, XEP-0066, XEP-0454): names are names and never ways to other places, addresses
//! are such as can be fetched, each file is there once, and a link to an encrypted one is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use xmpp_core::{
    stanza::Message,
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_filetransfer::share::{self, Told, aesgcm::EncryptedMedia};

fuzz_target!(|text: &str| {
    let xml = format!("<message from='a@b.example/c'>{text}</message>");
    let Ok(stanza) = Stanza::parse(&xml, ns::CLIENT, &XmlLimits::authenticated()) else { return };
    let Ok(message) = Message::from_stanza(stanza) else { return };
    let files = share::shared(&message);
    assert!(files.len() <= 64);
    let mut seen = HashSet::new();
    for file in &files {
        let name = file.name();
        assert!(!name.is_empty() && name != "." && name != "..", "{name:?}");
        assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control), "{name:?}");
        let urls: Vec<&str> = file.urls().collect();
        for url in &urls {
            let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
            assert!(scheme == "http" || scheme == "https", "{url:?}");
            assert!(file.told == Told::Sharing || !seen.contains(*url), "{url:?} is told of twice");
        }
        seen.extend(urls);
    }
    if let Some(body) = message.body()
        && let Ok(media) = EncryptedMedia::read(&body)
    {
        assert_eq!(EncryptedMedia::read(&media.body()).as_ref(), Ok(&media));
    }
});
