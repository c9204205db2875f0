#!/usr/bin/env python3
"""slixmpp's carbons (XEP-0280), offline messages (XEP-0160) and block list (XEP-0191), each step checked.

The environment is that of slixmpp_chat.py. USER1 has two resources, USER2 writes to it. One line a
check, `ok NAME` or `FAIL NAME why`; non-zero exit if any failed.
"""
import asyncio

import slixmpp
from slixmpp.exceptions import IqError

import checks
import slixmpp_chat as chat
from checks import DOMAIN, ENV, check, expect
from slixmpp_chat import TRICKY

RULES = "urn:xmpp:carbons:rules:0"


class Client(chat.Client):
    """With the plugins that are tried here; copies and pushes are kept like messages."""

    def __init__(self, user, resource):
        super().__init__(ENV["USER" + user], ENV["PASSWORD" + user], resource, False)
        for plugin in ("xep_0191", "xep_0203", "xep_0280", "xep_0297", "xep_0334"):
            self.register_plugin(plugin)
        self.copies, self.pushes = asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("message_error", self.keep)
        for way in ("sent", "received"):
            self.add_event_handler(f"carbon_{way}", lambda m, w=way: self.copies.put_nowait((w, m[f"carbon_{w}"])))
        for kind in ("blocked", "unblocked"):
            self.add_event_handler(kind, lambda iq, k=kind: self.pushes.put_nowait(k))

    async def available(self, priority=0):
        """Logs in and shows itself; by its own presence coming back, all before is done."""
        await self.login()
        self.send_presence(ppriority=priority)
        await self.until_presence(self.boundjid)
        return self

    def tell(self, to, body):
        self.send_message(mto=to, mbody=body, mtype="chat")

    async def copy(self, way, body):
        """The next copy is this one."""
        got, message = await self.copies.get()
        expect((got, message["body"]) == (way, body), f"{got} {message['body']!r}")
        return message

    async def error(self):
        """The condition of the next message that comes back."""
        message = await self.until(lambda s: s.name == "message" and s["type"] == "error")
        return message["error"]["condition"]

    async def blocked(self):
        """The addresses in the block list."""
        answer = await self.plugin["xep_0191"].get_blocked()
        return [item.get("jid") for item in answer.xml.iter("{urn:xmpp:blocking}item")]

    async def ping(self, to):
        return await self.plugin["xep_0199"].send_ping(to, timeout=checks.TIMEOUT)


async def check_carbons(home, work, other):
    async with check("carbons are advertised") as note:
        info = (await home.plugin["xep_0030"].get_info(DOMAIN))["disco_info"]
        expect("urn:xmpp:carbons:2" in info["features"], "not advertised")
        note.append("with the recommended rules" if RULES in info["features"] else "without rules")
    async with check("carbons can be enabled, twice"):
        await home.plugin["xep_0280"].enable()
        await home.plugin["xep_0280"].enable()
    async with check("a copy of what another resource gets"):
        other.tell(work.boundjid, TRICKY)
        message = await home.copy("received", TRICKY)
        expect(message["from"] == other.boundjid and message["to"] == work.boundjid, f"{message['from']}")
        await work.until_message(TRICKY)
    async with check("a copy of what another resource sends"):
        work.tell(other.boundjid, TRICKY)
        message = await home.copy("sent", TRICKY)
        expect(message["from"] == work.boundjid and message["to"] == other.boundjid, f"{message['from']}")
        await other.until_message(TRICKY)
    async with check("private messages are not copied"):
        message = other.make_message(mto=work.boundjid, mbody="private", mtype="chat")
        message.append(slixmpp.ET.Element("{urn:xmpp:carbons:2}private"))
        message.append(slixmpp.ET.Element("{urn:xmpp:hints}no-copy"))
        message.send()
        other.tell(work.boundjid, "public")
        await home.copy("received", "public")
        await work.until_message("public")
    async with check("no copies once they are disabled"):
        await home.plugin["xep_0280"].disable()
        other.tell(work.boundjid, "alone")
        await work.until_message("alone")
        await home.ping(DOMAIN)
        expect(home.copies.empty(), "a copy came")


