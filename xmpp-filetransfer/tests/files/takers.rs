//! Peers that take a file otherwise than they say.

use super::{villain::*, *};
use xmpp_filetransfer::{file::Range, ibb};

#[tokio::test]
async fn abuse_ranges_that_no_file_has() {
    let house = house(None).await;
    let (mut villain, romeo) = (house.villain("juliet").await, house.person("romeo", in_band).await);
    let (path, bytes) = house.file("letter.txt", 10_000);
    for (offset, length, part) in [
        (10_001, None, None),
        (u64::MAX, Some(u64::MAX), None),
        (u64::MAX, None, None),
        (10_000, Some(u64::MAX), Some(10_000..10_000)),
        (1, Some(u64::MAX), Some(1..10_000)),
        (9_999, Some(0), Some(9_999..9_999)),
        (5_000, Some(1_000), Some(5_000..6_000)),
    ] {
        let sending =
            soon(async { romeo.client.files().unwrap().send(villain.jid.clone().into(), &path).await }).await.unwrap();
        let invitation = soon(villain.invited.recv()).await.unwrap();
        let offered = invitation.session.offered().remove(0);
        let sid = sid_of(&offered);
        let expected = ibb::expect(&villain.client, romeo.jid.clone(), &sid, 4096).unwrap();
        let range = element(&Range { offset, length, hashes: vec![] });
        invitation.session.accept(vec![offered.with_description(described(range.as_str()))]).await.unwrap();
        match part {
            None => {
                let sent = soon(sending.finish()).await;
                assert!(matches!(sent, Err(TransferError::EndedByPeer(_))), "{sent:?}");
            }
            Some(part) => {
                let mut stream = soon(expected.stream()).await.unwrap();
                let mut got = Vec::new();
                soon(stream.read_to_end(&mut got)).await.unwrap();
                assert_eq!(got, bytes[part]);
                invitation.session.terminate(xmpp_filetransfer::jingle::Reason::success()).await.unwrap();
                soon(sending.finish()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn abuse_who_has_received_before_anything_was_sent() {
    let house = house(None).await;
    let (mut villain, romeo) = (house.villain("juliet").await, house.person("romeo", in_band).await);
    let (path, bytes) = house.file("letter.txt", 50_000);
    for ends in [false, true] {
        let sending =
            soon(async { romeo.client.files().unwrap().send(villain.jid.clone().into(), &path).await }).await.unwrap();
        let invitation = soon(villain.invited.recv()).await.unwrap();
        let offered = invitation.session.offered().remove(0);
        let sid = sid_of(&offered);
        let expected = ibb::expect(&villain.client, romeo.jid.clone(), &sid, 4096).unwrap();
        invitation.session.accept(vec![offered]).await.unwrap();
        let mut stream = soon(expected.stream()).await.unwrap();
        let received = xml("<received xmlns='urn:xmpp:jingle:apps:file-transfer:5' creator='initiator' name='file'/>");
        invitation.session.session_info(Some(received)).await.unwrap();
        if ends {
            drop(stream);
            let _ = invitation.session.terminate(xmpp_filetransfer::jingle::Reason::success()).await;
            // It has taken what came, and says that this is all: nobody here knows better. It has an end.
            let _ = soon(sending.finish()).await;
        } else {
            let mut got = Vec::new();
            soon(stream.read_to_end(&mut got)).await.unwrap();
            assert!(got == bytes, "all of it is sent nevertheless");
            invitation.session.terminate(xmpp_filetransfer::jingle::Reason::success()).await.unwrap();
            soon(sending.finish()).await.unwrap();
        }
    }
}
