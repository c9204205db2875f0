#!/usr/bin/env python3
"""slixmpp as the client of a server: two accounts log in, talk, and log out, each step checked.

HOST, C2S_PORT, TLS_PORT, DOMAIN, CA, USER1, PASSWORD1, USER2, PASSWORD2 and ECHO_JID (a bot that
answers a chat message with its own body) come from the environment. TLS_MAX=1.2 keeps TLS at 1.2,
where slixmpp can bind the channel. ROSTER=0 says that the server has no rosters: presence is then
directed. One line a check, `ok NAME`, `FAIL NAME why` or `skip NAME reason`; non-zero exit if any failed. The whole runs once over STARTTLS and once over direct TLS.
"""
import asyncio
import datetime
import ssl
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import checks
from checks import DOMAIN, ENV, TIMEOUT, check, expect, skip

TRICKY = "1 < 2 & \"q\" 'a' ]]> é 日本 🙌 e\u0301\n\ttwo lines  "
ROSTER = ENV.get("ROSTER") != "0"


class Client(slixmpp.ClientXMPP):
    """One session that keeps everything it receives, for the checks to look through."""

    def __init__(self, user, password, resource, direct):
        super().__init__(f"{user}@{DOMAIN}/{resource}", password)
        self.direct = direct
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        if ENV.get("TLS_MAX") == "1.2":
            self.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.enable_direct_tls, self.enable_starttls = direct, not direct
        for plugin in ("xep_0030", "xep_0092", "xep_0199", "xep_0202"):
            self.register_plugin(plugin)
        self.seen = []
        self.news = asyncio.Event()
        self.outcome = asyncio.get_running_loop().create_future()
        self.auth_failures, self.stream_errors = [], []
        self.ended = asyncio.Event()
        self.bindings = None
        self.register_handler(Callback("bindings", MatchXPath(f"{{{self.stream_ns}}}features"), self.announced))
        for event in ("message", "presence"):
            self.add_event_handler(event, self.keep)
        self.add_event_handler("session_start", lambda _: self.settle("online"))
        self.add_event_handler("failed_auth", lambda s: self.auth_failures.append(s["condition"]))
        self.add_event_handler("failed_all_auth", lambda _: self.settle("refused"))
        self.add_event_handler("stream_error", lambda s: self.stream_errors.append(s["condition"]))
        self.add_event_handler("connection_failed", lambda why: self.settle(f"no connection: {why}"))
        self.add_event_handler("ssl_invalid_chain", lambda why: self.settle(f"certificate: {why}"))
        self.add_event_handler("disconnected", self.gone)

    def announced(self, features):
        types = features.xml.find("{urn:xmpp:sasl-cb:0}sasl-channel-binding")
        if types is not None:
            self.bindings = {binding.get("type") for binding in types}

    def keep(self, stanza):
        self.seen.append(stanza)
        self.news.set()

    def settle(self, outcome):
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def gone(self, reason):
        self.settle(f"disconnected: {reason}")
        self.ended.set()

    async def attempt(self):
        """Connects and returns `online`, `refused` or why neither."""
        self.connect(ENV["HOST"], int(ENV["TLS_PORT" if self.direct else "C2S_PORT"]))
        return await self.outcome

    async def login(self):
        outcome = await self.attempt()
        expect(outcome == "online", f"{outcome}, SASL failures {self.auth_failures}")
        return self

    async def until(self, matches):
        """The first stanza seen, or to come, for which `matches` holds; forgets those before it."""
        while True:
            while self.seen:
                stanza = self.seen.pop(0)
                if matches(stanza):
                    return stanza
            self.news.clear()
            await self.news.wait()

    async def until_message(self, body):
        return await self.until(lambda s: s.name == "message" and s["body"] == body)

    async def until_presence(self, sender, kind=None):
        # The attribute itself: slixmpp's own "type" mixes in <show/>.
        return await self.until(lambda s: s.name == "presence" and s["from"] == sender
                                and s.xml.get("type") == kind)

    async def logout(self):
        """Closes the stream; the server has to close its own too, not merely drop the connection."""
        self.disconnect(wait=TIMEOUT)
        await self.ended.wait()
        expect(self.disconnect_reason == "End of stream",
               f"connection ended without </stream:stream>: {self.disconnect_reason!r}")


