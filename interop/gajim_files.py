#!/usr/bin/env python3
"""Files between Gajim and our clients, both ways, by Jingle (XEP-0234): direct connections, the server's relay, in-band.

`gajim_files.py FOLDER SEND RECEIVE` runs Gajim, with everything that it keeps, in FOLDER, on a display of its own, and drives the
programs SEND (`examples/send_file.rs`), RECEIVE (`examples/receive_file.rs`) and OURS (`xmpp-interop`, where more is asked than
these do). The environment is that of slixmpp_chat.py. One line a check.
"""
import asyncio
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sys

import checks
from checks import DOMAIN, ENV, Lacking, check, expect
from programs import Lines, Ours, content, end

HERE = pathlib.Path(__file__).parent
SEND, RECEIVE = sys.argv[2:4]
THERE = [f"{ENV['HOST']}:{ENV['C2S_PORT']}", ENV["CA"]]
# Gajim belongs to the system's Python.
PYTHON = "/usr/bin/python3"


class Gajim(Lines):
    """The whole of Gajim, on a display that nobody sees."""

    parse = staticmethod(json.loads)

    @classmethod
    async def start(cls, folder):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "profile" / "cert_store").mkdir(parents=True)
        # It takes a certificate that it knows, and looks for authorities in the system alone.
        shutil.copy(pathlib.Path(ENV["PEER_DIR"]) / "certs" / "localhost.crt", folder / "profile" / "cert_store")
        reader, writer = os.pipe()
        # It ends with the last who uses it.
        display = await asyncio.create_subprocess_exec(
            "Xvfb", "-displayfd", str(writer), "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-terminate",
            pass_fds=[writer], stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, start_new_session=True)
        os.close(writer)
        gajim = None
        try:
            with open(reader, "rb") as number:
                number = (await asyncio.wait_for(asyncio.to_thread(number.readline), 60)).decode().strip()
            expect(number, "there is no display")
            home = {name: str(folder / name.lower()) for name in
                    ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
            for place in home.values():
                pathlib.Path(place).mkdir(mode=0o700)
            # No bus: neither somebody else's keyring nor desktop has to do with it.
            environment = home | {"DISPLAY": f":{number}", "PATH": ENV["PATH"], "LC_ALL": "C.UTF-8", "NO_AT_BRIDGE": "1",
                                  "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/no-bus", "GAJIM_LOG": ENV.get("GAJIM_LOG", "gajim=WARNING")}
            process = await asyncio.create_subprocess_exec(
                PYTHON, str(HERE / "gajim" / "gajim_by_lines.py"), str(folder / "profile"), env=environment,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True, limit=1 << 20)
            gajim = cls(process)
            gajim.display = display
            await gajim.said("started")
            return gajim
        except BaseException:
            if gajim:
                await end(gajim.process)
            await end(display)
            raise

    async def login(self, user, password):
        self.do("login", user=user, domain=DOMAIN, password=password, host=ENV["HOST"], port=int(ENV["C2S_PORT"]))
        self.jid = (await self.said("online"))["jid"]

    def do(self, what, **how):
        self.order(json.dumps({"do": what} | how))

    async def said(self, *what, **more):
        """The next thing of this kind. That Gajim raises an exception is a failure."""
        def wanted(said):
            expect(said["what"] != "raised" or "raised" in what, said.get("error"))
            return said["what"] in what and all(said.get(key) == value for key, value in more.items())
        return await self.until(wanted)

    def uses(self, direct=True, relay=True):
        """Which candidates it offers."""
        self.do("set", option="ft_send_local_ips", value=direct)
        self.do("set", option="use_ft_proxies", value=relay)

    async def knows(self, jid):
        """Sees that somebody is there who takes files. It asks one after the other, with seconds in between."""
        while True:
            self.do("knows", jid=jid)
            if (await self.said("knows"))["files"]:
                return
            await asyncio.sleep(0.2)

    async def forgets(self, sid):
        """Sees that a session is over."""
        while True:
            self.do("has", sid=sid)
            if not (await self.said("has"))["session"]:
                return
            await asyncio.sleep(0.2)

    async def relay(self):
        """Whether it has found a relay, among what belongs to the server."""
        self.do("relays")
        return (await self.said("relays"))["host"]

    async def stop(self):
        await end(self.process)
        await end(self.display)


class Known(Ours):
    """Our client, as Gajim sees it."""

    async def known_to(self, gajim):
        """Gajim sees that this client is there and that it takes files."""
        self.do("greet", gajim.jid)
        await gajim.knows(self.jid)


class Run:
    """Gajim, our clients, and the folders between them."""

    def __init__(self, folder, gajim):
        self.folder, self.gajim, self.number = folder, gajim, 0
        self.ours = {}

    def place(self, name):
        """A new folder, so that no name is taken."""
        self.number += 1
        place = self.folder / f"{self.number:03}-{name}"
        place.mkdir()
        return place

    async def gajim_sends(self, ours, name, data):
        """Gajim sends a file. Returns the offer and the end as we have seen them; the file is right."""
        there, here = self.place("from-gajim"), self.place("to-us")
        (there / name).write_bytes(data)
        ours.do("take", here)
        self.gajim.do("send", jid=ours.jid, path=str(there / name))
        offer = await ours.said("offer")
        done = await ours.said("done", "failed")
        expect(done[0] == "done", done)
        # Its name is one that is good for every disk.
        same(here / offer[1], data)
        await self.gajim.said("completed", name=name, error=0)
        return offer, done

    async def gajim_receives(self, ours, name, data):
        """We send a file to Gajim. Returns the end as Gajim has seen it, and as we have; the file is right."""
        here = self.place("from-us")
        (here / name).write_bytes(data)
        ours.do("send", self.gajim.jid, here / name)
        offer, there = await self.gajim_accepts(name)
        done = await ours.said("done", "failed")
        expect(done[0] == "done", done)
        end = await self.gajim.said("completed", "hash-error", "error", name=name)
        expect(end["what"] == "completed", (end, done))
        same(there, data)
        return end, done

    async def gajim_accepts(self, name):
        offer = await self.gajim.said("offer")
        expect(offer["name"] == name, offer)
        there = self.place("to-gajim") / name
        self.gajim.do("accept", sid=offer["sid"], path=str(there))
        return offer, there


def same(path, data):
    expect(hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest(), f"{path.name}: another content")


# How the ends are set for a road: Gajim's candidates, our client, and what we say of the road.
ROADS = {
    "directly": ({"direct": True, "relay": True}, "plain", "direct"),
    "directly, to Gajim's address": ({"direct": True, "relay": False}, "hidden", "direct"),
    "directly, to our address": ({"direct": False, "relay": False}, "plain", "direct"),
    "through the relay": ({"direct": False, "relay": True}, "hidden", "proxy"),
    "in-band": ({"direct": True, "relay": True}, "in-band", "in-band"),
    "in-band, as nothing else works": ({"direct": False, "relay": False}, "shut", "in-band"),
}
CLIENTS = {"plain": {}, "hidden": {"DIRECT": "0"}, "in-band": {"SOCKETS": "0"}, "shut": {"DIRECT": "0", "RELAY": "0"}}

# In-band streams go at the pace of answers.
SIZES = {"in-band": (1, 5_000, 200_000), "proxy": (1, 5_000, 4_000_000), "direct": (1, 5_000, 4_000_000)}
# What Gajim 1.7 cannot send, and why.
LOST = {
    "directly, to Gajim's address": "it closes the connection where that has come from another address than it was made to",
    "in-band, as nothing else works": "it proposes that, and opens no stream when we accept",
}
# What takes so long that somebody can do something meanwhile.
HALF, WHOLE = 20_000_000, 400_000_000


def hollow(path, size):
    """A file of so many zeros, which needs no room."""
    with open(path, "wb") as file:
        file.truncate(size)


def own_address():
    """Whether this machine has an address that Gajim connects to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):
            # Nothing is sent.
            probe.connect(("192.0.2.1", 9))
            return not probe.getsockname()[0].startswith("127.")
    return False


async def road(run, name):
    gajims, which, told = ROADS[name]
    ours = run.ours[which]
    run.gajim.uses(**gajims)

    def possible():
        if told == "proxy" and not run.relay:
            raise Lacking("the server has no relay")
        if "to our address" in name and not own_address():
            raise Lacking("Gajim connects to no loopback address")

    for size in SIZES[told] if name not in LOST or told == "direct" else (5_000,):
        # Blanks, what XML writes otherwise, and letters beyond ASCII.
        title = f"{size} <Wörter> & 字.bin"
        data = content(title + name, size)
        async with check(f"Gajim takes {size} bytes of ours {name}") as note:
            possible()
            if name == "directly":
                raise Lacking("where both connect, the end of the connection that is not used makes Gajim empty its file")
            end, done = await run.gajim_receives(ours, title, data)
            expect(done[1] == told, done)
            # It ends the session with the last byte: what comes behind that is not looked at.
            note.append(f"({end['algo'] or 'no hash'})")
        if name in LOST or told == "proxy" and size < 1_000_000 and ENV["PEER"] != "xmppd":
            # It sends through a relay, and closes, before that is told to relay: Prosody's may lose it.
            continue
        async with check(f"Gajim sends us {size} bytes {name}") as note:
            possible()
            offer, done = await run.gajim_sends(ours, title, data)
            expect(done[1] == told and int(done[3]) == size, done)
            expect(done[2] and done[2] == offer[3], f"the hash was not looked at: {done} {offer}")
            note.append(f"({done[2]})")
    if name in LOST:
        async with check(f"what Gajim does not send {name} is an error here") as note:
            title = "lost.bin"
            there, here = run.place("from-gajim"), run.place("to-us")
            (there / title).write_bytes(data)
            ours.do("take", here)
            run.gajim.do("send", jid=ours.jid, path=str(there / title))
            end = await ours.said("done", "failed")
            if end[0] == "done":
                same(here / title, data)
            else:
                expect(not (here / title).exists(), "half a file has its name")
            note.append(f"({end[1]}: {LOST[name]})")


async def refusals(run):
    gajim, ours = run.gajim, run.ours["plain"]
    gajim.uses()
    async with check("Gajim declines a file of ours"):
        source = run.place("declined") / "unwanted.bin"
        source.write_bytes(content("unwanted", 5_000))
        ours.do("send", gajim.jid, source)
        offer = await gajim.said("offer")
        gajim.do("decline", sid=offer["sid"])
        failed = await ours.said("done", "failed")
        expect(failed == ["failed", 'EndedByPeer("cancel")'], failed)
    async with check("we decline a file of Gajim's"):
        ours.do("decline")
        gajim.do("send", jid=ours.jid, path=str(source))
        await ours.said("offer")
        over = await gajim.said("over", sid=(await gajim.said("offered"))["sid"])
        expect(over["reason"].startswith("decline"), over)


async def broken_off(run, name):
    """Transfers that end half-way, by either side. What is there of the file is not under its name."""
    gajims, which, _ = ROADS[name]
    gajim, ours = run.gajim, run.ours[which]
    size, half = (1_000_000, 100_000) if name == "in-band" else (WHOLE, HALF)
    title = f"half {name}.bin"
    gajim.uses(**gajims)

    async def to_gajim():
        here = run.place("half") / title
        hollow(here, size)
        ours.do("send", gajim.jid, here)
        offer, there = await run.gajim_accepts(title)
        return offer["sid"], there

    async def to_us():
        here, there = run.place("half"), run.place("half")
        hollow(there / title, size)
        ours.do("take", here)
        gajim.do("send", jid=ours.jid, path=str(there / title))
        sent = await gajim.said("offered")
        return sent["sid"], here / title

    async with check(f"we cancel while we send {name}"):
        ours.do("stop", half)
        sid, _ = await to_gajim()
        failed = await ours.said("done", "failed")
        expect(failed == ["failed", "Cancelled"], failed)
        await gajim.forgets(sid)
    ours.do("go")
    async with check(f"we cancel while Gajim sends {name}"):
        ours.do("stop", half)
        sid, there = await to_us()
        failed = await ours.said("done", "failed")
        expect(failed == ["failed", "Cancelled"], failed)
        await gajim.forgets(sid)
        expect(not there.exists(), "half a file has its name")
    ours.do("go")
    async with check(f"Gajim cancels while we send {name}") as note:
        ours.do("pause", half)
        sid, _ = await to_gajim()
        await ours.said("paused")
        gajim.do("cancel", sid=sid)
        ours.do("go")
        failed = await ours.said("done", "failed")
        expect(failed[0] == "failed", failed)
        note.append(f"({failed[1]})")
    ours.do("go")
    async with check(f"Gajim cancels while it sends {name}") as note:
        ours.do("pause", half)
        sid, there = await to_us()
        await ours.said("paused")
        gajim.do("cancel", sid=sid)
        ours.do("go")
        failed = await ours.said("done", "failed")
        expect(failed[0] == "failed" and not there.exists(), failed)
        note.append(f"({failed[1]})")
    ours.do("go")


async def examples(run):
    """The programs that everybody has."""
    gajim = run.gajim
    # Only we offer a place to connect to, the relay if there is no other: Gajim loses files where both connect.
    gajim.uses(direct=False, relay=False)
    data = content("example", 300_000)
    source = run.place("example") / "an example & more.bin"
    source.write_bytes(data)
    async with check("Gajim takes a file of examples/send_file") as note:
        program = await asyncio.create_subprocess_exec(
            SEND, f"{ENV['USER2']}@{DOMAIN}", ENV["PASSWORD2"], gajim.jid, str(source), *THERE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
        try:
            _, there = await run.gajim_accepts(source.name)
            printed = (await program.communicate())[0].decode(errors="replace").strip()
            expect(program.returncode == 0, printed)
            note.append(f"({printed})")
            same(there, data)
        finally:
            await end(program)
    async with check("Gajim finds examples/receive_file, and sends it a file"):
        # Another client of Gajim's own account, as it sees its presence then.
        here = run.place("to-example")
        program = await asyncio.create_subprocess_exec(
            RECEIVE, f"{ENV['USER3']}@{DOMAIN}", ENV["PASSWORD3"], str(here), *THERE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True)
        try:
            line = (await program.stdout.readline()).decode()
            expect(line.startswith("waiting as "), line)
            there = line.removeprefix("waiting as ").strip()
            await gajim.knows(there)
            gajim.do("send", jid=there, path=str(source))
            await gajim.said("over", reason="success")
            same(here / source.name, data)
        finally:
            await end(program)


async def late_hash(run):
    gajim, ours = run.gajim, run.ours["plain"]
    gajim.uses()
    async with check("a large file of Gajim's, whose hash comes behind the offer, and by a function that was not named"):
        offer, done = await run.gajim_sends(ours, "large.bin", content("large", 12_000_000))
        expect(not offer[3] and not done[2], (offer, done))


async def gone(run):
    """Gajim is no more. The last check."""
    gajim, ours = run.gajim, run.ours["plain"]
    gajim.uses()
    async with check("Gajim is killed while we send") as note:
        ours.do("pause", HALF)
        source = run.place("gone") / "gone.bin"
        hollow(source, WHOLE)
        ours.do("send", gajim.jid, source)
        await run.gajim_accepts(source.name)
        await ours.said("paused")
        os.killpg(gajim.process.pid, signal.SIGKILL)
        ours.do("go")
        failed = await ours.said("done", "failed")
        expect(failed[0] == "failed", failed)
        note.append(f"({failed[1]})")


async def main():
    # Whoever ends this one ends the others.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    folder = pathlib.Path(sys.argv[1]).resolve()
    gajim, ours = None, []
    try:
        async with check("Gajim is there, and knows that we take files"):
            gajim = await Gajim.start(folder)
            await gajim.login(ENV["USER3"], ENV["PASSWORD3"])
            run = Run(folder, gajim)
            for name, environment in CLIENTS.items():
                one = await Known.start(name, **environment)
                ours.append(one)
                run.ours[name] = one
                await one.known_to(gajim)
            run.relay = await gajim.relay()
        if len(run.ours) < len(CLIENTS):
            return
        only = os.environ.get("ONLY")
        for name in ROADS:
            if not only or only in name:
                await road(run, name)
        if not only:
            await refusals(run)
            await late_hash(run)
            await examples(run)
        for name in ("directly", "in-band"):
            if not only or only == "broken":
                await broken_off(run, name)
        if not only:
            await gone(run)
    finally:
        for one in ours:
            await one.stop()
        if gajim:
            await gajim.stop()
        for left in folder.glob("[0-9]*"):
            shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    checks.main(main)
