#!/usr/bin/env python3
"""Files between Dino and our client, both ways, by Jingle (XEP-0234): direct connections, the server's relay, in-band.

`dino_files.py FOLDER SEND` runs Dino, with everything that it keeps, in FOLDER, on a display of its own, and drives the programs
SEND (`examples/send_file.rs`) and OURS (`xmpp-interop`, where more is asked than that does). `dino/driver.c`, a plugin, is how
Dino is told what to do. The environment is that of slixmpp_chat.py. One line a check.
"""
import asyncio
import contextlib
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import checks
from checks import DOMAIN, ENV, check, expect
from programs import Lines, Ours, content, end

HERE = pathlib.Path(__file__).parent
FOLDER, SEND = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
THERE = [f"{ENV['HOST']}:{ENV['C2S_PORT']}", ENV["CA"]]
# Ours, and Dino's.
USER, OTHER = f"{ENV['USER1']}@{DOMAIN}", f"{ENV['USER2']}@{DOMAIN}"
# Beyond 5,000,000 bytes Dino waits for a click.
FILES = {"small.bin": 1, "photo.jpg": 1_234_567, "Grüße 日本 🙌 & Co.txt": 100_000}
LARGE = {"film.bin": 12_000_000}


class Dino(Lines):
    """The whole of Dino, on a display that nobody sees."""

    @staticmethod
    def parse(line):
        """It says other things too."""
        return line.split(" ", 5)[1:] if line.startswith("driver ") else None

    @classmethod
    async def start(cls, display):
        home = {name: str(FOLDER / name.lower())
                for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
        for place in home.values():
            pathlib.Path(place).mkdir(mode=0o700)
        environment = home | {
            "DISPLAY": display, "PATH": ENV["PATH"], "LC_ALL": "C.UTF-8", "NO_AT_BRIDGE": "1", "GSK_RENDERER": "cairo",
            "GSETTINGS_BACKEND": "memory",
            # No bus: neither somebody else's desktop nor another Dino has to do with it.
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={FOLDER}/no-bus",
            "DINO_PLUGIN_DIR": str(FOLDER / "plugins"), "DRIVER_JID": OTHER, "DRIVER_PASSWORD": ENV["PASSWORD2"],
            "DRIVER_PORT": ENV["C2S_PORT"], "DRIVER_CA": ENV["CA"]}
        with open(FOLDER / "dino.log", "wb") as log:
            process = await asyncio.create_subprocess_exec(
                "dino-im", "--print-xmpp", "all", env=environment, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True, limit=1 << 20)
        return cls(process, FOLDER / "dino.out")

    async def said(self, *what):
        return await self.until(lambda said: said[:len(what)] == list(what))

    async def ends(self):
        """The state in which it finds that what it receives is at its end."""
        said = await self.until(lambda said: said[:2] == ["file", "in"] and said[3] in ("complete", "failed"))
        return said[3]

    async def received(self, name):
        """Where it keeps what it has received."""
        state = await self.ends()
        expect(state == "complete", f"Dino: {state}")
        places = (FOLDER / "xdg_data_home" / "dino" / "files").glob(f"*_{name}")
        return max(places, key=lambda place: place.stat().st_mtime_ns)


class Talking(Ours):
    """Our client, at either end."""

    async def done(self):
        """By which road, and by which hash it was found right."""
        said = await self.said("done", "failed")
        expect(said[0] == "done", said[1])
        return said[1:3]


def build():
    """The plugin, in the place of Dino's own: one would have the server keep files that are sent, another asks the world for STUN."""
    (FOLDER / "plugins").mkdir()
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "gio-2.0"], text=True)
    for name in ("http-files", "ice", "omemo", "openpgp", "rtp"):
        place = FOLDER / "plugins" / f"{name}.so"
        if name == "http-files":
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", place, HERE / "dino" / "driver.c",
                            *shlex.split(flags)], check=True)
        else:
            shutil.copy(FOLDER / "plugins" / "http-files.so", place)


