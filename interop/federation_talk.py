#!/usr/bin/env python3
"""Two slixmpp users of two servers that federate: messages, pings, presence and subscriptions both ways.

The environment names them: OURS and THEIRS are domains, OURS_PORT and THEIRS_PORT where clients connect, USER1 and
PASSWORD1 an account at both. NAME goes into the names of the checks. Certificates are not looked at: they are the
servers' business here. One line a check, `ok NAME` or `FAIL NAME why`; non-zero exit if any failed.
"""
import asyncio
import os
import ssl
import sys

import slixmpp

ENV = os.environ
TIMEOUT = 30
FAILED = 0


class User(slixmpp.ClientXMPP):
    def __init__(self, domain, port):
        super().__init__(f"{ENV['USER1']}@{domain}/here", ENV["PASSWORD1"])
        self.place = ("127.0.0.1", int(port))
        self.ssl_context = ssl.create_default_context()
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.enable_direct_tls = False
        # The checks answer themselves.
        self.auto_authorize = self.auto_subscribe = None
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        self.online = asyncio.get_running_loop().create_future()
        self.messages, self.presences = asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("session_start", self.started)
        for event in ("message", "message_error"):
            self.add_event_handler(event, self.messages.put_nowait)
        for event in ("presence_available", "presence_unavailable", "presence_subscribe", "presence_subscribed",
                      "presence_unsubscribe", "presence_unsubscribed"):
            self.add_event_handler(event, self.presences.put_nowait)
        self.add_event_handler("failed_all_auth", lambda _: self.online.set_exception(RuntimeError("login refused")))

    async def started(self, _):
        await self.get_roster()
        self.send_presence()
        if not self.online.done():
            self.online.set_result(None)

    async def login(self):
        self.connect(*self.place)
        await asyncio.wait_for(self.online, TIMEOUT)


async def check(name, work):
    global FAILED
    try:
        await asyncio.wait_for(work, TIMEOUT)
        print("ok", ENV["NAME"], name, flush=True)
    except Exception as error:  # any failure of a check is that check's FAIL line
        FAILED += 1
        print("FAIL", ENV["NAME"], name, " ".join(repr(error).split()), flush=True)


async def say(sender, recipient, text):
    sender.send_message(mto=recipient.boundjid.full, mbody=text, mtype="chat")
    while True:
        got = await recipient.messages.get()
        if got["body"] == text and got["type"] == "chat":
            assert got["from"] == sender.boundjid.full, got
            return
        assert got["type"] != "error", got


async def say_many(sender, recipient):
    texts = [f"{number} <&> é 🙌" for number in range(50)]
    for text in texts:
        sender.send_message(mto=recipient.boundjid.full, mbody=text, mtype="chat")
    assert [(await recipient.messages.get())["body"] for _ in texts] == texts


async def directed(sender, recipient):
    sender.send_presence(pto=recipient.boundjid.full, pstatus="directed")
    while True:
        got = await recipient.presences.get()
        if got["from"] == sender.boundjid.full and got["status"] == "directed":
            return


async def heard(user, kind, sender, status=None):
    """Waits for a presence of this kind, `available` or as the wire has it, and forgets those before it."""
    while True:
        got = await user.presences.get()
        if (got.xml.get("type", "available"), got["from"]) == (kind, sender) and status in (None, got["status"]):
            return got


async def shown(user, contact, *states):
    """Waits until the roster says one of these of the contact."""
    while user.client_roster[contact.boundjid.bare]["subscription"] not in states:
        await asyncio.sleep(0.05)


async def subscribe(asking, asked):
    asking.send_presence_subscription(pto=asked.boundjid.bare)
    await heard(asked, "subscribe", asking.boundjid.bare)
    asked.send_presence(pto=asking.boundjid.bare, ptype="subscribed")
    await heard(asking, "subscribed", asked.boundjid.bare)
    await heard(asking, "available", asked.boundjid.full)
    await shown(asking, asked, "to", "both")
    await shown(asked, asking, "from", "both")


async def see(seeing, seen, status):
    seen.send_presence(pstatus=status)
    await heard(seeing, "available", seen.boundjid.full, status)


async def come_back(seeing, seen):
    seen.send_presence(ptype="unavailable")
    await heard(seeing, "unavailable", seen.boundjid.full)
    seen.send_presence(pstatus="back")
    await heard(seeing, "available", seen.boundjid.full, "back")
    # The probe of a new presence session is answered by the other server.
    await heard(seen, "available", seeing.boundjid.full)


async def unsubscribe(leaving, left):
    leaving.send_presence(pto=left.boundjid.bare, ptype="unsubscribe")
    await heard(left, "unsubscribe", leaving.boundjid.bare)
    # RFC 6121 3.3.3; Prosody leaves it out.
    if left.boundjid.domain == ENV["OURS"]:
        await heard(leaving, "unavailable", left.boundjid.full)
    await shown(leaving, left, "from", "none")
    await shown(left, leaving, "to", "none")


async def subscriptions(ways):
    for way, sender, recipient in ways:
        await check(f"subscription {way}", subscribe(sender, recipient))
    for way, sender, recipient in ways:
        await check(f"presence to a subscriber {way}", see(recipient, sender, f"<news> é {way}"))
    for way, sender, recipient in ways:
        await check(f"going, coming back and a probe {way}", come_back(recipient, sender))
    for way, sender, recipient in ways:
        await check(f"unsubscribing {way}", unsubscribe(sender, recipient))


async def nowhere(sender):
    sender.send_message(mto="nobody@nowhere.test", mbody="lost", mtype="chat")
    while True:
        got = await sender.messages.get()
        if got["type"] == "error":
            assert got["error"]["condition"].startswith("remote-server-"), got
            return


async def main():
    ours, theirs = User(ENV["OURS"], ENV["OURS_PORT"]), User(ENV["THEIRS"], ENV["THEIRS_PORT"])
    await check("login at ours", ours.login())
    await check("login at theirs", theirs.login())
    if not FAILED:
        ways = [("to theirs", ours, theirs), ("to ours", theirs, ours)]
        if ENV.get("BEGIN") == "theirs":
            ways.reverse()
        for way, sender, recipient in ways:
            await check(f"message {way}", say(sender, recipient, f"hello {way}"))
        for way, sender, recipient in ways:
            await check(f"50 messages in order {way}", say_many(sender, recipient))
            await check(f"ping the server {way}", sender.plugin["xep_0199"].ping(jid=recipient.boundjid.domain, timeout=TIMEOUT))
            await check(f"ping the user {way}", sender.plugin["xep_0199"].ping(jid=recipient.boundjid.full, timeout=TIMEOUT))
            await check(f"presence {way}", directed(sender, recipient))
        await subscriptions(ways)
        await check("a domain that is not there", nowhere(ours))
    for user in (ours, theirs):
        await user.disconnect()
    sys.exit(FAILED != 0)


if __name__ == "__main__":
    asyncio.run(main())
