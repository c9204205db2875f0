#!/usr/bin/env python3
"""slixmpp at the other end of a chat: the partner of `xmpp-interop im`.

It says what it has seen, `saw WHAT ID …`, by its plugins' own events, and does what it is asked, `please WHAT …`. HOST,
C2S_PORT, CA, BOT_JID and BOT_PASSWORD come from the environment; prints `ready` when online.
"""
import asyncio
import os
import ssl
import sys

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout

PLUGINS = ["xep_0030", "xep_0085", "xep_0115", "xep_0184", "xep_0199", "xep_0308", "xep_0333", "xep_0424", "xep_0428",
           "xep_0444", "xep_0461"]
STATES = ("active", "composing", "paused", "inactive", "gone")


class Partner(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.ssl_context = ssl.create_default_context(cafile=os.environ["CA"])
        self.enable_direct_tls = False
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        # Who wants to see it has to ask.
        self.auto_authorize, self.auto_subscribe = None, False
        self.bodies = {}
        on = self.add_event_handler
        on("session_start", self.online)
        on("failed_all_auth", lambda _: sys.exit("the partner cannot log in"))
        on("message", self.message)
        on("message_correction", lambda m: self.saw(m, "correction", m["replace"]["id"], m["body"]))
        on("receipt_received", lambda m: self.saw(m, "receipt", m["receipt"]))
        on("marker_displayed", lambda m: self.saw(m, "displayed", m["displayed"]["id"]))
        on("message_retract", lambda m: self.saw(m, "retraction", m["retract"]["id"]))
        on("message_reply", lambda m: self.saw(m, "reply", m["reply"]["id"], m["reply"].strip_fallback_content()))
        on("reactions", self.reactions)
        on("presence_available", self.presence)
        for state in STATES[1:]:
            on(f"chatstate_{state}", lambda m, s=state: self.saw(m, "state", s))

    async def online(self, _):
        self.send_presence()
        await self.get_roster()
        print("ready", flush=True)

    def say(self, to, body, **more):
        message = self.make_message(mto=to.bare, mbody=body, mtype="chat")
        for name, value in more.items():
            message[name] = value
        message.send()
        self.bodies[message["id"]] = body

    def saw(self, message, *what):
        if message["type"] != "error":
            self.say(message["from"], " ".join(("saw", *what)))

    def reactions(self, message):
        values = [reaction["value"] for reaction in message["reactions"]]
        self.saw(message, "reactions", message["reactions"]["id"], *values)

    def message(self, message):
        body = message["body"]
        if message["type"] not in ("chat", "normal") or not body:
            return
        if any(message.get_plugin(name, check=True) is not None for name in ("replace", "retract", "reply")):
            return
        self.bodies[message["id"]] = body
        if body.startswith("please "):
            self.do(message["from"], *body.split(" ")[1:])
        else:
            self.saw(message, "body", message["id"], body)

    def do(self, asker, what, *words):
        rest = " ".join(words[1:])
        to = slixmpp.JID(asker.bare)
        if what == "mark":
            self["xep_0333"].send_marker(to, words[0], "displayed", mtype="chat")
        elif what == "say":
            self.say(to, " ".join(words))
        elif what == "type":
            typing = self.make_message(mto=to, mtype="chat")
            typing["chat_state"] = "composing"
            typing.send()
            self.say(to, "typed", chat_state="active")
        elif what == "ask":
            self.say(to, "confirm this", request_receipt=True, markable=True)
        elif what == "correct":
            self["xep_0308"].build_correction(words[0], to, mbody=rest).send()
        elif what == "react":
            self["xep_0444"].send_reactions(to, words[0], words[1:])
        elif what == "retract":
            self["xep_0424"].send_retraction(to, words[0])
        elif what == "answer":
            quoted = self.bodies[words[0]]
            self["xep_0461"].send_reply(to, words[0], fallback=quoted, mto=to, mbody=rest, mtype="chat")
        elif what == "show":
            self.send_presence(pto=asker)

    async def presence(self, presence):
        asker = presence["from"]
        if asker.bare == self.boundjid.bare or not asker.resource:
            return
        try:
            info = await self["xep_0030"].get_info(asker, cached=True)
            feature = "urn:xmpp:reactions:0"
            known = "caps" if feature in info["disco_info"]["features"] else "no caps"
            if await self["xep_0115"].get_verstring(asker):
                self.say(asker, f"saw {known} {feature}")
        except (IqError, IqTimeout) as error:
            self.say(asker, f"saw no caps {error}")


async def main():
    partner = Partner(os.environ["BOT_JID"], os.environ["BOT_PASSWORD"])
    partner.connect(os.environ["HOST"], int(os.environ["C2S_PORT"]))
    await partner.disconnected


asyncio.run(main())