def expected_mechanism(client):
    """What a client that is able to bind the channel must have chosen among what was offered."""
    offered = client.plugin["feature_mechanisms"].mech_list
    version = client.socket.version()
    binding = "tls-unique" if version != "TLSv1.3" else "tls-exporter"
    # XEP-0440: without an announcement only trying tells.
    bindable = binding in ssl.CHANNEL_BINDING_TYPES and (client.bindings is None or binding in client.bindings)
    scram = [m for m in offered if m.startswith("SCRAM-")]
    plus = [m for m in scram if m.endswith("-PLUS")]
    usable = plus if plus and bindable else [m for m in scram if not m.endswith("-PLUS")]
    # slixmpp does not read the announcement: under TLS 1.2 it tries tls-unique with each, and falls back.
    tried = len(plus) if plus and binding in ssl.CHANNEL_BINDING_TYPES and not bindable else 0
    return usable, tried, sorted(offered), version


async def log_in_both(way, direct):
    first = Client(ENV["USER1"], ENV["PASSWORD1"], "one", direct)
    second = Client(ENV["USER2"], ENV["PASSWORD2"], "two", direct)
    async with check(f"{way} login, certificate verified") as note:
        await first.login()
        await second.login()
        version = first.socket.version()
        expect(version in ("TLSv1.2", "TLSv1.3"), f"TLS version {version}")
        note.append(version)
    if first.outcome.done() and second.outcome.done() and first.bound and second.bound:
        return first, second
    return None


async def check_negotiation(way, first):
    async with check(f"{way} SASL mechanism") as note:
        chosen = first.plugin["feature_mechanisms"].mech.name
        usable, tried, offered, version = expected_mechanism(first)
        expect(usable, f"no SCRAM mechanism offered in {offered}")
        expect(chosen in usable, f"{chosen} chosen from {offered} under {version}")
        expect(len(first.auth_failures) == tried, f"failures before success: {first.auth_failures}, not {tried}")
        note.append(f"{chosen} of {' '.join(offered)}")
    async with check(f"{way} bound to the resource asked for"):
        expect(first.boundjid.full == f"{ENV['USER1']}@{DOMAIN}/one", first.boundjid.full)


async def check_presence(way, first, second):
    if ROSTER:
        async with check(f"{way} roster"):
            await first.get_roster()
            await second.get_roster()
    else:
        skip(f"{way} roster", "the server has none")
    async with check(f"{way} own presence comes back"):
        second.send_presence()
        first.send_presence(pshow="dnd", pstatus=TRICKY, ppriority=5)
        own = await first.until_presence(first.boundjid)
        shown = own["show"], own["status"], own["priority"]
        expect(shown == ("dnd", TRICKY, 5), f"came back as {shown}")
    if ROSTER:
        await check_subscription(way, first, second)
    else:
        skip(f"{way} subscription both ways", "the server has no rosters")
        skip(f"{way} other's presence", "the server has no rosters")
        await check_directed(way, first, second)


async def check_subscription(way, first, second):
    async with check(f"{way} subscription both ways"):
        # The other side approves and asks back by itself: slixmpp's default.
        first.send_presence_subscription(pto=second.boundjid.bare)
        while (first.client_roster[second.boundjid.bare]["subscription"] != "both"
               or second.client_roster[first.boundjid.bare]["subscription"] != "both"):
            await asyncio.sleep(0.05)
    async with check(f"{way} other's presence"):
        second.send_presence(pshow="away", pstatus="elsewhere")
        await first.until(lambda s: s.name == "presence" and s["from"] == second.boundjid
                          and s["show"] == "away" and s["status"] == "elsewhere")


