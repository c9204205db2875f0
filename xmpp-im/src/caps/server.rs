//! A server's capabilities, as stream features (XEP-0115 §6.3, XEP-0390 §6).

use super::{NS, NS_2, own::Own};
use std::sync::Arc;
use xmpp_core::{extension::Target, server::ServerRegistrar};

/// Tells clients what the server can do in the features of their streams, so that they need not ask. `software` names the
/// software, as a URI.
///
/// ```
/// # fn compose(builder: xmpp_core::server::ServerBuilder) -> xmpp_core::server::ServerBuilder {
/// builder.with(xmpp_im::caps::server("https://server.example.org"))
/// # }
/// ```
pub fn server(software: impl Into<String>) -> impl FnOnce(&mut ServerRegistrar) {
    let software = software.into();
    move |r| {
        let own = Arc::new(Own::new(software, Target::Server, r.disco()));
        r.feature(Target::Server, NS);
        r.feature(Target::Server, NS_2);
        let (caps, hashes) = (Arc::clone(&own), Arc::clone(&own));
        r.stream_feature(false, move |out| caps.write(out));
        r.stream_feature(false, move |out| hashes.write_hashes(out));
        r.disco_node(Target::Server, move |_, node| own.node(node));
    }
}
