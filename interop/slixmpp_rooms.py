#!/usr/bin/env python3
"""Our bot in a room with clients of slixmpp (XEP-0045).

`slixmpp_rooms.py BOT` makes a room, starts the program BOT (`examples/room_bot.rs`) to come into it, talks to it, kicks it
and sees it come back. The environment is that of slixmpp_chat.py, with MUC_DOMAIN. One line a check.
"""
import asyncio
import logging
import sys
import uuid

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import slixmpp_chat
from slixmpp_chat import DOMAIN, ENV, TRICKY, Client, check, expect

ROOM = f"bots-{uuid.uuid4().hex}@{ENV['MUC_DOMAIN']}"


async def enter(name, nick):
    client = await Client(ENV[f"USER{name}"], ENV[f"PASSWORD{name}"], "room", False).login()
    for plugin in ("xep_0004", "xep_0045"):
        client.register_plugin(plugin)
    # slixmpp tells of presence in rooms by other events.
    client.del_event_handler("presence", client.keep)
    client.register_handler(Callback("presences", MatchXPath("{jabber:client}presence"), client.keep))
    await client.plugin["xep_0045"].join_muc_wait(slixmpp.JID(ROOM), nick, maxstanzas=0, timeout=60)
    return client


def present(nick, gone=False):
    """A presence of the occupant: there, or no more."""
    def wanted(stanza):
        if stanza.name != "presence" or stanza["from"] != f"{ROOM}/{nick}":
            return False
        return (stanza["type"] == "unavailable") == gone
    return wanted


def said(nick, body):
    return lambda s: s.name == "message" and s["from"] == f"{ROOM}/{nick}" and s["body"] == body


async def answer(client, command, body):
    client.send_message(mto=ROOM, mbody=command, mtype="groupchat")
    await client.until(said("bot", body))


async def main():
    logging.disable(logging.CRITICAL)
    one = two = None
    async with check("slixmpp makes a room"):
        one = await enter(1, "First")
        # Prosody and ejabberd have opened it already, or do so by this.
        form = await one.plugin["xep_0045"].get_room_config(slixmpp.JID(ROOM))
        form["type"] = "submit"
        await one.plugin["xep_0045"].set_room_config(slixmpp.JID(ROOM), form)
    bot = await asyncio.create_subprocess_exec(
        sys.argv[1], f"{ENV['USER3']}@{DOMAIN}", ENV["PASSWORD3"], ROOM, f"{ENV['HOST']}:{ENV['C2S_PORT']}", ENV["CA"])
    try:
        async with check("our bot comes in"):
            await one.until(present("bot"))
        async with check("our bot greets who comes"):
            two = await enter(2, "Second")
            await one.until(said("bot", "Welcome, Second!"))
            await two.until(said("bot", "Welcome, Second!"))
        async with check("our bot answers commands"):
            await answer(one, "!ping", "pong")
            await answer(two, f"!echo {TRICKY}", TRICKY)
            await answer(two, "!who", "First, Second, bot")
        async with check("our bot is kicked, and comes back"):
            await one.plugin["xep_0045"].set_role(slixmpp.JID(ROOM), "bot", "none", reason="out")
            await two.until(present("bot", gone=True))
            await two.until(present("bot"))
            await answer(two, "!ping", "pong")
        async with check("our bot knows who has another nickname, and who is gone"):
            await two.plugin["xep_0045"].set_self_nick(slixmpp.JID(ROOM), "Deux")
            await one.until(present("Deux"))
            await answer(one, "!who", "Deux, First, bot")
            two.plugin["xep_0045"].leave_muc(slixmpp.JID(ROOM), "Deux")
            await one.until(present("Deux", gone=True))
            await answer(one, "!who", "First, bot")
        async with check("our bot is banned, and ends"):
            await one.plugin["xep_0045"].set_affiliation(
                slixmpp.JID(ROOM), "outcast", jid=slixmpp.JID(f"{ENV['USER3']}@{DOMAIN}"))
            expect(await bot.wait() == 0, f"with status {bot.returncode}")
    finally:
        if bot.returncode is None:
            bot.kill()
            await bot.wait()
    for client in (one, two):
        await client.logout()
    sys.exit(slixmpp_chat.FAILED != 0)


if __name__ == "__main__":
    asyncio.run(main())
