//! Getting in, and being kept out.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way, optional},
    session::{Session, refusal},
};
use xmpp_core::{
    client::ConnectionError,
    net::{AttemptFailure, CertificateProblem, ConnectError, TlsError},
    sasl::SaslCondition,
    stream::NegotiationError,
};

/// Logs in with that mechanism and TLS version, and out again.
async fn log_in(session: Checked<Session>, mechanism: &str, tls: &str) -> Checked<String> {
    let session = session?;
    let used = session.mechanism.map_or("none that is known", |mechanism| mechanism.name());
    let summary = session.tls.clone().unwrap_or_default();
    expect_eq("the mechanism", used, mechanism)?;
    expect(summary.starts_with(tls), || format!("{summary:?} is not {tls}"))?;
    expect(session.client.close().await, || "the server did not close its stream".into())?;
    Ok(format!("{used} over {summary}"))
}

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    // The peers differ in what they can bind to; each says what it must come to.
    let mechanism = optional("MECHANISM").unwrap_or_else(|| "SCRAM-SHA-256".into());
    let [first, _, third] = &peer.users;
    report
        .check(&format!("{way} login"), async {
            log_in(Session::login(peer.user(way, first, "one")?).await, &mechanism, "TLS 1.3").await
        })
        .await;
    report
        .check(&format!("{way} login with a password that is not ASCII"), async {
            log_in(Session::login(peer.user(way, third, "one")?).await, &mechanism, "TLS 1.3").await
        })
        .await;
    report
        .check(&format!("{way} bound to the resource asked for"), async {
            let session = Session::login(peer.user(way, first, "büro ✓")?).await?;
            expect_eq("the address", session.jid.as_str(), &format!("{}@{}/büro ✓", first.name, peer.domain))?;
            session.client.close().await;
            Ok(String::new())
        })
        .await;
    let hosts = [
        ("SHA1_DOMAIN", "SCRAM-SHA-1", "TLS 1.3"),
        ("SHA512_DOMAIN", "SCRAM-SHA-512", "TLS 1.3"),
        ("TLS12_DOMAIN", "SCRAM-SHA-256", "TLS 1.2"),
    ];
    for (host, mechanism, tls) in hosts {
        let name = format!("{way} login at {host}");
        match optional(host) {
            // Prosody chooses the TLS version by domain, which before direct TLS it does not know.
            Some(_) if host == "TLS12_DOMAIN" && way == Way::DirectTls => {}
            None => report.skip(&name, "the peer has no such host"),
            Some(domain) => {
                let account = format!("{}@{domain}", first.name);
                let login = async {
                    log_in(Session::login(peer.client(way, &account, &first.password)?).await, mechanism, tls).await
                };
                report.check(&name, login).await;
            }
        }
    }
    let name = format!("{way} anonymous login");
    match optional("ANON_DOMAIN") {
        None => report.skip(&name, "the peer has no such host"),
        Some(domain) => {
            let login = async {
                let session = Session::login(peer.client(way, &domain, "")?.anonymous()).await?;
                expect_eq("the domain", session.jid.domain(), domain.as_str())?;
                log_in(Ok(session), "ANONYMOUS", "TLS 1.3").await
            };
            report.check(&name, login).await;
        }
    }
}

/// In HTTP requests (XEP-0206).
pub(crate) async fn over_bosh(report: &mut Report, peer: &Peer) {
    let [first, ..] = &peer.users;
    let way = Way::Bosh;
    report
        .check(&format!("{way} login"), async {
            // No channel to bind to.
            let mechanism = optional("MECHANISM").unwrap_or_else(|| "SCRAM-SHA-256".into());
            let mechanism = mechanism.trim_end_matches("-PLUS").to_owned();
            log_in(Session::login(peer.user(way, first, "one")?).await, &mechanism, "").await
        })
        .await;
    report
        .check(&format!("{way} wrong password is not-authorized"), async {
            match refusal(peer.client(way, &format!("{}@{}", first.name, peer.domain), "not the password")?).await? {
                ConnectionError::Negotiation(NegotiationError::Refused(failure)) => {
                    expect_eq("the condition", failure.condition, SaslCondition::NotAuthorized)?;
                    Ok(String::new())
                }
                other => Err(format!("another reason: {other:?}").into()),
            }
        })
        .await;
    report
        .check(&format!("{way} a domain that is not served is refused"), async {
            let refused = refusal(peer.client(way, "user@elsewhere.example", "x")?.no_reconnect()).await?;
            Ok(refused.to_string())
        })
        .await;
}

/// Passwords and certificates that must end it, for the right reason and at once.
pub(crate) async fn refusals(report: &mut Report, peer: &Peer, way: Way) {
    let [first, ..] = &peer.users;
    for (what, user, password) in
        [("wrong password", first.name.as_str(), "not the password"), ("unknown user", "nobody-here", &first.password)]
    {
        let name = format!("{way} {what} is not-authorized, once and for all");
        let refused = async {
            match refusal(peer.client(way, &format!("{user}@{}", peer.domain), password)?).await? {
                ConnectionError::Negotiation(NegotiationError::Refused(failure)) => {
                    expect_eq("the condition", failure.condition, SaslCondition::NotAuthorized)?;
                    Ok(String::new())
                }
                other => Err(format!("another reason: {other:?}").into()),
            }
        };
        report.check(&name, refused).await;
    }
    type Fits = fn(&CertificateProblem) -> bool;
    let hosts: [(&str, &str, Fits); 3] = [
        ("EXPIRED_DOMAIN", "expired", |problem| matches!(problem, CertificateProblem::Expired)),
        ("WRONGNAME_DOMAIN", "another's", |problem| matches!(problem, CertificateProblem::WrongName { .. })),
        ("UNTRUSTED_DOMAIN", "untrusted", |problem| matches!(problem, CertificateProblem::UnknownIssuer)),
    ];
    for (host, what, fits) in hosts {
        let name = format!("{way} certificate that is {what} is refused, once and for all");
        let Some(domain) = optional(host) else {
            report.skip(&name, "the peer has no such host");
            continue;
        };
        let refused = async {
            let account = format!("{}@{domain}", first.name);
            let error = refusal(peer.client(way, &account, &first.password)?).await?;
            let problem = certificate_problem(&error).ok_or_else(|| format!("another reason: {error:?}"))?;
            expect(fits(problem), || format!("another problem: {problem:?}"))?;
            Ok(problem.to_string())
        };
        report.check(&name, refused).await;
    }
}

/// With STARTTLS the connection was made already; with direct TLS making it is what failed.
fn certificate_problem(error: &ConnectionError) -> Option<&CertificateProblem> {
    match error {
        ConnectionError::Tls(TlsError::Certificate(problem)) => Some(problem),
        ConnectionError::Connect(ConnectError::AllFailed { attempts, .. }) => match attempts.as_slice() {
            [only] => match &only.reason {
                AttemptFailure::Tls(TlsError::Certificate(problem)) => Some(problem),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