async def check_directed(way, first, second):
    """RFC 6121 4.6: who was told that somebody is there is told of the end too."""
    async def lose(client):
        client.abort()

    for address in (second.boundjid.full, second.boundjid.bare):
        for end, leave in (("logout", Client.logout), ("connection loss", lose)):
            kind = "full" if "/" in address else "bare"
            async with check(f"{way} directed presence to a {kind} address, until {end}"):
                passing = await Client(ENV["USER1"], ENV["PASSWORD1"], "passing", first.direct).login()
                name = passing.boundjid
                passing.send_presence(pto=address, pstatus=TRICKY)
                seen = await second.until_presence(name)
                expect(seen["status"] == TRICKY, f"status {seen['status']!r}")
                await leave(passing)
                await second.until_presence(name, "unavailable")


async def check_queries(way, first, second):
    async with check(f"{way} disco#info of the server") as note:
        info = (await first.plugin["xep_0030"].get_info(DOMAIN))["disco_info"]
        kinds = {(i[0], i[1]) for i in info["identities"]}
        expect(("server", "im") in kinds, f"identities {kinds}")
        expect("http://jabber.org/protocol/disco#info" in info["features"], "disco#info not advertised")
        note.append(f"{len(info['features'])} features")
    async with check(f"{way} disco#items of the server"):
        items = await first.plugin["xep_0030"].get_items(DOMAIN)
        expect(items["type"] == "result", items["type"])
    async with check(f"{way} ping of the server"):
        await first.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN))
    async with check(f"{way} ping of the other client"):
        await first.plugin["xep_0199"].ping(second.boundjid)
    async with check(f"{way} software version") as note:
        answer = (await first.plugin["xep_0092"].get_version(DOMAIN))["software_version"]
        expect(answer["name"] and answer["version"], f"name {answer['name']!r} version {answer['version']!r}")
        note.append(f"{answer['name']} {answer['version']}")
    async with check(f"{way} entity time"):
        answer = (await first.plugin["xep_0202"].get_entity_time(DOMAIN))["entity_time"]
        # slixmpp's own reading of <utc/> adds a second "Z".
        utc = datetime.datetime.fromisoformat(answer.xml.findtext("{urn:xmpp:time}utc"))
        off = abs(datetime.datetime.now(datetime.timezone.utc) - utc)
        expect(off < datetime.timedelta(minutes=2), f"differs by {off}")
    async with check(f"{way} unknown query is service-unavailable"):
        iq = first.make_iq_get(ito=DOMAIN)
        iq.append(ET.Element("{urn:example:nobody-knows}query"))
        try:
            await iq.send()
            raise Expected("answered with a result")
        except IqError as error:
            condition = error.iq["error"]["condition"]
            expect(condition == "service-unavailable", condition)


async def check_messages(way, first, second):
    async with check(f"{way} echo bot answers exactly"):
        first.send_message(mto=ENV["ECHO_JID"], mbody=TRICKY, mtype="chat")
        reply = await first.until_message(TRICKY)
        expect(reply["from"].bare == ENV["ECHO_JID"], f"from {reply['from']}")
        expect(reply["type"] == "chat", f"type {reply['type']}")
        expect(reply["to"].bare == first.boundjid.bare, f"to {reply['to']}")
    both = ((first, second), (second, first))
    for sender, receiver in both:
        for kind, to in (("bare", receiver.boundjid.bare), ("full", receiver.boundjid.full)):
            async with check(f"{way} message to {kind} address of {receiver.boundjid.resource}"):
                body = f"{kind} from {sender.boundjid.resource}: {TRICKY}"
                message = sender.make_message(mto=to, mbody=body, mtype="chat")
                message["id"] = f"{kind}-{sender.boundjid.resource}"
                message.send()
                got = await receiver.until_message(body)
                expect(got["from"] == sender.boundjid, f"from {got['from']}")
                expect(str(got["to"]) == to, f"to {got['to']}")
                expect(got["id"] == message["id"], f"id {got['id']}")
    async with check(f"{way} order of 200 messages"):
        for n in range(200):
            first.send_message(mto=second.boundjid, mbody=f"number {n}", mtype="chat")
        got = [(await second.until(lambda s: s.name == "message"))["body"] for _ in range(200)]
        expect(got == [f"number {n}" for n in range(200)], f"got {got[:5]}…")
    async with check(f"{way} a forged from does not pass"):
        forged = first.make_message(mto=second.boundjid, mbody="forged", mtype="chat",
                                    mfrom=f"someone@{DOMAIN}/else")
        forged.send()
        first.send_message(mto=second.boundjid, mbody="after", mtype="chat")
        # RFC 6120 8.1.2.1 lets the server correct the address or end the stream.
        arrived = asyncio.ensure_future(second.until(lambda s: s.name == "message"))
        ended = asyncio.ensure_future(first.ended.wait())
        await asyncio.wait((arrived, ended), return_when=asyncio.FIRST_COMPLETED)
        if arrived.done():
            ended.cancel()
            expect(arrived.result()["from"] == first.boundjid, f"from {arrived.result()['from']}")
            if arrived.result()["body"] == "forged":
                await second.until_message("after")
        else:
            arrived.cancel()
            expect(first.stream_errors == ["invalid-from"], f"stream errors {first.stream_errors}")
    if first.ended.is_set():
        first = await Client(ENV["USER1"], ENV["PASSWORD1"], "one", first.direct).login()
    return first


