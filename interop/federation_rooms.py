#!/usr/bin/env python3
"""A user of each of two servers that federate, in a room of each: who is of the other server comes in, hears and is heard,
leaves, and is kicked.

The environment is that of federation_talk.py. The rooms are at `rooms.` before a server's domain. One line a check.
"""
import asyncio
import sys
import uuid

import slixmpp

import federation_talk as talk
from federation_talk import ENV, TIMEOUT, User, check

STATUS, REASON = (f"{{http://jabber.org/protocol/muc#user}}{name}" for name in ("status", "reason"))


def heard(user, room):
    """What comes from the room from now on."""
    queue = asyncio.Queue()

    def watch(stanza):
        if stanza.name in ("message", "presence") and stanza["from"].bare == room.bare:
            queue.put_nowait(stanza)
        return stanza

    user.add_filter("in", watch)
    return queue


async def until(queue, matches):
    while True:
        stanza = await queue.get()
        if matches(stanza):
            return stanza
        assert stanza.xml.get("type") != "error", stanza


async def enter(user, room, nick):
    await user.plugin["xep_0045"].join_muc_wait(room, nick, timeout=TIMEOUT)


async def opened(owner, room):
    await enter(owner, room, "Owner")
    form = await owner.plugin["xep_0045"].get_room_config(room, timeout=TIMEOUT)
    if (moderated := form.get_fields().get("muc#roomconfig_moderatedroom")) is not None:
        moderated["value"] = False
    await owner.plugin["xep_0045"].set_room_config(room, form, timeout=TIMEOUT)


async def say(speaker, queues, room, nick, texts):
    for text in texts:
        speaker.send_message(mto=room, mbody=text, mtype="groupchat")
    for queue in queues:
        for text in texts:
            got = await until(queue, lambda s: s.name == "message" and s["body"])
            assert (got["body"], got["from"]) == (text, f"{room}/{nick}"), got


async def kicked(owner, queue, room):
    await owner.plugin["xep_0045"].set_role(room, "Guest", "none", reason="enough <&>", timeout=TIMEOUT)
    gone = await until(queue, lambda s: s.name == "presence" and s.xml.get("type") == "unavailable"
                       and s["from"].resource == "Guest")
    codes = {status.get("code") for status in gone.xml.iter(STATUS)}
    assert {"110", "307"} <= codes and gone.xml.findtext(f".//{REASON}") == "enough <&>", gone


async def left(guest, queues, room):
    guest.plugin["xep_0045"].leave_muc(room, "Guest")
    for queue in queues:
        await until(queue, lambda s: s.name == "presence" and s.xml.get("type") == "unavailable"
                    and s["from"].resource == "Guest")


async def main():
    ours, theirs = User(ENV["OURS"], ENV["OURS_PORT"]), User(ENV["THEIRS"], ENV["THEIRS_PORT"])
    for user in (ours, theirs):
        for plugin in ("xep_0045", "xep_0410"):
            user.register_plugin(plugin)
        await user.login()
    for whose, owner, guest in (("ours", ours, theirs), ("theirs", theirs, ours)):
        name = f"room-{uuid.uuid4().hex[:6]}@rooms.{owner.boundjid.domain}"
        room = slixmpp.JID(name)
        queues = [heard(user, room) for user in (owner, guest)]
        await check(f"a room of {whose}", opened(owner, room))
        await check(f"a guest enters a room of {whose}", enter(guest, room, "Guest"))
        await check(f"a guest speaks in a room of {whose}",
                    say(guest, queues, room, "Guest", [f"{n} <&> é 🙌" for n in range(20)]))
        await check(f"a guest hears in a room of {whose}", say(owner, queues, room, "Owner", ["hello", "to all"]))
        await check(f"a guest leaves a room of {whose}", left(guest, queues, room))
        await check(f"a guest comes back into a room of {whose}", enter(guest, room, "Guest"))
        await check(f"a guest is kicked from a room of {whose}", kicked(owner, queues[1], room))
    for user in (ours, theirs):
        await user.disconnect()
    sys.exit(talk.FAILED != 0)


if __name__ == "__main__":
    asyncio.run(main())
