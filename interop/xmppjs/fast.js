// xmpp.js against the server in the environment: SASL2, Bind 2, stream management and FAST. Prints a line a check.
import { client, xml } from "@xmpp/client";

const { DOMAIN, USER1, PASSWORD1, HOST, C2S_PORT } = process.env;
const service = `xmpp://${HOST}:${C2S_PORT}`;
const agent = xml("user-agent", { id: "d4565fa7-4d72-4749-b3d3-740edbf87770" }, [
  xml("software", {}, "xmpp.js"),
  xml("device", {}, "interop"),
]);

function check(name, good, detail = "") {
  console.log(good ? `ok ${name}` : `FAIL ${name} ${detail}`);
}

// One session; what was said in it, and the token at its end.
async function session(password, token) {
  const entity = client({ service, domain: DOMAIN, username: USER1, password, resource: "xmppjs", userAgent: agent });
  const said = [];
  let kept = token;
  entity.reconnect.stop();
  entity.on("error", (error) => said.push(`error: ${error}`));
  entity.on("send", (element) => said.push(`> ${element}`));
  entity.on("nonza", (element) => said.push(`< ${element}`));
  entity.fast.fetchToken = async () => kept;
  entity.fast.saveToken = async (fresh) => { kept = fresh; };
  entity.fast.deleteToken = async () => { kept = undefined; };
  try {
    const jid = await entity.start();
    const pong = await entity.iqCaller.request(
      xml("iq", { type: "get", to: DOMAIN }, xml("ping", "urn:xmpp:ping")), 10_000);
    await entity.stop();
    return { jid: jid.toString(), pong: pong.attrs.type, said: said.join("\n"), token: kept };
  } catch (error) {
    await entity.stop().catch(() => {});
    return { jid: "", pong: "", said: `${said.join("\n")}\n${error}`, token: kept };
  }
}

const first = await session(PASSWORD1);
check("xmpp.js logs in by SASL2 and binds in it",
  first.jid.startsWith(`${USER1}@${DOMAIN}/xmppjs/`) && /> <authenticate[^]*< <success[^]*<bound/.test(first.said), first.said);
check("its session is managed from the binding on", /<bound[^]*<enabled/.test(first.said), first.said);
check("it is given a token", first.token?.mechanism === "HT-SHA-256-NONE" && Boolean(first.token.token), first.said);
const second = await session("not the password", first.token);
check("the token logs in again without the password, as the same resource",
  second.jid === first.jid && second.pong === "result", second.said);
check("in one message", /mechanism="HT-SHA-256-NONE"/.test(second.said) && !/challenge/.test(second.said), second.said);
const wrong = await session(PASSWORD1, { ...first.token, token: "guessed" });
check("a wrong token gives way to the password", wrong.jid === first.jid && /<failure/.test(wrong.said), wrong.said);
const refused = await session("not the password");
check("a wrong password is refused", refused.jid === "" && /not-authorized/.test(refused.said), refused.said);
process.exit(0);
