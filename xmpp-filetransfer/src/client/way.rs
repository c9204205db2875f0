//! The ways from one client to the other, as a session of Jingle proposes and answers them.

use super::{FilesSettings, TransferError, Ways, element};
use crate::{ibb, jingle::Content, socks5};
use xmpp_core::{client::Client, jid::FullJid, payload::Payload, stanza::generate_id, xml::Stanza};

/// The smallest blocks that we send within stanzas, in bytes.
const LEAST_BLOCK: u16 = 256;

/// A way, as far as it is prepared.
#[derive(Debug)]
pub(super) enum Way {
    Sockets(socks5::Gathered),
    InBand(ibb::Transport, Option<ibb::Expected>),
}

impl Way {
    pub(super) fn transport(&self) -> Stanza {
        match self {
            Way::Sockets(gathered) => element(&gathered.transport()),
            Way::InBand(transport, _) => element(transport),
        }
    }

    /// The first way that the initiator offers.
    pub(super) async fn offer(
        client: &Client,
        peer: &FullJid,
        ways: Ways,
        settings: &FilesSettings,
    ) -> Result<Way, TransferError> {
        if ways.sockets {
            let gathered = socks5::gather(client, peer.clone(), &generate_id(), true, &[]).await;
            return gathered.map(Way::Sockets).map_err(|_| TransferError::Offline);
        }
        Ok(Way::InBand(in_band(settings), None))
    }

    /// What the responder answers to the way that was offered.
    pub(super) async fn answer(
        client: &Client,
        peer: &FullJid,
        theirs: &Content,
        settings: &FilesSettings,
    ) -> Result<Way, TransferError> {
        let sockets = read::<socks5::Transport>(theirs.transport.as_ref());
        if let Some(transport) = sockets.filter(|transport| transport.mode == socks5::Mode::Tcp) {
            let gathered = socks5::gather(client, peer.clone(), &transport.sid, false, &transport.candidates).await;
            return gathered.map(Way::Sockets).map_err(|_| TransferError::Offline);
        }
        let transport = blocks(theirs.transport.as_ref()).ok_or(TransferError::NoRoad)?;
        expect(client, peer, transport, settings)
    }
}

pub(super) fn in_band(settings: &FilesSettings) -> ibb::Transport {
    ibb::Transport { block_size: settings.block_size, sid: generate_id(), carrier: ibb::Carrier::Iq }
}

/// Lets the peer open a stream within stanzas.
pub(super) fn expect(
    client: &Client,
    peer: &FullJid,
    mut transport: ibb::Transport,
    settings: &FilesSettings,
) -> Result<Way, TransferError> {
    transport.block_size = transport.block_size.min(settings.block_size);
    let expected = ibb::expect(client, peer.clone(), &transport.sid, transport.block_size);
    let expected = expected.map_err(|_| TransferError::NoRoad)?;
    Ok(Way::InBand(transport, Some(expected)))
}

pub(super) fn read<P: Payload>(element: Option<&Stanza>) -> Option<P> {
    let root = element?.root();
    if P::matches(root) { P::read(root).ok() } else { None }
}

/// A stream within stanzas that is worth it: of blocks that are not so small that their stanzas are what is sent.
pub(super) fn blocks(element: Option<&Stanza>) -> Option<ibb::Transport> {
    read::<ibb::Transport>(element).filter(|transport| transport.block_size >= LEAST_BLOCK)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::XmlLimits;

    #[test]
    fn abuse_nobody_makes_us_send_a_stanza_for_each_byte() {
        let of = |size: u16| {
            let text = format!("<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='{size}' sid='a'/>");
            blocks(Some(&Stanza::parse(&text, "", &XmlLimits::default()).unwrap())).map(|it| it.block_size)
        };
        assert_eq!(of(LEAST_BLOCK), Some(LEAST_BLOCK));
        assert_eq!(of(LEAST_BLOCK - 1), None);
        assert_eq!(of(1), None);
    }
}
