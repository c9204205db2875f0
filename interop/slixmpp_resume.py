#!/usr/bin/env python3
"""slixmpp loses its connection and resumes its session (XEP-0198), each step checked.

HOST, C2S_PORT, DOMAIN, CA, USER1, PASSWORD1, USER2 and PASSWORD2 come from the environment. The
first client connects through a pipe that can be cut, or frozen so that the server does not see the
end. One line a check, `ok NAME` or `FAIL NAME why`; non-zero exit if any failed.
"""
import asyncio
import contextlib
import ssl

import slixmpp

import checks
from checks import DOMAIN, ENV, TIMEOUT, check, expect


class Pipe:
    """A listener on loopback that passes bytes on to the server until it is cut or frozen."""

    async def open(self):
        self.links = []
        self.listener = await asyncio.start_server(self.link, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def link(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(ENV["HOST"], int(ENV["C2S_PORT"]))
        link = {"writers": (writer, far_writer), "tasks": ()}
        self.links.append(link)
        link["tasks"] = (asyncio.ensure_future(self.carry(reader, far_writer)),
                         asyncio.ensure_future(self.carry(far_reader, writer)))

    @staticmethod
    async def carry(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self):
        """Both ends see the connection reset."""
        for link in self.freeze():
            for writer in link["writers"]:
                writer.transport.abort()

    def freeze(self):
        """Nothing passes any more, and nobody is told."""
        links, self.links = self.links, []
        for link in links:
            for task in link["tasks"]:
                task.cancel()
        return links


class Client(slixmpp.ClientXMPP):
    """One session that keeps the bodies it receives, and says what becomes of it."""

    def __init__(self, user, password, port, managed):
        super().__init__(f"{user}@{DOMAIN}/resume", password)
        self.port = port
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        self.enable_direct_tls, self.enable_starttls = False, True
        self.register_plugin("xep_0199")
        if managed:
            self.register_plugin("xep_0198")
        self.bodies, self.senders = [], set()
        self.events = asyncio.Queue()
        for event in ("session_start", "session_resumed", "sm_enabled", "sm_failed", "disconnected", "failed_all_auth"):
            self.add_event_handler(event, lambda value, event=event: self.events.put_nowait((event, value)))
        self.add_event_handler("message", self.keep)

    def keep(self, message):
        if message["body"] and message["type"] != "error":
            self.bodies.append(message["body"])
            self.senders.add(message["from"])

    def go(self):
        self.connect(ENV["HOST"], self.port)

    async def until(self, *wanted):
        """The first event of these; what comes before is forgotten."""
        while True:
            event, value = await self.events.get()
            if event in wanted:
                return event, value

    async def until_bodies(self, expected):
        while len(self.bodies) < len(expected):
            await asyncio.sleep(0.02)
        # A round trip: what comes twice has come by now.
        await self.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN))
        got, self.bodies = self.bodies, []
        if ENV.get("ORDER") == "loose":
            got, expected = sorted(got), sorted(expected)
        expect(got == expected, f"got {got}")

    async def resume(self):
        """Reconnects, and must get its session back."""
        self.go()
        event, _ = await self.until("session_resumed", "session_start", "sm_failed", "failed_all_auth")
        expect(event == "session_resumed", event)


def numbers(name, count):
    return [f"{name} {n}" for n in range(count)]


def say(sender, receiver, bodies):
    for body in bodies:
        sender.send_message(mto=receiver.boundjid, mbody=body, mtype="chat")


async def run():
    pipe = await Pipe().open()
    first = Client(ENV["USER1"], ENV["PASSWORD1"], pipe.port, True)
    second = Client(ENV["USER2"], ENV["PASSWORD2"], int(ENV["C2S_PORT"]), False)
    async with check("login with stream management, resumable"):
        second.go()
        await second.until("session_start")
        first.go()
        _, enabled = await first.until("sm_enabled")
        expect(enabled["resume"] and enabled["id"], f"{enabled}")
        first.send_presence()
        second.send_presence()
    async with check("messages both ways are acknowledged"):
        say(first, second, numbers("before", 12))
        say(second, first, numbers("before", 12))
        await second.until_bodies(numbers("before", 12))
        await first.until_bodies(numbers("before", 12))
        first.plugin["xep_0198"].request_ack()
        while first.plugin["xep_0198"].unacked_queue:
            await asyncio.sleep(0.02)

    async with check("messages sent while the connection is cut arrive once"):
        pipe.cut()
        await first.until("disconnected")
        say(second, first, numbers("cut", 30))
        await second.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN))
        await first.resume()
        await first.until_bodies(numbers("cut", 30))
    async with check("what the server never got is sent again, once"):
        pipe.freeze()
        say(first, second, numbers("lost", 10))
        await asyncio.sleep(0.2)
        first.abort()
        await first.until("disconnected")
        await first.resume()
        await second.until_bodies(numbers("lost", 10))
    async with check("a connection that is dead without knowing gives way"):
        pipe.freeze()
        say(second, first, numbers("frozen", 30))
        await second.plugin["xep_0199"].ping(slixmpp.JID(DOMAIN))
        first.abort()
        await first.until("disconnected")
        await first.resume()
        await first.until_bodies(numbers("frozen", 30))
    async with check("the session is the same, and works both ways"):
        say(first, second, numbers("after", 5))
        say(second, first, numbers("after", 5))
        await second.until_bodies(numbers("after", 5))
        await first.until_bodies(numbers("after", 5))
        expect(len(second.senders) == 1, f"{second.senders}")
    async with check("five cuts in a row, with messages all the while"):
        sent = []
        for turn in range(5):
            sent += numbers(f"turn {turn}", 7)
            say(second, first, numbers(f"turn {turn}", 7))
            pipe.cut() if turn % 2 else pipe.freeze()
            first.abort()
            await first.until("disconnected")
            await first.resume()
        await first.until_bodies(sent)
    async with check("logout is the end of the session"):
        previous = first.plugin["xep_0198"].sm_id
        first.disconnect(wait=TIMEOUT)
        await first.until("disconnected")
        again = Client(ENV["USER1"], ENV["PASSWORD1"], pipe.port, True)
        again.plugin["xep_0198"].sm_id = previous
        again.go()
        event, _ = await again.until("sm_failed", "session_resumed")
        expect(event == "sm_failed", event)
        await again.until("sm_enabled")
        again.disconnect()
        second.disconnect()
        await again.until("disconnected")


checks.main(run)
