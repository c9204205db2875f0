#!/usr/bin/env python3
"""slixmpp registers accounts before it logs in (XEP-0077), with and without an invitation (XEP-0445), changes the
password and removes them.

HOST, C2S_PORT, DOMAIN, CA and USER1 come from the environment, INVITATION too where the server makes some: a link to
register `invitee`. One line a check, `ok NAME`, `FAIL NAME why` or `skip NAME reason`; non-zero exit if any failed.
"""
import asyncio
import contextlib
import logging
import os
import ssl
import sys
from xml.etree import ElementTree

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Waiter
from slixmpp.xmlstream.matcher import MatcherId

# Seconds a check may take, on a busy machine too.
TIMEOUT = 90
ENV = os.environ
DOMAIN = ENV["DOMAIN"]
NAME, PASSWORD, OTHER = f"newcomer{os.getpid()}", "a first password", "a second password"
FAILED = 0


@contextlib.asynccontextmanager
async def check(name):
    """Runs one check within the time limit and prints its outcome."""
    global FAILED
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
        print("ok", name, flush=True)
    except Exception as error:  # any failure of a check is that check's FAIL line
        FAILED += 1
        print("FAIL", name, " ".join(repr(error).split()), flush=True)


def skip(name, reason):
    print("skip", name, reason, flush=True)


def expect(condition, why):
    if not condition:
        raise RuntimeError(why)


class Client(slixmpp.ClientXMPP):
    """A stream that registers first if it is told to, and then logs in."""

    def __init__(self, user, password, register=False, token=None):
        super().__init__(f"{user}@{DOMAIN}/register", password)
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        self.enable_direct_tls, self.enable_starttls = False, True
        self.token, self.conditions, self.form = token, [], None
        self.outcome = asyncio.get_running_loop().create_future()
        self.register_plugin("xep_0004")
        self.register_plugin("xep_0077", {"create_account": register})
        if register:
            self.add_event_handler("register", self.sign_up)
        self.add_event_handler("session_start", lambda _: self.settle("online"))
        self.add_event_handler("failed_all_auth", lambda _: self.settle("refused"))
        self.add_event_handler("disconnected", lambda _: self.settle("disconnected"))

    def settle(self, outcome):
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    async def sign_up(self, form):
        self.form = form
        if self.token:
            preauth = self.Iq()
            preauth["type"], preauth["to"] = "set", DOMAIN
            preauth.append(ElementTree.Element("{urn:xmpp:pars:0}preauth", token=self.token))
            # slixmpp would keep it until there is a session.
            answer = Waiter("preauth", MatcherId(preauth["id"]))
            self.register_handler(answer)
            self.send_raw(str(preauth))
            answer = await answer.wait(TIMEOUT)
            self.conditions.append(answer["error"]["condition"] if answer["type"] == "error" else None)
        request = self.Iq()
        request["type"] = "set"
        request["register"]["username"], request["register"]["password"] = self.boundjid.user, self.password
        await self.condition_of(request)
        if self.conditions[-1]:
            # To log in would fail, and servers slow down whoever does so often.
            self.settle("not registered")
            self.abort()

    async def condition_of(self, iq):
        try:
            await iq.send()
            self.conditions.append(None)
        except IqError as error:
            self.conditions.append(error.condition)

    async def go(self):
        self.connect(ENV["HOST"], int(ENV["C2S_PORT"]))
        return await self.outcome

    async def leave(self):
        self.abort()
        await asyncio.sleep(0)


async def tried(*args, **kwargs):
    client = Client(*args, **kwargs)
    outcome = await client.go()
    return client, outcome


async def checks():
    async with check("an account is registered, and the stream goes on to log in by it"):
        client, outcome = await tried(NAME, PASSWORD, register=True)
        expect(client.conditions == [None] and outcome == "online", f"{client.conditions}, {outcome}")
        fields = client.form["register"]["fields"]
        expect({"username", "password"} <= set(fields), f"asked for {fields}")
        await client.leave()
    async with check("a name that is taken is a conflict"):
        client, _ = await tried(ENV["USER1"], "some other password", register=True)
        expect(client.conditions == ["conflict"], f"{client.conditions}")
        await client.leave()
    async with check("the password is changed, and the new one counts"):
        client, _ = await tried(NAME, PASSWORD)
        await client.plugin["xep_0077"].change_password(OTHER)
        await client.leave()
        for password, expected in ((PASSWORD, "refused"), (OTHER, "online")):
            client, outcome = await tried(NAME, password)
            expect(outcome == expected, f"{outcome} by {password!r}")
            await client.leave()
    async with check("the account is removed, and its session ends"):
        client, _ = await tried(NAME, OTHER)
        gone = asyncio.ensure_future(client.wait_until("disconnected"))
        # The server may end the stream before slixmpp has seen the answer.
        with contextlib.suppress(slixmpp.exceptions.IqTimeout, asyncio.CancelledError):
            await client.plugin["xep_0077"].cancel_registration(timeout=5)
        await gone
        client, outcome = await tried(NAME, OTHER)
        expect(outcome == "refused", outcome)
        await client.leave()
    link = ENV.get("INVITATION")
    if not link:
        return skip("an invitation", "the server makes none here")
    token = link.partition(";preauth=")[2].partition(";")[0]
    async with check("the name of an invitation is kept for whoever has it"):
        client, _ = await tried("invitee", PASSWORD, register=True)
        expect(client.conditions == ["conflict"], f"{client.conditions}")
        await client.leave()
    async with check("an unknown token is told"):
        client, _ = await tried("invitee", PASSWORD, register=True, token=token[::-1])
        expect(client.conditions == ["item-not-found", "conflict"], f"{client.conditions}")
        await client.leave()
    async with check("an invitation registers its name, once"):
        client, outcome = await tried("invitee", PASSWORD, register=True, token=token)
        expect(client.conditions == [None, None] and outcome == "online", f"{client.conditions}, {outcome}")
        await client.leave()
        client, _ = await tried("invitee", PASSWORD, register=True, token=token)
        expect(client.conditions == ["item-not-found", "conflict"], f"{client.conditions}")
        await client.leave()


logging.basicConfig(level=logging.CRITICAL)
asyncio.run(checks())
sys.exit(bool(FAILED))