@contextlib.asynccontextmanager
async def display():
    """A display that nobody sees; its name."""
    reader, writer = os.pipe()
    with open(FOLDER / "display.log", "wb") as log:
        server = await asyncio.create_subprocess_exec(
            "Xvfb", "-displayfd", str(writer), "-screen", "0", "1024x768x24", "-nolisten", "tcp",
            pass_fds=[writer], stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    os.close(writer)
    try:
        with open(reader, "rb") as number:
            number = (await asyncio.wait_for(asyncio.to_thread(number.readline), 60)).decode().strip()
        expect(number, "there is no display")
        yield f":{number}"
    finally:
        await end(server)


def same(path, sent):
    got = path.read_bytes()
    expect(hashlib.sha256(got).digest() == hashlib.sha256(sent).digest(), f"{len(got)} other bytes of {len(sent)}")


class Talk:
    """Dino and our client, by one kind of road."""

    def __init__(self, dino, ours, name, road):
        self.dino, self.ours, self.name, self.road = dino, ours, name, road
        self.number = 0
        self.incoming = FOLDER / "in" / name
        self.incoming.mkdir(parents=True)

    def written(self, name, size):
        """A file of its own for each check."""
        self.number += 1
        path = FOLDER / "out" / f"{self.name} {self.number}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content(name, size))
        return path

    async def dino_receives(self, name, size):
        async with check(f"Dino receives, {self.name}: {name}") as note:
            path = self.written(name, size)
            self.ours.do("send", self.dino.jid, path)
            road = await self.by()
            same(await self.dino.received(name), path.read_bytes())
            note.append(road)

    async def dino_sends(self, name, size):
        async with check(f"Dino sends, {self.name}: {name}") as note:
            path = self.written(name, size)
            self.ours.do("take", self.incoming)
            self.dino.order(f"send {USER} {path}")
            note.append(await self.by())
            same(self.incoming / name, path.read_bytes())

    async def by(self):
        road, proof = await self.ours.done()
        expect(road == self.road, road)
        return f"({road}, {proof or 'no hash'})"

    async def failure(self):
        said = await self.ours.said("done", "failed")
        expect(said[0] == "failed", " ".join(said))
        return f"({said[1]})"

    async def example(self):
        async with check("send_file sends Dino a file") as note:
            name, size = next(reversed(FILES.items()))
            path = self.written(name, size)
            program = await asyncio.create_subprocess_exec(
                SEND, USER, ENV["PASSWORD1"], self.dino.jid, path, *THERE, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
            try:
                printed, _ = await program.communicate()
            finally:
                await end(program)
            line = printed.decode(errors="replace").strip()
            expect(program.returncode == 0 and ", direct, sha-256, " in line, line)
            same(await self.dino.received(name), path.read_bytes())
            note.append(f"({line})")

    async def breaks_off(self):
        async with check(f"our client breaks off, {self.name}") as note:
            # Large enough not to be there before anybody has looked at the progress.
            self.ours.do("stop", 1)
            self.ours.do("send", self.dino.jid, self.written("long film.bin", 100_000_000))
            note.append(await self.failure())
            # Dino takes the end of a stream for that of the file, unless it hears of the end of the session first.
            await self.dino.ends()


async def run():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    build()
    async with display() as screen:
        dino = await Dino.start(screen)
        try:
            there = False
            async with check("Dino is there"):
                dino.jid = (await dino.said("online"))[1]
                dino.order(f"chat {USER}")
                await dino.said("contact", USER)
                there = True
            if there:
                await roads(dino)
        finally:
            await end(dino.process)


RELAY = ENV["PEER"] != "ejabberd"
# Ways to which we hold our client, and whether Dino may be connected to; by which road it must go then.
ROADS = [
    ("to ours", "direct", {"RELAY": "0"}, "no"),
    ("to Dino", "direct", {"RELAY": "0", "DIRECT": "0"}, "yes"),
    ("by the relay that we name", "proxy", {"DIRECT": "0"}, "no"),
    ("by the relay that Dino names", "proxy", {"DIRECT": "0", "RELAY": "0"}, "no"),
    ("in-band", "in-band", {"SOCKETS": "0"}, "yes"),
]


async def roads(dino):
    checks.skip("in-band where nothing can be connected to", "Dino 0.4 gives up there, either way, and may crash")
    for number, (name, road, environment, direct) in enumerate(ROADS):
        if road == "proxy" and not RELAY:
            checks.skip(name, "the server has no relay")
            continue
        dino.order(f"direct {direct}")
        ours = None
        async with check(f"our client is there, {name}"):
            ours = await Talking.start(f"road{number}", FOLDER / f"road{number}.out", **environment)
            ours.do("greet", dino.jid)
            await dino.said("here", ours.jid)
        if not ours:
            continue
        try:
            await by(Talk(dino, ours, name, road), number == 0)
            async with check(f"our client goes, {name}"):
                # Without a word the server would keep it for a while, and Dino would send there.
                ours.process.stdin.close()
                await ours.process.wait()
                await dino.said("gone", ours.jid)
        finally:
            await end(ours.process)


async def by(talk, first):
    """What goes by one kind of road."""
    files = FILES | (LARGE if first else {})
    if talk.road == "in-band":
        checks.skip("Dino receives, in-band", "Dino 0.4 fails when it closes the half of the stream that it does not need")
    else:
        for name, size in files.items():
            await talk.dino_receives(name, size)
    for name, size in files.items():
        await talk.dino_sends(name, size)
    if first:
        await talk.breaks_off()
        await talk.example()


checks.main(run)
