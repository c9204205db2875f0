#!/usr/bin/env python3
"""Files between slixmpp and our clients, both ways: stream initiation (XEP-0096) with in-band and SOCKS5 bytestreams.

`slixmpp_files.py SEND RECEIVE` drives the programs SEND (`examples/send_file.rs`) and RECEIVE (`examples/receive_file.rs`). The
environment is that of slixmpp_chat.py. SOCKS5 needs a relay of the server's, since slixmpp has no ports of its own. One line a
check.
"""
import asyncio
import hashlib
import os
import pathlib
import sys
import tempfile

from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0004.stanza.form import Form
from slixmpp.plugins.xep_0095.stream_initiation import IBB, SOCKS5
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher import StanzaPath

import checks
from checks import DOMAIN, ENV, Lacking, check, expect
from slixmpp_chat import Client

SEND, RECEIVE = sys.argv[1:3]
CONTENT = os.urandom(300_000)
NAME = "a file & more.bin"
THERE = [f"{ENV['HOST']}:{ENV['C2S_PORT']}", ENV["CA"]]


add_field = Form.add_field


def add_field_of_texts(form, *args, options=None, **others):
    """slixmpp's plugin of stream initiation gives its options as texts, which its forms do not take."""
    options = options and [option if isinstance(option, dict) else {"value": option} for option in options]
    return add_field(form, *args, options=options, **others)


Form.add_field = add_field_of_texts


class Filing(Client):
    """slixmpp that takes every stream, and keeps what comes by each."""

    def __init__(self, *args):
        super().__init__(*args)
        for plugin in ("xep_0004", "xep_0020", "xep_0095", "xep_0096"):
            self.register_plugin(plugin)
        self.register_plugin("xep_0047", {"auto_accept": True})
        self.register_plugin("xep_0065", {"auto_accept": True})
        # slixmpp's own handler of offers is never awaited.
        self.remove_handler("SI Request")
        self.register_handler(
            CoroutineCallback("SI Request", StanzaPath("iq@type=set/si"), self.plugin["xep_0095"]._handle_request))
        self.offers = asyncio.Queue()
        self.add_event_handler("si_request", self.offers.put_nowait)

    def only(self, method):
        """Knows one kind of bytestreams alone."""
        plugin = self.plugin["xep_0095"]
        for other in (IBB, SOCKS5):
            plugin.unregister_method(other)
        plugin.register_method(method, {IBB: "xep_0047", SOCKS5: "xep_0065"}[method])

    async def relay(self):
        """The relay of the server's; slixmpp finds it among what belongs to the server."""
        proxies = await self.plugin["xep_0065"].discover_proxies()
        if not proxies:
            raise Lacking("the server has no relay")
        return proxies


async def received(path):
    """What is at a place, once it is there: a file has its name only when it is whole."""
    while not path.exists():
        await asyncio.sleep(0.05)
    return path.read_bytes()


async def offer(client, to, method):
    """Offers the file by one kind of bytestreams, and sends it."""
    client.only(method)
    if method == SOCKS5:
        await client.relay()
    sid = hashlib.sha1(os.urandom(8)).hexdigest()
    answer = await client.plugin["xep_0096"].request_file_transfer(
        to, sid=sid, name=NAME, size=len(CONTENT), mime_type="application/octet-stream",
        hash=hashlib.md5(CONTENT).hexdigest(), timeout=60)
    chosen = answer["si"]["feature_neg"]["form"].get_values()["stream-method"]
    expect(chosen in (method, [method]), f"chose {chosen}")
    if method == IBB:
        stream = await client.plugin["xep_0047"].open_stream(to, sid=sid, timeout=60)
        await stream.sendall(CONTENT, timeout=60)
        await stream.close(timeout=60)
    else:
        stream = await client.plugin["xep_0065"].handshake(to, sid=sid, timeout=60)
        await stream.write(CONTENT)
        stream.transport.close()


