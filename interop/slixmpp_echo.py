#!/usr/bin/env python3
"""A minimal echo bot: the stand-in for ours when the other scripts are tried against a peer.

HOST, C2S_PORT, CA, BOT_JID and BOT_PASSWORD come from the environment; prints `ready` when online.
"""
import asyncio
import os
import ssl
import sys

import slixmpp


class Echo(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.ssl_context = ssl.create_default_context(cafile=os.environ["CA"])
        self.enable_direct_tls = False
        self.add_event_handler("session_start", self.online)
        self.add_event_handler("message", self.echo)
        self.add_event_handler("failed_all_auth", lambda _: sys.exit("the bot cannot log in"))

    async def online(self, _):
        self.send_presence()
        await self.get_roster()
        print("ready", flush=True)

    def echo(self, message):
        if message["type"] in ("chat", "normal") and message["body"]:
            self.send_message(mto=message["from"], mbody=message["body"], mtype="chat")


async def main():
    bot = Echo(os.environ["BOT_JID"], os.environ["BOT_PASSWORD"])
    bot.connect(os.environ["HOST"], int(os.environ["C2S_PORT"]))
    await bot.disconnected


asyncio.run(main())
