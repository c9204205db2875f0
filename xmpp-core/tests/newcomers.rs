//! What clients may ask before they log in, and what not (XEP-0077 §3.1.1, RFC 6120 §7.1).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;
mod support;

use std::time::Duration;
use support::{HEADER, Raw, builder};
use xmpp_core::{
    BoxFuture,
    extension::{Answer, Reply},
    net::Transport,
    sasl::Mechanism,
    server::{Limits, Newcomer, Reception, Server, ServerRegistrar},
    stanza::StanzaError,
    stream::{AcceptorConfig, Phase},
    xml::Stanza,
};

const ASK: &str = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>";
const FEATURE: &str = "<register xmlns='http://jabber.org/features/iq-register'/>";

fn offer(config: &mut AcceptorConfig) {
    let feature = support::stanzas(FEATURE);
    config.newcomers.payloads = ["jabber:iq:register".to_owned()].into();
    config.newcomers.features = feature.into();
    config.newcomers.requests = 3;
}

fn asking(change: impl FnOnce(&mut AcceptorConfig)) -> machine::Server {
    machine::Server::with(|config| {
        offer(config);
        change(config);
    })
}

#[test]
fn xep0077_3_1_1_a_client_asks_before_it_logs_in_and_then_does() {
    let mut server = asking(|config| config.tls = true);
    assert!(!server.hear(HEADER).contains("iq-register"), "not in the open");
    server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    server.secure(Default::default());
    assert!(server.hear(HEADER).contains(FEATURE));
    assert_eq!(server.acceptor.phase(), Phase::Open);
    assert_eq!(server.hear(ASK), "[localhost is asked]<iq type='result' id='1'/>");
    assert_eq!(server.acceptor.phase(), Phase::Register);
    let named = "<iq type='set' id='2' to='localhost'><query xmlns='jabber:iq:register'/></iq>";
    assert_eq!(server.hear(named), "[localhost is asked]<iq type='result' id='2'/>");
    let login = |password: &str| {
        let data = machine::payload(Some(format!("\0romeo\0{password}").as_bytes()));
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{data}</auth>")
    };
    assert!(server.hear(&login("wrong")).contains("<failure"));
    assert_eq!(server.acceptor.phase(), Phase::Open, "who has tried to log in has no more time for forms");
    assert!(server.hear(ASK).contains("[localhost is asked]"));
    assert_eq!(server.acceptor.phase(), Phase::Open);
    assert!(server.hear(&login("secret")).contains("<success"));
    assert!(!server.hear(HEADER).contains("iq-register"));
    assert!(server.hear(ASK).contains("<not-authorized "), "bind first");
}

#[test]
fn abuse_a040_only_what_somebody_waits_for_is_heard_before_the_login() {
    for sent in [
        "<message to='a@localhost'/>",
        "<presence/>",
        "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<iq type='get' id='1'/>",
        "<iq type='result' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='error' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1' to='juliet@localhost'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1' to='other.localhost'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='1' to='localhost/x'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    ] {
        let mut server = asking(|config| config.tls = true);
        server.secure(Default::default());
        server.hear(HEADER);
        let said = server.hear(sent);
        assert!(said.contains("<not-authorized ") && said.ends_with("[close]"), "{sent}: {said}");
    }
}

#[test]
fn abuse_a040_nobody_is_asked_without_tls_or_where_no_account_is_needed_or_in_an_authentication() {
    let mut open = asking(|config| config.plaintext = true);
    assert!(!open.hear(HEADER).contains("iq-register"));
    assert!(open.hear(ASK).contains("<not-authorized "));

    let mut anonymous = asking(|config| config.domains = vec![("localhost".to_owned(), vec![Mechanism::Anonymous])]);
    anonymous.secure(Default::default());
    assert!(!anonymous.hear(HEADER).contains("iq-register"));
    assert!(anonymous.hear(ASK).contains("<not-authorized "));

    let mut amid = asking(|config| config.tls = true);
    amid.secure(Default::default());
    amid.hear(HEADER);
    let begin =
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1yb21lbyxyPWFiY2RlZmdo</auth>";
    assert!(amid.hear(begin).contains("<challenge"));
    assert!(amid.hear(ASK).contains("<not-authorized "));
}

#[test]
fn abuse_a094_the_requests_of_a_stream_are_counted() {
    let mut server = asking(|config| config.tls = true);
    server.secure(Default::default());
    server.hear(HEADER);
    for _ in 0..3 {
        assert!(server.hear(ASK).contains("[localhost is asked]"));
    }
    assert!(server.hear(ASK).contains("<policy-violation "));
}

/// Counts what one stream asks, and waits for ever when it is told to.
struct Counting(Newcomer, usize);

impl Reception for Counting {
    fn answer<'a>(&'a mut self, request: &'a Stanza) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            self.1 += 1;
            let (text, count) = (request.root().children().next().unwrap().text().into_owned(), self.1);
            match text.as_str() {
                "hang" => std::future::pending().await,
                "refuse" => Err(StanzaError::not_acceptable()),
                _ => {
                    let told = format!("{} {} {count}", self.0.domain, self.0.network);
                    Ok(Reply::write(move |out| out.text_element("count", "urn:example:count", &told)))
                }
            }
        })
    }
}

fn counting(r: &mut ServerRegistrar) {
    r.before_login(&["urn:example:count"], &[("count", "urn:example:feature")], |newcomer| Counting(newcomer, 0));
}

fn counter() -> Server {
    let mut limits = Limits::default();
    limits.handler = Duration::from_millis(200);
    builder().limits(limits).with(counting).build().unwrap()
}

#[tokio::test]
async fn one_stream_is_received_by_one_who_remembers_it() {
    let server = counter();
    for _ in 0..2 {
        let mut raw = Raw::memory(&server);
        raw.send(HEADER).await;
        assert!(raw.until("</stream:features>").await.contains("<count xmlns='urn:example:feature'/>"));
        for count in 1..3 {
            raw.send("<iq type='get' id='c'><count xmlns='urn:example:count'/></iq>").await;
            let told = raw.until("</iq>").await;
            assert!(told.contains(&format!(">localhost 127.0.0.1 {count}<")), "{told}");
            assert!(told.contains("type='result'") && told.contains("id='c'") && told.contains("from='localhost'"));
        }
        raw.send("<iq type='get' id='r'><count xmlns='urn:example:count'>refuse</count></iq>").await;
        assert!(raw.until("</iq>").await.contains("<not-acceptable "));
        raw.send("<iq type='get' id='h'><count xmlns='urn:example:count'>hang</count></iq>").await;
        assert!(raw.until("</iq>").await.contains("<internal-server-error "), "nobody waits for ever");
        for broken in [
            "<iq type='get'><count xmlns='urn:example:count'/></iq>",
            "<iq type='get' id='2'><count xmlns='urn:example:count'/><count xmlns='urn:example:count'/></iq>",
        ] {
            raw.send(broken).await;
            assert!(raw.until("</iq>").await.contains("<bad-request "));
        }
    }
}

#[tokio::test]
async fn abuse_a040_over_a_port_without_tls_nobody_is_asked() {
    let server = builder().allow_plaintext().with(counting).build().unwrap();
    let address = server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let transport: Transport = tokio::net::TcpStream::connect(address).await.unwrap().into();
    let mut raw = Raw::over(transport);
    raw.send(HEADER).await;
    assert!(!raw.until("</stream:features>").await.contains("urn:example:feature"));
    raw.send("<iq type='get' id='c'><count xmlns='urn:example:count'/></iq>").await;
    raw.ends_with("not-authorized").await;
}