async def check_blocking(home, work, other):
    blocking = home.plugin["xep_0191"]
    bare = slixmpp.JID(other.boundjid.bare)
    async with check("blocking is advertised, the list is empty"):
        info = (await home.plugin["xep_0030"].get_info(DOMAIN))["disco_info"]
        expect("urn:xmpp:blocking" in info["features"], "not advertised")
        for client in (home, work):
            expect(await client.blocked() == [], "somebody is in it")
    async with check("an address is blocked, another resource is told"):
        await blocking.block([bare])
        expect(await work.pushes.get() == "blocked", "no push")
        listed = await work.blocked()
        expect(listed == [bare.full], f"{listed}")
    async with check("who is blocked gets service-unavailable"):
        # Prosody drops what is for a resource that is there.
        other.tell(home.boundjid.bare, "blocked")
        condition = await other.error()
        expect(condition == "service-unavailable", condition)
        try:
            await other.ping(home.boundjid)
            expect(False, "a request came through")
        except IqError as error:
            expect(error.condition == "service-unavailable", error.condition)
    async with check("one cannot write to who is blocked") as note:
        home.tell(other.boundjid, "out")
        message = await home.until(lambda s: s.name == "message" and s["type"] == "error")
        expect(message["error"]["condition"] == "not-acceptable", message["error"]["condition"])
        if message["error"].xml.find("{urn:xmpp:blocking:errors}blocked") is None:
            note.append("without <blocked/>")
    async with check("all are unblocked, another resource is told"):
        await blocking.unblock([bare])
        expect(await work.pushes.get() == "unblocked", "no push")
        other.tell(home.boundjid, "again")
        got = await home.until(lambda s: s.name == "message" and s["type"] != "error")
        expect(got["body"] == "again", f"{got['body']!r} came")


async def check_offline(other):
    """USER1 is not there."""
    async with check("offline messages are advertised") as note:
        info = (await other.plugin["xep_0030"].get_info(DOMAIN))["disco_info"]
        note.append("yes" if "msgoffline" in info["features"] else "no")
    bodies = [f"{number} {TRICKY}" for number in range(20)]
    to = f"{ENV['USER1']}@{DOMAIN}"
    for body in bodies:
        other.tell(to, body)
    await other.ping(DOMAIN)
    async with check("no offline messages for a negative priority"):
        negative = await Client("1", "negative").available(-1)
        await negative.ping(DOMAIN)
        bad = [s["body"] for s in negative.seen if s.name == "message" and s["type"] == "chat"]
        expect(not bad, f"got {bad[:3]}")
        await negative.logout()
    async with check("offline messages come in order, with their time"):
        back = Client("1", "back")
        await back.login()
        back.send_presence()
        for body in bodies:
            message = await back.until(lambda s: s.name == "message" and s["type"] == "chat")
            expect(message["body"] == body, f"{message['body']!r}, not {body!r}")
            expect(message.xml.find("{urn:xmpp:delay}delay") is not None, "no delay")
        await back.logout()
    async with check("offline messages come once"):
        again = await Client("1", "again").available()
        await again.ping(DOMAIN)
        bad = [s["body"] for s in again.seen if s.name == "message"]
        expect(not bad, f"got {bad[:3]}")
        await again.logout()


async def main():
    other = home = work = None
    async with check("logins"):
        other = await Client("2", "other").available()
        home = await Client("1", "home").available()
        work = await Client("1", "work").available()
    if work is not None:
        await check_carbons(home, work, other)
        await check_blocking(home, work, other)
        await home.logout()
        await work.logout()
        await check_offline(other)
        await other.logout()


if __name__ == "__main__":
    checks.main(main)
