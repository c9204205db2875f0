// Drives browser clients in headless Chromium against the server in the environment.
//   node drive.mjs FOLDER    FOLDER holds node_modules; scratch files go there
// SERVICES is a list of NAME=URL, each tried with every client that speaks it. One line a check: `ok NAME`,
// `FAIL NAME why`.
import { createServer } from "node:http";
import { readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(process.argv[2]);
const require = createRequire(join(folder, "index.js"));
const { build } = require("esbuild");
const { chromium } = require("playwright-core");
const here = dirname(fileURLToPath(import.meta.url));
const env = process.env;

const texts = ["But soft!", "<what> light & \"more\"", "ünï ✓ 🌔", "x".repeat(20_000)];
let failed = 0;

async function check(name, run) {
  let late;
  const patience = new Promise((_, reject) => (late = setTimeout(() => reject(new Error("takes too long")), 90_000)));
  try {
    await Promise.race([run(), patience]);
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name} ${String(error.message).replaceAll("\n", " ").slice(0, 600)}`);
  } finally {
    clearTimeout(late);
  }
}

function same(actual, expected, what) {
  const [one, two] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (one !== two) throw new Error(`${what}: ${one?.slice(0, 300)} instead of ${two.slice(0, 300)}`);
}

function without(build) {
  build.onResolve({ filter: /^node:dns$/ }, ({ path }) => ({ path, namespace: "none" }));
  build.onLoad({ filter: /.*/, namespace: "none" }, () => ({ contents: "export default {}; export const lookup = null" }));
}

/** The page, of an origin of its own, as a browser client's would be. */
async function serve() {
  for (const client of ["strophe", "xmppjs"]) {
    await build({
      entryPoints: [join(here, `${client}.mjs`)],
      outfile: join(folder, `${client}.js`),
      bundle: true,
      format: "iife",
      platform: "browser",
      nodePaths: [join(folder, "node_modules")],
      // @xmpp/resolve means to leave it out, but names it otherwise.
      plugins: [{ name: "no-dns", setup: without }],
      logLevel: "error",
    });
  }
  const server = createServer(async (request, response) => {
    const script = request.url.match(/^\/(strophe|xmppjs)\.js$/);
    response.setHeader("Content-Type", script ? "text/javascript; charset=utf-8" : "text/html; charset=utf-8");
    response.end(script ? await readFile(join(folder, `${script[1]}.js`)) : "<!doctype html><title>chat</title>");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return server;
}

/** A new page with the client in it; every WebSocket's end is noted. */
async function open(context, origin, client) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`${client}: ${error}`));
  page.on("console", (message) => console.error(`${client}: ${message.text()}`));
  await page.addInitScript(() => {
    window.ends = [];
    const Plain = window.WebSocket;
    window.WebSocket = class extends Plain {
      constructor(...all) {
        super(...all);
        this.addEventListener("close", ({ code, wasClean }) => window.ends.push({ code, wasClean }));
      }
    };
  });
  await page.goto(origin);
  await page.addScriptTag({ url: `${origin}/${client}.js` });
  return page;
}

async function checks(context, origin) {
  const services = env.SERVICES.split(" ").map((one) => one.split(/=(.*)/s));
  const account = `${env.USER1}@${env.DOMAIN}`;
  for (const [name, service] of services) {
    const framed = service.startsWith("ws");
    // In a browser @xmpp/client has no SCRAM, and PLAIN is offered under TLS alone.
    for (const client of service.startsWith("wss") ? ["strophe", "xmppjs"] : ["strophe"]) {
      const talk = async (password) => {
        const page = await open(context, origin, client);
        const given = { service, account, password, echo: env.ECHO_JID, texts };
        const heard = await page.evaluate(([client, given]) => window[client].chat(given), [client, given]);
        if (framed) await page.waitForFunction(() => window.ends.length > 0);
        heard.ends = await page.evaluate(() => window.ends);
        await page.close();
        return heard;
      };
      await check(`${client} ${name} login, ${texts.length} messages echoed, clean end`, async () => {
        const heard = await talk(env.PASSWORD1);
        same(heard.received, texts, `messages (${heard.states})`);
        if (!heard.jid.startsWith(`${account}/`)) throw new Error(`bound as ${heard.jid}`);
        if (framed) same(heard.ends, [{ code: 1000, wasClean: true }], "the end of the WebSocket");
      });
      await check(`${client} ${name} wrong password is refused`, async () => {
        const heard = await talk("wrong");
        same(heard.received, [], "messages");
        if (!/AUTHFAIL|not-authorized/.test(heard.states.join())) throw new Error(`states ${heard.states}`);
      });
    }
    await check(`${name} is found by host-meta from a page of another origin`, async () => {
      const page = await open(context, origin, "strophe");
      const at = new URL(service.replace(/^ws/, "http"));
      const relation = `urn:xmpp:alt-connections:${framed ? "websocket" : "xbosh"}`;
      const links = await page.evaluate(async ([base, relation]) => {
        const json = await (await fetch(`${base}/.well-known/host-meta.json`)).json();
        const xml = await (await fetch(`${base}/.well-known/host-meta`)).text();
        const xrd = new DOMParser().parseFromString(xml, "application/xml");
        return [
          json.links.find((link) => link.rel === relation)?.href,
          xrd.querySelector(`Link[rel="${relation}"]`)?.getAttribute("href"),
        ];
      }, [at.origin, relation]);
      await page.close();
      same(links, [service, service], "links");
    });
  }
}

const server = await serve();
const profile = join(folder, "profile");
await rm(profile, { recursive: true, force: true });
const flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const context = await chromium.launchPersistentContext(profile, {
  executablePath: env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  ignoreHTTPSErrors: true,
  args: [...flags, "--no-sandbox", "--disable-component-update", "--disable-sync", "--ignore-certificate-errors"],
});
try {
  await checks(context, `http://127.0.0.1:${server.address().port}`);
} finally {
  await context.close();
  server.close();
}
process.exitCode = failed ? 1 : 0;