async def taken(client, program, method):
    """What our program has sent by the only kind of bytestreams that is known here."""
    request = await client.offers.get()
    sid, sender = request["si"]["id"], request["from"]
    expect(request["si"]["file"]["name"] == NAME, "another name")
    expect(int(request["si"]["file"]["size"]) == len(CONTENT), "another length")
    came, done = bytearray(), asyncio.Event()

    def more(data):
        came.extend(data if isinstance(data, bytes) else data.read())
        if len(came) >= len(CONTENT):
            done.set()

    event = {IBB: "ibb_stream_data", SOCKS5: "socks5_data"}[method]
    client.add_event_handler(event, more)
    client.plugin["xep_0095"]._methods_order.sort()
    # slixmpp notes offers under the address as it was sent to.
    await client.plugin["xep_0095"].accept(sender, sid, ifrom=request["to"])
    await done.wait()
    client.del_event_handler(event, more)
    expect(bytes(came) == CONTENT, "another content")
    printed, _ = await program.communicate()
    expect(program.returncode == 0, printed.decode(errors="replace"))


async def sending(path, to):
    return await asyncio.create_subprocess_exec(
        SEND, f"{ENV['USER2']}@{DOMAIN}", ENV["PASSWORD2"], str(to), str(path), *THERE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)


async def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        client = None
        async with check("slixmpp comes to send and receive files"):
            client = await Filing(ENV["USER1"], ENV["PASSWORD1"], "files", False).login()
            client.send_presence()
        source = folder / NAME
        source.write_bytes(CONTENT)
        receiver = await asyncio.create_subprocess_exec(
            RECEIVE, f"{ENV['USER3']}@{DOMAIN}", ENV["PASSWORD3"], str(folder / "in"), *THERE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        try:
            there = None
            async with check("our receiver is there"):
                line = (await receiver.stdout.readline()).decode()
                expect(line.startswith("waiting as "), line)
                there = line.removeprefix("waiting as ").strip()
            for method, road in ((IBB, "in-band"), (SOCKS5, "through a relay")):
                async with check(f"slixmpp sends us a file {road}"):
                    await offer(client, there, method)
                    place = folder / "in" / NAME
                    expect(await received(place) == CONTENT, "another content")
                    place.unlink()
            async with check("what slixmpp breaks off is no file"):
                client.only(IBB)
                sid = hashlib.sha1(os.urandom(8)).hexdigest()
                await client.plugin["xep_0096"].request_file_transfer(
                    there, sid=sid, name="half.bin", size=len(CONTENT), timeout=60)
                stream = await client.plugin["xep_0047"].open_stream(there, sid=sid, timeout=60)
                await stream.sendall(CONTENT[:5_000], timeout=60)
                await stream.close(timeout=60)
                # The next one is whole, and by then the other has had its time.
                await offer(client, there, IBB)
                await received(folder / "in" / NAME)
                expect(not (folder / "in" / "half.bin").exists(), "half a file has its name")
            for method, road in ((IBB, "in-band"), (SOCKS5, "through a relay")):
                async with check(f"slixmpp takes a file of ours {road}"):
                    client.only(method)
                    if method == SOCKS5:
                        await client.relay()
                    program = await sending(source, client.boundjid.full)
                    try:
                        await taken(client, program, method)
                    finally:
                        if program.returncode is None:
                            program.kill()
                            await program.wait()
            async with check("slixmpp declines a file of ours"):
                client.only(IBB)
                program = await sending(source, client.boundjid.full)
                request = await client.offers.get()
                await client.plugin["xep_0095"].decline(request["from"], request["si"]["id"], ifrom=request["to"])
                printed, _ = await program.communicate()
                expect(program.returncode != 0 and b"Declined" in printed, printed.decode(errors="replace"))
            async with check("our clients send each other a file by Jingle") as note:
                program = await sending(source, there)
                printed, _ = await program.communicate()
                line = printed.decode(errors="replace").strip()
                expect(program.returncode == 0 and ", direct, sha-256, " in line, line)
                place = folder / "in" / NAME
                # One is there from before, and nothing is overwritten.
                expect(await received(place.with_stem(f"{place.stem} (2)")) == CONTENT, "another content")
                note.append(line)
            async with check("slixmpp is refused where it offers nothing that we know"):
                client.only(IBB)
                client.plugin["xep_0095"].register_method("urn:example:carrier-pigeon", "xep_0047")
                client.plugin["xep_0095"].unregister_method(IBB)
                try:
                    await client.plugin["xep_0096"].request_file_transfer(there, name=NAME, size=1, timeout=60)
                    expect(False, "it was taken")
                except IqError as error:
                    expect(error.condition == "bad-request", error.condition)
        finally:
            if receiver.returncode is None:
                receiver.kill()
                await receiver.wait()
        await client.logout()


if __name__ == "__main__":
    checks.main(main)
