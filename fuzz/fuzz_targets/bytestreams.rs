//! What peers send for bytestreams: handshakes of SOCKS5 at either end, blocks of an in-band stream, and notices about
//! candidates. Nothing panics, nothing grows beyond its bounds, and who speaks the rules out gets what was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    jid::Jid,
    payload::Payload,
    xml::{Stanza, XmlLimits},
};
use xmpp_filetransfer::{
    ibb::{self, Acknowledge, Blocks, IbbError, IbbLimits, Output, Reading},
    socks5::{
        Accepting, Action, Asking, Candidate, CandidateKind, Info, Link, Negotiation, Progress, Query, StreamHash,
        Transport,
    },
};

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    match how % 4 {
        0 => handshakes(rest),
        1 => blocks(rest),
        2 => candidates(rest),
        _ => payloads(rest),
    }
});

/// The same bytes in two ways of cutting them come to the same.
fn handshakes(bytes: &[u8]) {
    let accepted = |size: usize| {
        let (mut end, mut rest, mut said) = (Accepting::new(), bytes, Vec::new());
        while !rest.is_empty() && end.wants() > 0 {
            assert!(end.wants() <= 257);
            let (piece, later) = rest.split_at(end.wants().min(size).min(rest.len()));
            rest = later;
            let progress = end.input(piece);
            let over = !matches!(progress, Ok(Progress::More | Progress::Send(_)));
            if progress != Ok(Progress::More) {
                said.push(progress);
            }
            if over {
                break;
            }
        }
        (said, rest.len())
    };
    assert_eq!(accepted(1), accepted(300));
    let Some(hash) = StreamHash::read(b"972b7bf47291ca609517f67f86b5081086052dad") else { return };
    let (mut end, _) = Asking::new(hash);
    let mut rest = bytes;
    while !rest.is_empty() && end.wants() > 0 {
        assert!(end.wants() <= 257);
        let (piece, later) = rest.split_at(end.wants().min(rest.len()));
        rest = later;
        match end.input(piece) {
            Ok(Progress::Stream(granted)) => assert_eq!(granted, hash),
            Ok(_) => {}
            Err(refusal) => {
                assert!(refusal.reply.is_empty());
                break;
            }
        }
    }
}

/// One end keeps to the rules but for blocks that are put in; the other never reads more or else than was sent in order.
fn blocks(bytes: &[u8]) {
    let limits = {
        let mut limits = IbbLimits::default();
        (limits.window, limits.outgoing, limits.incoming, limits.overrun) = (3, 40, 40, 100);
        limits
    };
    let (mut from, mut to) = (Blocks::new(16, limits.clone()), Blocks::new(16, limits));
    let (mut sent, mut read, mut held) = (Vec::new(), Vec::new(), 0);
    for pair in bytes.chunks_exact(2) {
        let (what, value) = (pair[0], pair[1]);
        match what % 10 {
            0..=2 => {
                let bytes: Vec<u8> = (0..value % 50).collect();
                if let Ok(taken) = from.write(&bytes) {
                    sent.extend_from_slice(&bytes[..taken]);
                }
            }
            3 => from.hurry(),
            4 | 5 => match from.output() {
                Some(Output::Block(seq, bytes)) => {
                    assert!(bytes.len() <= 16);
                    match to.receive(seq, &bytes) {
                        Ok(Acknowledge::Now) => from.answered(Ok(())),
                        Ok(Acknowledge::WithRoom) => held += 1,
                        Err(error) => from.answered(Err(IbbError::Refused(error))),
                    }
                }
                Some(Output::Close) => {
                    let _ = to.peer_closes();
                    if to.is_drained() {
                        to.closed();
                    }
                    from.closed();
                }
                None => {}
            },
            6 => {
                let mut out = vec![0; usize::from(value)];
                if let Reading::Bytes(count) = to.read(&mut out) {
                    read.extend_from_slice(&out[..count]);
                }
                while held > 0 && to.has_room() {
                    held -= 1;
                    from.answered(Ok(()));
                }
            }
            7 if value > 200 => from.close(),
            // What somebody else would send.
            8 if value > 220 => {
                let before = to.clone();
                if to.receive(u16::from(value) << 8, b"forged").is_ok() {
                    to = before;
                }
            }
            9 if value > 250 => {
                to.receive_garbage();
            }
            _ => {}
        }
        assert!(read.len() <= sent.len());
    }
    assert_eq!(read, sent[..read.len()]);
}

