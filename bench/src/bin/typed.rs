//! What typed stanzas cost: scan, addresses, type, texts and every payload typed, and writing them again; beside
//! `xmpp-parsers`, which leaves a message's payloads as trees.
//!
//! `cargo run --release -p xmpp-bench --features xmpp-parsers --bin typed` prints instructions a stanza, counted as `wire` does.
use minidom::Element;
use std::hint::black_box;
use std::process::Command;
use xmpp_bench::mix;
use xmpp_core::jid::Jid;
use xmpp_core::payload::caps::Caps;
use xmpp_core::payload::chat_state::ChatState;
use xmpp_core::payload::disco::DiscoInfo;
use xmpp_core::payload::forward::Forwarded;
use xmpp_core::payload::hints::Hint;
use xmpp_core::payload::receipts::ReceiptRequest;
use xmpp_core::payload::stanza_id::{OriginId, StanzaId};
use xmpp_core::payload::{DateTime, Payload};
use xmpp_core::stanza::{
    AnyStanza, IqBuilder, IqType, Message, MessageBuilder, MessageType, Presence, PresenceBuilder, PresenceType, Show,
    WriteStanza,
};
use xmpp_core::xml::{Event, Scanner, Stanza, Writer, XmlLimits, ns};

type Failure = Box<dyn std::error::Error>;

/// What the mix holds, typed.
#[derive(Payload)]
enum Part {
    ChatState(ChatState),
    ReceiptRequest(ReceiptRequest),
    OriginId(OriginId),
    StanzaId(StanzaId),
    Hint(Hint),
    Caps(Caps),
    Disco(DiscoInfo),
    Archived(Archived),
    #[xml(name = "markable", ns = "urn:xmpp:chat-markers:0")]
    Markable,
    #[xml(name = "occupant-id", ns = "urn:xmpp:occupant-id:0")]
    OccupantId {
        #[xml(attr)]
        id: String,
    },
    #[xml(name = "idle", ns = "urn:xmpp:idle:1")]
    Idle {
        #[xml(attr)]
        since: DateTime,
    },
    #[xml(name = "x", ns = "vcard-temp:x:update")]
    Avatar {
        #[xml(child_text = "photo")]
        photo: Option<String>,
    },
    #[xml(unknown)]
    Other(Stanza),
}

#[derive(Payload)]
#[xml(name = "result", ns = "urn:xmpp:mam:2")]
struct Archived {
    #[xml(attr)]
    queryid: Option<String>,
    #[xml(attr)]
    id: String,
    #[xml(child)]
    forwarded: Forwarded,
}

struct Typed {
    from: Option<Jid>,
    to: Option<Jid>,
    id: Option<String>,
    what: What,
    parts: Vec<Part>,
}

enum What {
    Message(MessageType, Option<String>),
    Presence(PresenceType, Option<Show>, Option<String>, i8),
    Iq(IqType),
}

fn message(m: &Message) -> What {
    What::Message(m.type_(), m.body().map(Into::into))
}

fn presence(p: &Presence) -> What {
    What::Presence(p.type_(), p.show(), p.status().map(Into::into), p.priority())
}

fn typed(stanza: &Stanza) -> Result<Typed, Failure> {
    let any = AnyStanza::from_stanza(stanza.clone())?;
    let (what, payloads) = match &any {
        AnyStanza::Message(m) => (message(m), m.payloads()),
        AnyStanza::Presence(p) => (presence(p), p.payloads()),
        AnyStanza::Iq(i) => (What::Iq(i.type_()), i.payloads()),
    };
    let parts = payloads.map(Part::read).collect::<Result<_, _>>()?;
    let id = any.id().map(Into::into);
    Ok(Typed { from: any.from().cloned(), to: any.to().cloned(), id, what, parts })
}

macro_rules! finish {
    ($builder:expr, $t:expr, $w:expr) => {{
        let mut b = $builder;
        if let Some(from) = &$t.from {
            b = b.from(from.clone());
        }
        if let Some(id) = &$t.id {
            b = b.id(id.clone());
        }
        for part in &$t.parts {
            b = b.payload(part);
        }
        b.write_to($w);
    }};
}

fn write(t: &Typed, w: &mut Writer) {
    let to = t.to.clone();
    match &t.what {
        What::Message(type_, body) => {
            let b = MessageBuilder::new(to, *type_);
            let b = if let Some(body) = body { b.body(body) } else { b };
            finish!(b, t, w);
        }
        What::Presence(type_, show, status, priority) => {
            let mut b = PresenceBuilder::new(to, *type_).priority(*priority);
            if let Some(show) = show {
                b = b.show(*show);
            }
            if let Some(status) = status {
                b = b.status(status);
            }
            finish!(b, t, w);
        }
        What::Iq(type_) => finish!(IqBuilder::new(to, *type_), t, w),
    }
}

