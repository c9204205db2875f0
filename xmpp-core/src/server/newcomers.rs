//! Clients that have not logged in, and who answers them: a registration, say (XEP-0077 §3.1.1).

use super::throttle::network;
use crate::{
    BoxFuture,
    extension::Answer,
    stanza::StanzaError,
    stream::NewcomerOffer,
    xml::{ElementRef, Stanza, Writer, ns},
};
use std::net::IpAddr;

/// A client that has not logged in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Newcomer {
    /// The domain that its stream is to.
    pub domain: String,
    /// Its address.
    pub ip: IpAddr,
    /// What stands for it where addresses are counted: the /64 of an IPv6 address, and an IPv4 address as it is.
    pub network: IpAddr,
}

impl Newcomer {
    pub(super) fn new(domain: String, ip: IpAddr) -> Newcomer {
        Newcomer { domain, ip, network: network(ip) }
    }
}

/// Answers the requests of one stream whose client has not logged in, one after the other.
pub trait Reception: Send + 'static {
    /// The answer to a request. It has exactly one payload, of a namespace that was named to
    /// [`before_login`](super::ServerRegistrar::before_login); all of it is the word of somebody unknown, the `from` too.
    /// What takes too long, or whose client goes away, is dropped: work that has to come to an end goes to
    /// [`Server::spawn`](super::Server::spawn).
    fn answer<'a>(&'a mut self, request: &'a Stanza) -> BoxFuture<'a, Answer>;
}

type Open = Box<dyn Fn(Newcomer) -> Box<dyn Reception> + Send + Sync>;

/// All who answer.
#[derive(Default)]
pub(super) struct Receptions {
    /// The namespaces, each with the place of who answers.
    payloads: Vec<(String, usize)>,
    open: Vec<Open>,
    offer: NewcomerOffer,
}

impl Receptions {
    pub(super) fn add(&mut self, payloads: &[&str], features: &[(&str, &str)], open: Open) {
        let place = self.open.len();
        self.payloads.extend(payloads.iter().map(|&payload| (payload.to_owned(), place)));
        let features = features.iter().map(|(name, namespace)| {
            let mut out = Writer::new(ns::CLIENT);
            out.open(name, namespace);
            out.close();
            out.into_stanza()
        });
        self.offer.features = self.offer.features.iter().cloned().chain(features).collect();
        self.offer.payloads = self.payloads.iter().map(|(payload, _)| payload.clone()).collect();
        self.open.push(open);
    }

    /// What a stream offers.
    pub(super) fn offer(&self, requests: u32, private: bool) -> NewcomerOffer {
        let mut offer = self.offer.clone();
        (offer.requests, offer.private) = (requests, private);
        offer
    }

    fn place(&self, payload: ElementRef<'_>) -> Option<usize> {
        self.payloads.iter().find(|(known, _)| known == payload.ns()).map(|(_, place)| *place)
    }

    /// Asks whoever is for it, and opens it if the stream has not asked before.
    pub(super) async fn answer(
        &self,
        open: &mut Vec<(usize, Box<dyn Reception>)>,
        newcomer: Newcomer,
        request: &Stanza,
    ) -> Answer {
        let root = request.root();
        let mut children = root.children();
        let (Some(payload), None) = (children.next(), children.next()) else {
            return Err(StanzaError::bad_request().with_text("a request carries exactly one element"));
        };
        if root.attr("id").is_none_or(|id| id.is_empty()) {
            return Err(StanzaError::bad_request().with_text("a request has an id"));
        }
        let place = self.place(payload).ok_or_else(StanzaError::service_unavailable)?;
        if !open.iter().any(|(known, _)| *known == place) {
            let make = self.open.get(place).ok_or_else(StanzaError::service_unavailable)?;
            open.push((place, make(newcomer)));
        }
        match open.iter_mut().find(|(known, _)| *known == place) {
            Some((_, reception)) => reception.answer(request).await,
            None => Err(StanzaError::service_unavailable()),
        }
    }
}
