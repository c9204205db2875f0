#!/usr/bin/env python3
"""Bytestreams between slixmpp and our client: in-band (XEP-0047) and by SOCKS5 (XEP-0065), each way.

HOST, C2S_PORT, DOMAIN, CA, USER1 and PASSWORD1 (ours), USER2 and PASSWORD2 (slixmpp's) come from the environment, and OURS, the
program `xmpp-interop`, which `bytestreams` makes do what messages ask it to. One line a
check, `ok NAME`, `FAIL NAME why` or `skip NAME reason`; non-zero exit if any failed.
"""
import asyncio
import os
import ssl

import slixmpp

import checks
from checks import DOMAIN, ENV, Lacking, check, expect

SENT = bytes(n * n >> 8 & 255 for n in range(300_000))


class Client(slixmpp.ClientXMPP):
    """Keeps what it is told, and what comes through streams."""

    def __init__(self):
        super().__init__(f"{ENV['USER2']}@{DOMAIN}/slixmpp", ENV["PASSWORD2"])
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        self.enable_direct_tls, self.enable_starttls = False, True
        self.register_plugin("xep_0030")
        # Prosody with SASL2 leaves the bound on stanzas where it was before the login, at 10,000 bytes.
        self.register_plugin("xep_0047", {"auto_accept": True, "max_block_size": 4096})
        self.register_plugin("xep_0065", {"auto_accept": True})
        self.told, self.streams = asyncio.Queue(), asyncio.Queue()
        self.raw, self.raw_changed = b"", asyncio.Event()
        self.online = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: self.online.set_result(None))
        self.add_event_handler("message", lambda message: message["type"] != "error" and self.told.put_nowait(message["body"]))
        self.add_event_handler("ibb_stream_start", self.streams.put_nowait)
        self.add_event_handler("socks5_data", self.more)

    def more(self, data):
        self.raw += data
        self.raw_changed.set()

    async def hears(self, beginning):
        """The next thing that is told."""
        told = await self.told.get()
        expect(told.startswith(beginning), told)
        return told

    async def receives(self):
        """The bytes of a SOCKS5 stream, all that there will be."""
        while len(self.raw) < len(SENT):
            self.raw_changed.clear()
            await self.raw_changed.wait()
        raw, self.raw = self.raw, b""
        return raw


def got(sid):
    return f"got {sid} {len(SENT)} {sum(SENT)}"


def start(**environment):
    return asyncio.create_subprocess_exec(ENV["OURS"], "bytestreams", stdout=asyncio.subprocess.PIPE,
                                          env=os.environ | environment)


async def run():
    program = await start()
    client = Client()
    ours = None
    async with check("bytestreams: both are there"):
        client.connect(ENV["HOST"], int(ENV["C2S_PORT"]))
        await client.online
        client.send_presence()
        ours = slixmpp.JID((await program.stdout.readline()).decode().split()[1])
    if ours is None:
        return
    first = ours

    def ask(order):
        client.send_message(mto=ours, mbody=order, mtype="chat")

    ibb, socks5 = client.plugin["xep_0047"], client.plugin["xep_0065"]
    for name, order in (("", "open"), (", smaller blocks than offered", "open large"), (", in messages", "open messages")):
        async with check(f"ibb: slixmpp receives{name}"):
            sid = order.replace(" ", "-")
            ask(f"{order} {sid}")
            stream = await client.streams.get()
            expect(stream.sid == sid and stream.block_size == 4096, f"{stream.sid} {stream.block_size}")
            data = await stream.gather(timeout=60)
            expect(data == SENT, f"{len(data)} bytes")
    for name, messages in (("", False), (", in messages", True)):
        async with check(f"ibb: slixmpp sends{name}"):
            sid = f"out-{messages}"
            stream = await ibb.open_stream(ours, sid=sid, use_messages=messages)
            client.streams.get_nowait()
            await stream.sendall(SENT)
            await stream.close()
            await client.hears(got(sid))
    async with check("socks5: slixmpp connects to our client"):
        ask("offer direct")
        expect(await client.receives() == SENT, "other bytes")
    async with check("socks5: slixmpp and our client at the relay"):
        if not await socks5.discover_proxies():
            raise Lacking("the server has no relay")
        sid = "relayed"
        ask(f"expect {sid}")
        await client.hears(f"expecting {sid}")
        socket = await socks5.handshake(ours, sid=sid)
        expect(socket is not None, "no stream")
        await socket.write(SENT)
        socket.transport.close()
        await client.hears(got(sid))
    async with check("socks5: slixmpp connects to the relay of our client"):
        if not await socks5.discover_proxies():
            raise Lacking("the server has no relay")
        hidden = await start(DIRECT="0")
        ours = slixmpp.JID((await hidden.stdout.readline()).decode().split()[1])
        ask("offer hidden")
        expect(await client.receives() == SENT, "other bytes")
        ask("stop")
        await hidden.wait()
    ours = first
    ask("stop")
    await asyncio.wait_for(program.wait(), checks.TIMEOUT)
    await client.disconnect()


checks.main(run)