fn candidate(cid: String, kind: u8, priority: u8) -> Option<Candidate> {
    let kind = if kind % 3 == 0 { CandidateKind::Proxy } else { CandidateKind::Direct };
    let jid = Jid::new("a@b/c").ok()?;
    Some(Candidate { host: cid.clone(), cid, jid, port: 1, priority: u32::from(priority % 4), kind })
}

/// Two ends that tell each other what they find, in any order, come to the same end; what makes no sense changes nothing.
fn candidates(bytes: &[u8]) {
    let Some((counts, rest)) = bytes.split_at_checked(2) else { return };
    let made = |side: char, count: u8| {
        let list = (0..usize::from(count % 5)).filter_map(|n| {
            let (kind, priority) = (rest.get(n * 2).copied()?, rest.get(n * 2 + 1).copied()?);
            candidate(format!("{side}{n}"), kind.wrapping_add(side as u8), priority)
        });
        list.collect::<Vec<_>>()
    };
    let (a, b) = (made('a', counts[0]), made('b', counts[1]));
    let mut sides = [Negotiation::new(true, a.clone(), b.clone()), Negotiation::new(false, b, a)];
    let mut told: [Vec<Transport>; 2] = Default::default();
    let mut trying: [Vec<String>; 2] = Default::default();
    let mut ends: [Option<Action>; 2] = Default::default();
    let mut steps: Vec<(usize, Vec<Action>)> = sides.iter_mut().map(Negotiation::start).enumerate().collect();
    for &byte in rest {
        while let Some((side, actions)) = steps.pop() {
            for action in actions {
                match action {
                    Action::Send(info) => told[1 - side].push(info.transport("s")),
                    Action::Cancel(cid) => trying[side].retain(|one| *one != cid),
                    Action::Activate(_) => steps.push((side, sides[side].activated(byte % 2 == 0))),
                    end => {
                        assert!(ends[side].is_none());
                        ends[side] = Some(end);
                    }
                }
            }
        }
        let side = usize::from(byte & 1);
        match (byte >> 1) % 5 {
            0 => trying[side].extend(sides[side].next_attempt().map(|one| one.cid)),
            1 if !trying[side].is_empty() => {
                let cid = trying[side].remove(0);
                let then = if byte > 100 { sides[side].connected(&cid) } else { sides[side].unreachable(&cid) };
                steps.push((side, then));
            }
            2 if !told[side].is_empty() => {
                let notice = told[side].remove(0);
                match sides[side].receive(&notice) {
                    Ok(actions) => steps.push((side, actions)),
                    Err(error) => panic!("{error}: {notice:?}"),
                }
            }
            3 if byte > 200 => steps.push((side, sides[side].give_up_connecting())),
            _ => {
                assert!(sides[side].receive(&Info::Used("nobody's".into()).transport("s")).is_err());
            }
        }
    }
    if let [Some(one), Some(other)] = &ends {
        match (one, other) {
            (Action::Failed, Action::Failed) => {}
            (Action::Established(Link::Ours(a)), Action::Established(Link::Theirs(b)))
            | (Action::Established(Link::Theirs(a)), Action::Established(Link::Ours(b))) => assert_eq!(a, b),
            other => panic!("they do not agree: {other:?}"),
        }
    }
}

fn payloads(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(stanza) = Stanza::parse(text, "", &XmlLimits::default()) else { return };
    let root = stanza.root();
    if let Ok(block) = ibb::Data::read(root)
        && let Some(bytes) = block.bytes()
    {
        assert_eq!(ibb::Data::new(block.sid, block.seq, bytes.clone()).bytes(), Some(bytes));
    }
    let _ = (ibb::Open::read(root), ibb::Close::read(root), ibb::Transport::read(root));
    if let Ok(query) = Query::read(root) {
        assert_eq!(again(&query), Some(query));
    }
    if let Ok(transport) = Transport::read(root) {
        assert_eq!(again(&transport), Some(transport));
    }
}

fn again<P: Payload>(payload: &P) -> Option<P> {
    let mut out = xmpp_core::xml::Writer::new("");
    payload.write(&mut out);
    P::read(out.into_stanza().root()).ok()
}