async def check_conflict(way, first):
    """RFC 6120 7.7.2.2: the server ends the old session, refuses the new one, or renames it."""
    async with check(f"{way} resource conflict") as note:
        other = Client(ENV["USER1"], ENV["PASSWORD1"], "one", first.direct)
        bind_errors = []
        bind = other.plugin["feature_bind"]
        bound = bind._on_bind_response
        bind._on_bind_response = lambda answer: (
            bind_errors.append(answer["error"]["condition"]) or other.settle("bind refused")
            if answer["type"] == "error" else bound(answer))
        outcome = await other.attempt()
        if outcome == "online" and other.boundjid == first.boundjid:
            await first.ended.wait()
            expect(first.stream_errors == ["conflict"], f"old session saw {first.stream_errors}")
            note.append("old session ended")
        elif outcome == "online":
            await first.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN))
            note.append(f"new session is {other.boundjid.resource}")
        else:
            expect(bind_errors == ["conflict"], f"{outcome}, bind errors {bind_errors}")
            await first.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN))
            note.append("new session refused")
        if not first.ended.is_set():
            await other.logout()
        return first if not first.ended.is_set() else other
    return first


async def check_logout(way, first, second):
    async with check(f"{way} logout closes the stream; the other sees it"):
        name = first.boundjid
        first.send_presence(pto=None if ROSTER else second.boundjid)
        await second.until_presence(name)
        await first.logout()
        await second.until_presence(name, "unavailable")
    async with check(f"{way} second logout closes the stream"):
        await second.logout()


async def check_refusals(way, direct):
    for name, user, password in (("wrong password", ENV["USER1"], "not the password"),
                                 ("unknown user", "nobody-here", ENV["PASSWORD1"])):
        async with check(f"{way} {name} is not-authorized") as note:
            client = Client(user, password, "x", direct)
            outcome = await client.attempt()
            expect(outcome != "online", "logged in")
            expect(client.auth_failures, f"no SASL failure seen: {outcome}")
            expect(set(client.auth_failures) == {"not-authorized"}, f"{client.auth_failures}")
            note.append(f"after {len(client.auth_failures)} attempts")
            client.abort()


async def run(way, direct):
    pair = await log_in_both(way, direct)
    if pair:
        first, second = pair
        await check_negotiation(way, first)
        await check_presence(way, first, second)
        await check_queries(way, first, second)
        first = await check_messages(way, first, second) or first
        first = await check_conflict(way, first)
        await check_logout(way, first, second)
    await check_refusals(way, direct)


async def main():
    for way, direct in (("starttls", False), ("direct-tls", True)):
        await run(way, direct)


if __name__ == "__main__":
    checks.main(main)
