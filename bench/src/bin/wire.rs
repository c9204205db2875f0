//! What a stanza costs on the wire layer: instructions, allocations, time; ours beside the ecosystem's.
//!
//! `cargo run --release -p xmpp-bench --bin wire` prints the table. Instructions are counted by running this program
//! under `valgrind --tool=callgrind` with n and 2n rounds, and subtracting; without valgrind that column is empty.
use minidom::Element;
use quick_xml::events::Event as QuickEvent;
use quick_xml::reader::NsReader;
use rxml::Parse as _;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;
use xmpp_bench::mix;
use xmpp_core::xml::{ElementRef, Event, Node, Scanner, Stanza, Writer, XmlLimits, ns};
use xmpp_parsers::{iq::Iq, message::Message, presence::Presence};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Failure = Box<dyn std::error::Error>;

/// A case: its name, its budget in instructions if it has one, and what runs over the stanzas so many times.
struct Case {
    name: &'static str,
    budget: Option<u64>,
    run: fn(&[String], usize) -> Result<(), Failure>,
}

const CASES: &[Case] = &[
    Case { name: "scan", budget: Some(8_000), run: scan },
    Case { name: "scan+rewrite", budget: Some(9_500), run: scan_rewrite },
    Case { name: "scan+walk", budget: None, run: scan_walk },
    Case { name: "serialise", budget: Some(8_000), run: serialise },
    Case { name: "copy element", budget: None, run: copy_element },
    Case { name: "index to minidom", budget: Some(40_000), run: to_minidom },
    Case { name: "quick-xml read", budget: None, run: quick_xml_read },
    Case { name: "rxml read", budget: None, run: rxml_read },
    Case { name: "minidom parse", budget: None, run: minidom_parse },
    Case { name: "minidom write", budget: None, run: minidom_write },
    Case { name: "xmpp-parsers read", budget: None, run: parsers_read },
    Case { name: "xmpp-parsers write", budget: None, run: parsers_write },
];

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [case, set, rounds] = args.as_slice() {
        let case = CASES.iter().find(|c| c.name == case).ok_or("no such case")?;
        return (case.run)(&set_of(set), rounds.parse()?);
    }
    for set in ["mix", "roster"] {
        let stanzas = set_of(set);
        let bytes: usize = stanzas.iter().map(String::len).sum();
        println!("{set}: {} stanzas of {} bytes on average", stanzas.len(), bytes / stanzas.len());
        println!("  memory of text and index: {:.2} x the wire's bytes", memory(&stanzas)? as f64 / bytes as f64);
        println!("  {:<20} {:>13} {:>9} {:>12} {:>9}", "a stanza", "instructions", "budget", "allocations", "ns");
        for case in CASES {
            let (allocations, nanos) = timed(case, &stanzas)?;
            let instructions = instructions(case, set, stanzas.len()).map_or("-".into(), |n| n.to_string());
            let budget = case.budget.filter(|_| set == "mix").map_or("".into(), |n| n.to_string());
            println!("  {:<20} {instructions:>13} {budget:>9} {allocations:>12.2} {nanos:>9.0}", case.name);
        }
    }
    Ok(())
}

fn set_of(name: &str) -> Vec<String> {
    if name == "roster" { vec![mix::roster()] } else { mix::stanzas() }
}

/// Allocations and nanoseconds a stanza, after a warm-up.
fn timed(case: &Case, stanzas: &[String]) -> Result<(f64, f64), Failure> {
    const ROUNDS: usize = 500;
    (case.run)(stanzas, 20)?;
    let base = {
        let region = Region::new(ALLOCATOR);
        (case.run)(stanzas, ROUNDS)?;
        region.change().allocations
    };
    let twice = {
        let region = Region::new(ALLOCATOR);
        (case.run)(stanzas, 2 * ROUNDS)?;
        region.change().allocations
    };
    let start = Instant::now();
    (case.run)(stanzas, ROUNDS)?;
    let count = (ROUNDS * stanzas.len()) as f64;
    Ok((twice.saturating_sub(base) as f64 / count, start.elapsed().as_nanos() as f64 / count))
}

/// Instructions a stanza, or `None` without valgrind.
fn instructions(case: &Case, set: &str, stanzas: usize) -> Option<u64> {
    const ROUNDS: u64 = 40;
    let count = |rounds: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args([case.name, set, &rounds.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|l| l.contains("Collected"))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let (once, twice) = (count(ROUNDS)?, count(2 * ROUNDS)?);
    Some(twice.saturating_sub(once) / (ROUNDS * stanzas as u64))
}

fn memory(stanzas: &[String]) -> Result<usize, Failure> {
    let mut total = 0;
    for s in stanzas {
        total += Stanza::parse(s, ns::CLIENT, &XmlLimits::default())?.memory();
    }
    Ok(total)
}

fn opened() -> Result<Scanner, Failure> {
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    scanner.scan(&mut mix::HEADER.as_bytes())?;
    Ok(scanner)
}

/// Scans all, so many times, and hands each stanza over.
fn scanned(stanzas: &[String], rounds: usize, mut f: impl FnMut(&Stanza)) -> Result<(), Failure> {
    let mut scanner = opened()?;
    for _ in 0..rounds {
        for text in stanzas {
            let mut input = black_box(text.as_bytes());
            let Some(Event::Stanza(stanza)) = scanner.scan(&mut input)? else { return Err("no stanza".into()) };
            f(&stanza);
            scanner.recycle(stanza);
        }
    }
    Ok(())
}

fn scan(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    scanned(stanzas, rounds, |s| {
        black_box(s);
    })
}

fn scan_rewrite(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let mut out = Vec::with_capacity(4096);
    scanned(stanzas, rounds, |s| {
        out.clear();
        s.rewrite(ns::CLIENT).from(Some("juliet@capulet.example/balcony")).write(&mut out);
        black_box(&out);
    })
}

fn scan_walk(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    scanned(stanzas, rounds, |s| {
        black_box(walk(s.root()));
    })
}

fn walk(el: ElementRef<'_>) -> usize {
    let own = el.name().len() + el.ns().len() + el.attrs().map(|a| a.value.len()).sum::<usize>();
    el.nodes().fold(own, |n, node| match node {
        Node::Element(e) => n + walk(e),
        Node::Text(t) => n + t.len(),
    })
}

/// The calls that a typed payload's writer makes, replayed over the tree.
fn serialise(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let parsed = parsed(stanzas)?;
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        for s in &parsed {
            out.clear();
            let mut writer = Writer::with_buffer(ns::CLIENT, out);
            replay(&mut writer, s);
            out = writer.finish();
            black_box(&out);
        }
    }
    Ok(())
}

