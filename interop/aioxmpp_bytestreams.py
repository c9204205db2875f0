#!/usr/bin/python3
"""In-band bytestreams (XEP-0047) between aioxmpp and our client, each way.

HOST, C2S_PORT, DOMAIN, USER1 and PASSWORD1 (ours), USER2 and PASSWORD2 (aioxmpp's) come from the environment, and OURS, the
program `xmpp-interop`, which `bytestreams` makes do what messages ask it to. One line a check, `ok NAME` or `FAIL NAME why`;
non-zero exit if any failed. aioxmpp comes from Debian, for Debian's Python.
"""
import asyncio
import os

import aioxmpp
import aioxmpp.dispatcher
import aioxmpp.ibb.service
from aioxmpp.ibb.xso import IBBStanzaType

import checks
from checks import DOMAIN, ENV, check, expect

SENT = bytes(n * n >> 8 & 255 for n in range(300_000))
# Prosody with SASL2 leaves the bound on our client's stanzas where it was before the login, at 10,000 bytes.
BLOCK = 4096


class Receiving(asyncio.Protocol):
    """Keeps what comes until the end."""

    def __init__(self):
        self.transport, self.raw = None, b""
        self.news, self.lost = asyncio.Event(), asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.raw += data
        self.news.set()

    def connection_lost(self, error):
        self.lost.set_result(error)

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass

    async def at_least(self, count):
        while len(self.raw) < count:
            self.news.clear()
            await self.news.wait()


class Partner:
    """aioxmpp's end."""

    def __init__(self):
        # The suites do so too: what is checked here is not TLS.
        security = aioxmpp.make_security_layer(ENV["PASSWORD2"], no_verify=True)
        there = (ENV["HOST"], int(ENV["C2S_PORT"]), aioxmpp.connector.STARTTLSConnector())
        jid = aioxmpp.JID.fromstr(f"{ENV['USER2']}@{DOMAIN}/aioxmpp")
        self.client = aioxmpp.PresenceManagedClient(jid, security, override_peer=[there])
        self.ibb = self.client.summon(aioxmpp.ibb.IBBService)
        self.told = asyncio.Queue()
        self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher).register_callback(
            aioxmpp.MessageType.CHAT, None, lambda message: self.told.put_nowait(message.body.any()))

    async def ask(self, to, order):
        message = aioxmpp.Message(aioxmpp.MessageType.CHAT, to=to)
        message.body[None] = order
        await self.client.send(message)

    async def hears(self, beginning):
        told = await self.told.get()
        expect(told.startswith(beginning), told)

    async def receives(self, ours, order):
        """The end of a stream that our client is asked to open."""
        sid = order.replace(" ", "-")
        coming = self.ibb.expect_session(Receiving, ours, sid)
        await self.ask(ours, f"{order} {sid}")
        return await coming


def got(sid):
    return f"got {sid} {len(SENT)} {sum(SENT)}"


async def run():
    program = await asyncio.create_subprocess_exec(
        ENV["OURS"], "bytestreams", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE)
    try:
        partner = Partner()
        ours = None
        async with check("both are there"):
            ours = aioxmpp.JID.fromstr((await program.stdout.readline()).decode().split()[1])
            established = asyncio.get_running_loop().create_future()
            partner.client.on_stream_established.connect(lambda: established.done() or established.set_result(None))
            partner.client.on_failure.connect(lambda error: established.done() or established.set_exception(error))
            # It starts the client too.
            partner.client.presence = aioxmpp.PresenceState(True)
            await established
        if ours:
            await talk(partner, ours)
            await partner.ask(ours, "stop")
            await asyncio.wait_for(program.wait(), checks.TIMEOUT)
            partner.client.stop()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


async def talk(partner, ours):
    ibb = partner.ibb
    for name, order, carrier in (("", "open", IBBStanzaType.IQ), (", in messages", "open messages", IBBStanzaType.MESSAGE)):
        async with check(f"aioxmpp receives{name}"):
            transport, end = await partner.receives(ours, order)
            expect(transport.get_extra_info("stanza_type") == carrier, "carried otherwise")
            expect(await end.lost is None, "lost")
            expect(end.raw == SENT, f"{len(end.raw)} bytes")
    async with check("aioxmpp receives, in smaller blocks than offered"):
        # It takes whatever can be said otherwise.
        most, aioxmpp.ibb.service.MAX_BLOCK_SIZE = aioxmpp.ibb.service.MAX_BLOCK_SIZE, BLOCK
        try:
            transport, end = await partner.receives(ours, "open large")
            agreed = transport.get_extra_info("block_size")
            expect(agreed == BLOCK, f"blocks of {agreed}")
            expect(await end.lost is None, "lost")
            expect(end.raw == SENT, f"{len(end.raw)} bytes")
        finally:
            aioxmpp.ibb.service.MAX_BLOCK_SIZE = most
    async with check("aioxmpp refuses what it does not expect"):
        await partner.ask(ours, "open stranger")
        await partner.hears("failed open stranger: ")
    async with check("aioxmpp closes what it receives before the end"):
        transport, end = await partner.receives(ours, "open")
        await end.at_least(10_000)
        transport.close()
        expect(await end.lost is None, "lost")
        await partner.hears("failed open open: ")
        expect(end.raw == SENT[:len(end.raw)] and len(end.raw) < len(SENT), f"{len(end.raw)} bytes")
    for name, carrier in (("", IBBStanzaType.IQ), (", in messages", IBBStanzaType.MESSAGE)):
        for block in (BLOCK, 1000):
            async with check(f"aioxmpp sends{name}, in blocks of {block}"):
                sid = f"out-{carrier.value}-{block}"
                transport, end = await ibb.open_session(Receiving, ours, stanza_type=carrier, block_size=block, sid=sid)
                transport.write(SENT)
                transport.close()
                await partner.hears(got(sid))
                expect(await end.lost is None, "lost")
    async with check("aioxmpp is asked for smaller blocks"):
        try:
            await ibb.open_session(Receiving, ours, block_size=65_535, sid="large")
            expect(False, "it was taken")
        except aioxmpp.errors.XMPPModifyError as error:
            expect(error.condition == aioxmpp.ErrorCondition.RESOURCE_CONSTRAINT, str(error))
    async with check("our client closes what it receives before the end"):
        transport, end = await ibb.open_session(Receiving, ours, sid="leave")
        transport.write(SENT)
        await partner.hears("left leave")
        await end.lost
    async with check("both send by one stream"):
        transport, end = await ibb.open_session(Receiving, ours, sid="echo")
        transport.write(SENT)
        await end.at_least(len(SENT))
        expect(end.raw == SENT, "other bytes")
        transport.close()
        expect(await end.lost is None, "lost")
        await partner.hears("echoed echo")


checks.main(run)
