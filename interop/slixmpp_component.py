#!/usr/bin/env python3
"""External components (XEP-0114) at a server, seen by a client.

`slixmpp`: a component of slixmpp attaches, and talks to slixmpp's client and to the bot at ECHO_JID.
`ours`: a component that echoes is attached already; slixmpp's client talks to it.

The environment is that of slixmpp_chat.py, with COMPONENT_DOMAIN, COMPONENT_SECRET and COMPONENT_PORT. One line a check.
"""
import asyncio
import sys

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout

import checks
from checks import DOMAIN, ENV, check, expect
from slixmpp_chat import TRICKY, Client

COMPONENT = ENV["COMPONENT_DOMAIN"]
HAMLET = f"hamlet@{COMPONENT}/castle"


class Echo(slixmpp.ComponentXMPP):
    """Echoes what clients send to `hamlet`, and keeps everything for the checks to look through."""

    until = Client.until

    def __init__(self, secret):
        super().__init__(COMPONENT, secret, ENV["HOST"], int(ENV["COMPONENT_PORT"]))
        for plugin in ("xep_0030", "xep_0092", "xep_0199"):
            self.register_plugin(plugin)
        self.seen, self.stream_errors = [], []
        self.news, self.ended = asyncio.Event(), asyncio.Event()
        self.outcome = asyncio.get_running_loop().create_future()
        self.add_event_handler("message", self.echo)
        self.add_event_handler("presence", self.keep)
        self.add_event_handler("session_start", lambda _: self.settle("online"))
        self.add_event_handler("stream_error", self.refused)
        self.add_event_handler("disconnected", self.gone)

    def keep(self, stanza):
        self.seen.append(stanza)
        self.news.set()

    def echo(self, message):
        self.keep(message)
        if message["type"] != "error" and message["to"].user == "hamlet":
            self.send_message(mfrom=message["to"], mto=message["from"], mbody=message["body"], mtype="chat")

    def settle(self, outcome):
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def refused(self, error):
        self.stream_errors.append(error["condition"])
        self.settle(error["condition"])

    def gone(self, reason):
        self.settle(f"disconnected: {reason}")
        self.ended.set()

    async def attempt(self):
        """Attaches and returns `online`, or why not."""
        self.connect()
        return await self.outcome


async def check_echo(client):
    for address in (HAMLET, f"hamlet@{COMPONENT}"):
        async with check(f"message to {address} and back"):
            client.send_message(mto=address, mbody=TRICKY, mtype="chat")
            # What others left for this account while it was away is none of the component's.
            reply = await client.until(lambda s, a=address: s.name == "message" and s["from"] == a)
            expect(reply["body"] == TRICKY, reply["body"])
            expect(reply["to"] == client.boundjid, f"to {reply['to']}")
    async with check("200 messages through the component in order"):
        for n in range(200):
            client.send_message(mto=HAMLET, mbody=f"number {n}", mtype="chat")
        got = [(await client.until(lambda s: s.name == "message" and s["from"] == HAMLET))["body"] for _ in range(200)]
        expect(got == [f"number {n}" for n in range(200)], f"got {got[:5]}…")
    async with check("ping of the component"):
        await client.plugin["xep_0199"].ping(slixmpp.JID(COMPONENT))
    async with check("software version of the component") as note:
        answer = (await client.plugin["xep_0092"].get_version(COMPONENT))["software_version"]
        expect(answer["name"], "no name")
        note.append(f"{answer['name']} {answer['version']}")
    async with check("disco#info of the component") as note:
        info = (await client.plugin["xep_0030"].get_info(COMPONENT))["disco_info"]
        kinds = {(i[0], i[1]) for i in info["identities"]}
        expect(any(category == "component" for category, _ in kinds), f"identities {kinds}")
    if ENV["PEER"] != "ejabberd":
        async with check("disco#items of the server lists the component"):
            items = await client.plugin["xep_0030"].get_items(DOMAIN)
            expect(COMPONENT in {item[0] for item in items["disco_items"]["items"]}, items)


async def check_refusals():
    async with check("a wrong secret is refused") as note:
        other = Echo("not the secret")
        outcome = await other.attempt()
        expect(outcome != "online", "attached")
        note.append(outcome)
        other.abort()


async def check_component(component, client):
    async with check("directed presence to the component, until connection loss"):
        passing = await Client(ENV["USER2"], ENV["PASSWORD2"], "passing", False).login()
        name = passing.boundjid
        passing.send_presence(pto=HAMLET, pstatus=TRICKY)
        seen = await component.until(lambda s: s.name == "presence" and s["from"] == name)
        expect(seen["status"] == TRICKY and seen["to"] == HAMLET, seen)
        passing.abort()
        await component.until(lambda s: s.name == "presence" and s["from"] == name and s["type"] == "unavailable")
    async with check("presence of a component's user reaches the client"):
        component.send_presence(pfrom=HAMLET, pto=client.boundjid, pstatus=TRICKY)
        seen = await client.until(lambda s: s.name == "presence" and s["from"] == HAMLET)
        expect(seen["status"] == TRICKY, seen["status"])
    async with check("the component pings the client, as one of its users"):
        await component.plugin["xep_0199"].ping(client.boundjid, ifrom=slixmpp.JID(HAMLET))
    async with check("the component pings the server"):
        await component.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN), ifrom=slixmpp.JID(COMPONENT))
    async with check("the bot answers the component's user"):
        component.send_message(mfrom=f"ophelia@{COMPONENT}/x", mto=ENV["ECHO_JID"], mbody=TRICKY, mtype="chat")
        reply = await component.until(lambda s: s.name == "message" and s["to"].user == "ophelia")
        expect(reply["body"] == TRICKY and reply["to"] == f"ophelia@{COMPONENT}/x", reply)
    if ENV["PEER"] == "xmppd":
        async with check("a second component of the domain is refused with conflict"):
            outcome = await Echo(ENV["COMPONENT_SECRET"]).attempt()
            expect(outcome == "conflict", outcome)
            await component.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN), ifrom=slixmpp.JID(COMPONENT))


async def check_absence(component, client):
    async with check("what is sent to a component that has gone comes back") as note:
        component.disconnect()
        await component.ended.wait()
        while True:
            try:
                await client.plugin["xep_0199"].send_ping(slixmpp.JID(COMPONENT), timeout=5)
            except IqError as error:
                note.append(error.iq["error"]["condition"])
                break
            except IqTimeout:
                pass  # Handed over while the component was leaving.
        client.send_message(mto=HAMLET, mbody="anybody?", mtype="chat")
        answer = await client.until(lambda s: s.name == "message" and s["from"] == HAMLET)
        expect(answer["type"] == "error", answer["type"])
        if ENV["PEER"] == "xmppd":
            expect(answer["error"]["condition"] == "remote-server-timeout", answer["error"]["condition"])


async def main():
    component = None
    if sys.argv[1] == "slixmpp":
        await check_refusals()
        component = Echo(ENV["COMPONENT_SECRET"])
        async with check("a component attaches"):
            outcome = await component.attempt()
            expect(outcome == "online", outcome)
    client = None
    async with check("a client logs in"):
        client = await Client(ENV["USER1"], ENV["PASSWORD1"], "one", False).login()
        client.add_event_handler("message_error", client.keep)
        client.send_presence()
    await check_echo(client)
    if component:
        await check_component(component, client)
        await check_absence(component, client)
    await client.logout()


if __name__ == "__main__":
    checks.main(main)
