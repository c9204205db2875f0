//! Both ends of a component's stream (XEP-0114) against any peer: they never panic, and end the stream at most once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use xmpp_core::{
    stream::{ComponentAcceptor, ComponentInitiator, ComponentStep, ComponentTask, StreamError},
    xml::{Scanner, XmlLimits},
};

fuzz_target!(|data: &[u8]| {
    let Some((&how, input)) = data.split_first() else { return };
    if how & 1 == 0 { accept(input) } else { attach(input) }
});

fn accept(mut input: &[u8]) {
    let secrets = [("plays.localhost".to_owned(), "secret".to_owned())];
    let mut acceptor = ComponentAcceptor::new(secrets.into_iter().collect(), "id".into());
    let mut scanner = Scanner::new(XmlLimits::unauthenticated());
    loop {
        let tasks = match scanner.scan(&mut input) {
            Ok(Some(event)) => acceptor.event(event),
            Ok(None) => return,
            Err(error) => acceptor.fail(&StreamError::from(error)),
        };
        let mut queue = VecDeque::from(tasks);
        while let Some(task) = queue.pop_front() {
            match task {
                ComponentTask::Enter(_) => queue.extend(acceptor.entered(Ok(()))),
                ComponentTask::Accepted => return,
                ComponentTask::Close => return assert!(queue.is_empty(), "{queue:?} after the end"),
                _ => {}
            }
        }
    }
}

fn attach(mut input: &[u8]) {
    let Ok(domain) = "plays.localhost".parse() else { return };
    let mut initiator = ComponentInitiator::new(domain, "secret".to_owned().into());
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    while let Ok(Some(event)) = scanner.scan(&mut input) {
        match initiator.event(event) {
            Ok(ComponentStep::Established(_)) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
