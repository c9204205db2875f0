//! Another place on the server's host: it gives what it is told to, and notes all that comes, stanzas too.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Response, header},
    routing::any,
};
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use xmpp_core::server::{Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict};

/// What it gives at a path: for each request the next one, the last one ever after.
pub(crate) enum Given {
    /// All of this.
    Whole(Vec<u8>),
    /// The beginning of this, and then the connection breaks.
    Begun(Vec<u8>, usize),
    /// What is behind as many bytes as were asked to be left out.
    Rest(Vec<u8>),
}

#[derive(Default)]
pub(crate) struct Spy {
    given: Mutex<HashMap<String, Vec<Given>>>,
    seen: Mutex<String>,
}

impl Spy {
    pub(crate) fn watch(spy: &Arc<Spy>) -> impl FnOnce(&mut ServerRegistrar) + use<> {
        let (web, stanzas) = (Arc::clone(spy), Arc::clone(spy));
        move |r| {
            r.http(Router::new().route(
                "/spy/{name}",
                any(move |request: Request| {
                    let spy = Arc::clone(&web);
                    async move { Ok::<_, Infallible>(spy.answer(&request)) }
                }),
            ));
            r.station(Station::new(
                "spy",
                Stage::FromClient,
                Kinds::ALL,
                move |envelope: &mut Envelope, _: &Server| {
                    stanzas.note(envelope.stanza().as_str());
                    Verdict::Continue
                },
            ));
        }
    }

    pub(crate) fn gives(&self, name: &str, given: Vec<Given>) {
        self.given.lock().unwrap().insert(format!("/spy/{name}"), given);
    }

    fn note(&self, what: &str) {
        let mut seen = self.seen.lock().unwrap();
        seen.push_str(what);
        seen.push('\n');
    }

    /// Stanzas, addresses and headers, as text.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    fn answer(&self, request: &Request) -> Response<Body> {
        self.note(&format!("{} {} {:?}", request.method(), request.uri(), request.headers()));
        let mut given = self.given.lock().unwrap();
        let Some(given) = given.get_mut(request.uri().path()) else {
            return Response::builder().status(404).body(Body::empty()).unwrap();
        };
        let next = if given.len() > 1 { Some(given.remove(0)) } else { None };
        let next = next.as_ref().unwrap_or_else(|| &given[0]);
        let answer = Response::builder().header(header::ETAG, "\"one\"");
        match next {
            Given::Whole(content) => answer.body(Body::from(content.clone())).unwrap(),
            Given::Begun(content, first) => {
                let begun = Begun(Some(Bytes::copy_from_slice(&content[..*first])));
                answer.header(header::CONTENT_LENGTH, content.len()).body(Body::new(begun)).unwrap()
            }
            Given::Rest(content) => {
                let range = request.headers()[header::RANGE].to_str().unwrap();
                let first: usize = range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
                let said = format!("bytes {first}-{}/{}", content.len() - 1, content.len());
                let answer = answer.status(206).header(header::CONTENT_RANGE, said);
                answer.body(Body::from(content[first..].to_vec())).unwrap()
            }
        }
    }
}

/// A body that breaks off.
struct Begun(Option<Bytes>);

impl hyper::body::Body for Begun {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, io::Error>>> {
        let begun = self.0.take().map(hyper::body::Frame::data);
        Poll::Ready(Some(begun.ok_or_else(|| io::ErrorKind::ConnectionReset.into())))
    }
}
