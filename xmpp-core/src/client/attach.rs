//! The driver of a component's negotiation (XEP-0114 §3).

use super::{
    ConnectionError,
    negotiate::{Ready, Settings, farewell, next_event},
};
use crate::{
    jid::FullJid,
    net::Transport,
    stream::{ComponentInitiator, ComponentStep, Established, Features, NegotiationError},
    xml::{Writer, ns},
};
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

pub(super) async fn attach(
    settings: &Settings,
    mut transport: Transport,
    secret: Zeroizing<String>,
) -> Result<Ready, ConnectionError> {
    let mut initiator = ComponentInitiator::new(settings.account.clone(), secret);
    let mut scanner = settings.scanner();
    let mut buffer = vec![0; 16 * 1024].into_boxed_slice();
    let mut unread = 0..0;
    transport.write_all(&initiator.start()).await?;
    transport.flush().await?;
    loop {
        let event = next_event(&mut transport, &mut scanner, &mut buffer, &mut unread).await?;
        match initiator.event(event) {
            Ok(ComponentStep::Wait) => {}
            Ok(ComponentStep::Send(bytes)) => {
                transport.write_all(&bytes).await?;
                transport.flush().await?;
            }
            Ok(ComponentStep::Established(id)) => {
                let established = Box::new(established(settings, id)?);
                return Ok(Ready { transport, scanner, buffer, unread, established });
            }
            Err(error) => {
                let told = match &error {
                    NegotiationError::Protocol(error) => Some(error),
                    _ => None,
                };
                farewell(&mut transport, told).await;
                return Err(error.into());
            }
        }
    }
}

/// A component's stream offers no features and binds no resource.
fn established(settings: &Settings, stream_id: String) -> Result<Established, NegotiationError> {
    let mut none = Writer::new(ns::CLIENT);
    none.open("features", ns::STREAMS);
    none.close();
    let features = Features::from_stanza(none.into_stanza()).ok_or(NegotiationError::Missing("features"))?;
    let jid = settings.account.with_resource(&stream_id).or_else(|_| settings.account.with_resource("component"));
    let jid: FullJid = jid.map_err(|_| NegotiationError::Missing("an id of the stream"))?;
    Ok(Established {
        jid,
        features,
        mechanism: None,
        floor: None,
        keys: None,
        stream_id,
        resumed: None,
        not_resumed: None,
        enabling: false,
        enabled: None,
        sasl2: None,
        token: None,
    })
}
