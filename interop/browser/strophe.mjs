// strophe.js in the page. The service may be a WebSocket or, with http: and https:, BOSH.
import { $msg, $pres, Strophe } from "strophe.js";

const names = Object.fromEntries(Object.entries(Strophe.Status).map(([name, value]) => [value, name]));

/** Logs in, sends `texts` to `echo`, and leaves; what came back, and the states passed. */
export function chat({ service, account, password, echo, texts }) {
  return new Promise((resolve) => {
    const connection = new Strophe.Connection(service);
    const states = [];
    const received = [];
    const done = () => resolve({ states, received, jid: connection.jid });
    connection.addHandler((message) => {
      received.push(message.querySelector("body")?.textContent);
      if (received.length === texts.length) connection.disconnect("that is all");
      return true;
    }, null, "message", "chat");
    connection.connect(account, password, (status) => {
      states.push(names[status]);
      if (status === Strophe.Status.CONNECTED) {
        connection.send($pres());
        for (const text of texts) connection.send($msg({ to: echo, type: "chat" }).c("body").t(text));
      }
      if (status === Strophe.Status.AUTHFAIL) connection.disconnect("refused");
      if (status === Strophe.Status.DISCONNECTED) done();
    });
  });
}

window.strophe = { chat };
