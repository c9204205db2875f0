// @xmpp/client in the page, which speaks WebSocket alone.
import { client, xml } from "@xmpp/client";

/** As that of strophe.mjs. */
export async function chat({ service, account, password, echo, texts }) {
  const [username, domain] = account.split("@");
  const xmpp = client({ service, domain, username, password });
  xmpp.reconnect.stop();
  const states = [];
  const received = [];
  let enough;
  const all = new Promise((resolve) => (enough = resolve));
  xmpp.on("status", (status) => states.push(status));
  xmpp.on("error", (error) => states.push(`error: ${error.condition ?? error.message}`));
  xmpp.on("stanza", (stanza) => {
    if (!stanza.is("message") || !stanza.getChild("body")) return;
    received.push(stanza.getChildText("body"));
    if (received.length === texts.length) enough();
  });
  let jid;
  try {
    jid = String(await xmpp.start());
    await xmpp.send(xml("presence"));
    for (const text of texts) await xmpp.send(xml("message", { to: echo, type: "chat" }, xml("body", {}, text)));
    await all;
  } catch (error) {
    states.push(`refused: ${error.condition ?? error.message}`);
  }
  await xmpp.stop();
  return { states, received, jid };
}

window.xmppjs = { chat };