fn ours_read(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    scanner.scan(&mut mix::HEADER.as_bytes())?;
    for _ in 0..rounds {
        for text in stanzas {
            let mut input = black_box(text.as_bytes());
            let Some(Event::Stanza(stanza)) = scanner.scan(&mut input)? else { return Err("no stanza".into()) };
            let typed = typed(&stanza)?;
            for part in &typed.parts {
                if let Part::Archived(Archived { forwarded: Forwarded { stanza: Some(inner), .. }, .. }) = part {
                    black_box(Message::from_stanza(inner.clone())?.body());
                }
            }
            black_box(typed);
            scanner.recycle(stanza);
        }
    }
    Ok(())
}

/// As much as `xmpp-parsers` types: the stanza and its own texts, payloads left as they are.
fn ours_read_stanza(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    scanner.scan(&mut mix::HEADER.as_bytes())?;
    for _ in 0..rounds {
        for text in stanzas {
            let mut input = black_box(text.as_bytes());
            let Some(Event::Stanza(stanza)) = scanner.scan(&mut input)? else { return Err("no stanza".into()) };
            let any = AnyStanza::from_stanza(stanza.clone())?;
            black_box(match &any {
                AnyStanza::Message(m) => message(m),
                AnyStanza::Presence(p) => presence(p),
                AnyStanza::Iq(i) => What::Iq(i.type_()),
            });
            drop(any);
            scanner.recycle(stanza);
        }
    }
    Ok(())
}

fn ours_write(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let limits = XmlLimits::default();
    let all = stanzas.iter().map(|s| typed(&Stanza::parse(s, ns::CLIENT, &limits)?)).collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        for t in &all {
            out.clear();
            let mut w = Writer::with_buffer(ns::CLIENT, out);
            write(t, &mut w);
            out = w.finish();
            black_box(&out);
        }
    }
    Ok(())
}

fn dom(text: &str) -> Result<Element, Failure> {
    Ok(Element::from_reader_with_prefixes(text.as_bytes(), ns::CLIENT.to_owned())?)
}

#[derive(Clone)]
enum Theirs {
    Message(xmpp_parsers::message::Message),
    Presence(xmpp_parsers::presence::Presence),
    Iq(xmpp_parsers::iq::Iq),
}

fn theirs(el: Element) -> Result<Theirs, Failure> {
    Ok(match el.name() {
        "message" => Theirs::Message(el.try_into()?),
        "presence" => Theirs::Presence(el.try_into()?),
        _ => Theirs::Iq(el.try_into()?),
    })
}

fn theirs_read(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    for _ in 0..rounds {
        for text in stanzas {
            black_box(theirs(dom(black_box(text))?)?);
        }
    }
    Ok(())
}

fn theirs_write(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let all = stanzas.iter().map(|s| theirs(dom(s)?)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for t in &all {
            let el = match t.clone() {
                Theirs::Message(m) => Element::from(m),
                Theirs::Presence(p) => Element::from(p),
                Theirs::Iq(i) => Element::from(i),
            };
            let mut out = Vec::with_capacity(4096);
            el.write_to(&mut out)?;
            black_box(out);
        }
    }
    Ok(())
}

type Run = fn(&[String], usize) -> Result<(), Failure>;
const CASES: &[(&str, Run)] = &[
    ("read stanza", ours_read_stanza),
    ("read with payloads", ours_read),
    ("xmpp-parsers read", theirs_read),
    ("write", ours_write),
    ("xmpp-parsers write", theirs_write),
];

fn instructions(case: &str) -> Option<u64> {
    const ROUNDS: u64 = 40;
    let count = |rounds: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args([case, &rounds.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().find(|l| l.contains("Collected"))?.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let (once, twice) = (count(ROUNDS)?, count(2 * ROUNDS)?);
    Some(twice.saturating_sub(once) / (ROUNDS * mix::stanzas().len() as u64))
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let stanzas = mix::stanzas();
    if let [case, rounds] = args.as_slice() {
        let (_, run) = CASES.iter().find(|c| c.0 == case).ok_or("no such case")?;
        return run(&stanzas, rounds.parse()?);
    }
    println!("{:<20} {:>13}", "a stanza", "instructions");
    for (name, run) in CASES {
        run(&stanzas, 2)?;
        println!("{name:<20} {:>13}", instructions(name).map_or("-".into(), |n| n.to_string()));
    }
    Ok(())
}
