#!/usr/bin/env python3
"""Two slixmpp users of two servers of which one has no certificate that the other accepts: what they write comes back.

The environment is that of federation_talk.py.
"""
import asyncio
import sys

import federation_talk as talk


async def comes_back(sender, recipient):
    sender.send_message(mto=recipient.boundjid.full, mbody="lost", mtype="chat")
    got = await sender.messages.get()
    assert got["type"] == "error" and got["error"]["condition"].startswith("remote-server-"), got
    assert recipient.messages.empty(), "it arrived"


async def main():
    ours = talk.User(talk.ENV["OURS"], talk.ENV["OURS_PORT"])
    theirs = talk.User(talk.ENV["THEIRS"], talk.ENV["THEIRS_PORT"])
    await talk.check("login at ours", ours.login())
    await talk.check("login at theirs", theirs.login())
    if not talk.FAILED:
        await talk.check("refused to theirs", comes_back(ours, theirs))
        await talk.check("refused to ours", comes_back(theirs, ours))
    for user in (ours, theirs):
        await user.disconnect()
    sys.exit(talk.FAILED != 0)


asyncio.run(main())
