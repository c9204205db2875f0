"""What the scripts share that drive whole programs: programs that say in lines what happens, our client among them."""
import asyncio
import contextlib
import os
import random
import signal

from checks import ENV, expect


def content(name, size):
    """The same for the same name, so that what failed can be looked at."""
    return random.Random(name).randbytes(size)


async def end(process):
    """Ends a process that was started with a session of its own, and whatever it has started."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


class Lines:
    """A process that says in lines what happens; all of it goes into the file `log`, if there is one."""

    def __init__(self, process, log=None):
        self.process, self.heard, self.news = process, [], asyncio.Event()
        self.log = log and open(log, "ab", buffering=0)
        self.reading = asyncio.create_task(self.read())

    async def read(self):
        while line := await self.process.stdout.readline():
            if self.log:
                self.log.write(line)
            if said := self.parse(line.decode(errors="replace").rstrip("\n")):
                self.heard.append(said)
                self.news.set()
        self.heard.append(None)
        self.news.set()

    def order(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    async def until(self, wanted):
        """The next of what is said that is wanted; what comes before is passed over."""
        while True:
            while self.heard:
                said = self.heard.pop(0)
                expect(said is not None, "the program has ended")
                if wanted(said):
                    return said
            self.news.clear()
            await self.news.wait()


class Ours(Lines):
    """Our client (`xmpp-interop files`), which does what it is asked."""

    parse = staticmethod(lambda line: line.split("\t"))

    @classmethod
    async def start(cls, resource, log=None, **environment):
        process = await asyncio.create_subprocess_exec(
            ENV["OURS"], "files", env=os.environ | environment | {"RESOURCE": resource}, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, start_new_session=True)
        ours = cls(process, log)
        ours.jid = (await ours.said("online"))[1]
        return ours

    def do(self, *words):
        self.order("\t".join(map(str, words)))

    async def said(self, *what):
        return await self.until(lambda said: said[0] in what)

    async def stop(self):
        await end(self.process)
