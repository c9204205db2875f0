//! Both ends of BOSH against any peer: they never panic, answer each request once at most, and what they say is a
//! wrapper that the other end reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{collections::HashSet, time::Duration};
use xmpp_core::{
    stream::bosh::{Body, BoshClient, BoshClientConfig, BoshLimits, BoshSession, Effect, Errand},
    xml::XmlLimits,
};

const HEADER: &[u8] = b"<stream:stream to='x' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
    version='1.0'>";

// Lines, each of which is something that happens; the first byte says what.
fuzz_target!(|data: &[u8]| {
    let Some((&side, data)) = data.split_first() else { return };
    if side & 1 == 0 { session(data) } else { client(data) }
});

fn session(data: &[u8]) {
    let create = b"<body rid='7' to='x' ver='1.6' ack='1' xmlns='http://jabber.org/protocol/httpbind'/>";
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().filter(|line| !line.is_empty()).unwrap_or(create);
    let Ok(body) = Body::parse(first, &XmlLimits::unauthenticated()) else { return };
    let mut now = Duration::ZERO;
    let Ok((mut session, effects)) = BoshSession::open(&body, 0, "sid", BoshLimits::default(), now) else { return };
    let mut waiting = HashSet::from([0]);
    check(&mut waiting, effects);
    for (ticket, line) in (1..).zip(lines) {
        let Some((&what, rest)) = line.split_first() else { continue };
        let effects = match what {
            b'<' => match Body::parse(line, &XmlLimits::unauthenticated()) {
                Ok(body) => {
                    waiting.insert(ticket);
                    session.request(body, ticket, now)
                }
                Err(_) => continue,
            },
            b's' => session.received(rest, now),
            b'e' => session.stream_ended(now),
            b'x' => session.shut_down(now),
            b'l' => {
                let ticket = rest.first().copied().unwrap_or_default().into();
                waiting.remove(&ticket);
                session.lost(ticket, now)
            }
            seconds => {
                now += Duration::from_secs(seconds.into());
                session.timeout(now)
            }
        };
        assert!(session.deadline().is_some(), "nothing would ever end it");
        check(&mut waiting, effects);
    }
    session.leftovers();
}

fn check(waiting: &mut HashSet<u64>, effects: Vec<Effect>) {
    for effect in effects {
        if let Effect::Respond(ticket, reply) = effect {
            assert!(waiting.remove(&ticket), "{ticket} is answered twice");
            let mut limits = XmlLimits::authenticated();
            limits.elements = u32::MAX >> 1;
            Body::parse(&reply.body, &limits).expect("what is answered is a wrapper");
        }
    }
}

fn client(data: &[u8]) {
    let mut client = BoshClient::new(BoshClientConfig::new(7));
    let mut now = Duration::ZERO;
    let mut tickets = sent(client.written(HEADER, now));
    for line in data.split(|byte| *byte == b'\n') {
        let Some((&what, rest)) = line.split_first() else { continue };
        let errands = match what {
            b'<' => client.answered(tickets.pop().unwrap_or_default(), 200, line, now),
            b'w' => client.written(rest, now),
            b'f' => client.failed(tickets.pop().unwrap_or_default(), now),
            b'h' => client.hung_up(now),
            b'c' => client.answered(tickets.pop().unwrap_or_default(), 404, rest, now),
            milliseconds => {
                now += Duration::from_millis(milliseconds.into()) * 10;
                client.timeout(now)
            }
        };
        tickets.extend(sent(errands));
    }
}

fn sent(errands: Vec<Errand>) -> Vec<u64> {
    let send = |errand| match errand {
        Errand::Send(ticket, body) => {
            assert!(Body::parse(&body, &XmlLimits::authenticated()).expect("a wrapper").rid().is_some());
            Some(ticket)
        }
        _ => None,
    };
    errands.into_iter().filter_map(send).collect()
}