enum Step {
    Open(String, String),
    Attr(String, String, String),
    Text(String),
    Close,
}

fn parsed(stanzas: &[String]) -> Result<Vec<Vec<Step>>, Failure> {
    let mut all = Vec::new();
    for s in stanzas {
        let stanza = Stanza::parse(s, ns::CLIENT, &XmlLimits::default())?;
        let mut steps = Vec::new();
        steps_of(stanza.root(), &mut steps);
        all.push(steps);
    }
    Ok(all)
}

fn steps_of(el: ElementRef<'_>, steps: &mut Vec<Step>) {
    steps.push(Step::Open(el.name().into(), el.ns().into()));
    steps.extend(el.attrs().map(|a| Step::Attr(a.name.into(), a.ns.into(), a.value.into())));
    for node in el.nodes() {
        match node {
            Node::Element(e) => steps_of(e, steps),
            Node::Text(t) => steps.push(Step::Text(t.into())),
        }
    }
    steps.push(Step::Close);
}

fn replay(writer: &mut Writer, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Open(name, ns) => writer.open(name, ns),
            Step::Attr(name, ns, value) => writer.attr_ns(name, ns, value),
            Step::Text(text) => writer.text(text),
            Step::Close => writer.close(),
        }
    }
}

fn copy_element(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let mut out = Vec::with_capacity(4096);
    let parsed = stanzas.iter().map(|s| Stanza::parse(s, ns::CLIENT, &XmlLimits::default()));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for s in &parsed {
            out.clear();
            let mut writer = Writer::with_buffer(ns::CLIENT, out);
            writer.element(s.root());
            out = writer.finish();
            black_box(&out);
        }
    }
    Ok(())
}

fn to_minidom(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let parsed = stanzas.iter().map(|s| Stanza::parse(s, ns::CLIENT, &XmlLimits::default()));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for s in &parsed {
            black_box(s.to_element());
        }
    }
    Ok(())
}

fn quick_xml_read(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    for _ in 0..rounds {
        for text in stanzas {
            let mut reader = NsReader::from_str(black_box(text));
            loop {
                let (ns, event) = reader.read_resolved_event()?;
                black_box(&ns);
                match event {
                    QuickEvent::Start(tag) | QuickEvent::Empty(tag) => {
                        for attr in tag.attributes() {
                            black_box(attr?.value);
                        }
                    }
                    QuickEvent::Eof => break,
                    other => {
                        black_box(other);
                    }
                }
            }
        }
    }
    Ok(())
}

fn rxml_read(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let mut parser = rxml::Parser::new();
    let mut header = mix::HEADER.as_bytes();
    while parser.parse(&mut header, false).is_ok_and(|e| e.is_some()) && !header.is_empty() {}
    for _ in 0..rounds {
        for text in stanzas {
            let mut input = black_box(text.as_bytes());
            while !input.is_empty() {
                match parser.parse(&mut input, false) {
                    Ok(event) => {
                        black_box(event);
                    }
                    Err(rxml::error::EndOrError::NeedMoreData) => break,
                    Err(rxml::error::EndOrError::Error(e)) => return Err(Box::new(e)),
                }
            }
        }
    }
    Ok(())
}

fn dom(text: &str) -> Result<Element, Failure> {
    Ok(Element::from_reader_with_prefixes(text.as_bytes(), ns::CLIENT.to_owned())?)
}

fn minidom_parse(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    for _ in 0..rounds {
        for text in stanzas {
            black_box(dom(black_box(text))?);
        }
    }
    Ok(())
}

fn minidom_write(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let doms = stanzas.iter().map(|s| dom(s)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for el in &doms {
            let mut out = Vec::with_capacity(4096);
            el.write_to(&mut out)?;
            black_box(out);
        }
    }
    Ok(())
}

#[derive(Clone)]
enum Typed {
    Message(Message),
    Presence(Presence),
    Iq(Iq),
}

fn typed(el: Element) -> Result<Typed, Failure> {
    Ok(match el.name() {
        "message" => Typed::Message(Message::try_from(el)?),
        "presence" => Typed::Presence(Presence::try_from(el)?),
        _ => Typed::Iq(Iq::try_from(el)?),
    })
}

fn parsers_read(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    for _ in 0..rounds {
        for text in stanzas {
            black_box(typed(dom(black_box(text))?)?);
        }
    }
    Ok(())
}

fn parsers_write(stanzas: &[String], rounds: usize) -> Result<(), Failure> {
    let all = stanzas.iter().map(|s| typed(dom(s)?)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for t in &all {
            let el = match t.clone() {
                Typed::Message(m) => Element::from(m),
                Typed::Presence(p) => Element::from(p),
                Typed::Iq(i) => Element::from(i),
            };
            let mut out = Vec::with_capacity(4096);
            el.write_to(&mut out)?;
            black_box(out);
        }
    }
    Ok(())
}
