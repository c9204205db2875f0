#!/usr/bin/env python3
"""slixmpp asks for its archive (XEP-0313): filters, pages both ways, ids, metadata, preferences.

HOST, C2S_PORT, DOMAIN, CA, USER1, PASSWORD1, USER2 and PASSWORD2 come from the environment. What a
server does not advertise, or does not let users choose, is skipped. One line a check, `ok NAME`,
`FAIL NAME why` or `skip NAME reason`; non-zero exit if any failed.
"""
import asyncio
import contextlib
import datetime
import ssl
import uuid

import slixmpp
from slixmpp.exceptions import IqError

import checks
from checks import DOMAIN, ENV, TIMEOUT, check, expect, skip

MAM = "urn:xmpp:mam:2"
SID = "{urn:xmpp:sid:0}stanza-id"
COUNT = 7


class Client(slixmpp.ClientXMPP):
    """One session that keeps the messages it receives."""

    def __init__(self, user, password):
        super().__init__(f"{user}@{DOMAIN}/archive", password)
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        self.enable_direct_tls, self.enable_starttls = False, True
        for plugin in ("xep_0030", "xep_0059", "xep_0199", "xep_0313", "xep_0441"):
            self.register_plugin(plugin)
        self.started = asyncio.Event()
        self.came = asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("message", self.came.put_nowait)

    async def login(self):
        self.connect(ENV["HOST"], int(ENV["C2S_PORT"]))
        async with asyncio.timeout(TIMEOUT):
            await self.started.wait()
        self.send_presence()
        return self

    async def message(self, body):
        while True:
            message = await self.came.get()
            if message["body"] == body:
                return message

    async def page(self, fields=(), rsm="", flip=False):
        """A query in plain XML: the bodies and ids of a page, and its end."""
        iq = self.make_iq_set(ito=self.boundjid.bare)
        queryid = uuid.uuid4().hex
        query = slixmpp.xmlstream.ET.Element(f"{{{MAM}}}query", {"queryid": queryid})
        form = slixmpp.xmlstream.ET.SubElement(query, "{jabber:x:data}x", {"type": "submit"})
        for var, value in [("FORM_TYPE", MAM), *fields]:
            field = slixmpp.xmlstream.ET.SubElement(form, "{jabber:x:data}field", {"var": var})
            slixmpp.xmlstream.ET.SubElement(field, "{jabber:x:data}value").text = value
        query.append(slixmpp.xmlstream.ET.fromstring(f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>"))
        if flip:
            slixmpp.xmlstream.ET.SubElement(query, f"{{{MAM}}}flip-page")
        iq.append(query)
        results = []

        def collect(stanza):
            result = stanza.find(f"{{{MAM}}}result")
            if result is not None and result.get("queryid") == queryid:
                results.append((result.findtext(".//{jabber:client}body"), result.get("id")))

        # Before the answer is, all of its page has been read.
        def watch(stanza):
            if stanza.name == "message":
                collect(stanza.xml)
            return stanza

        self.add_filter("in", watch)
        try:
            answer = await iq.send(timeout=TIMEOUT)
        finally:
            self.del_filter("in", watch)
        fin = answer.xml.find(f"{{{MAM}}}fin")
        expect(fin is not None, "no <fin/>")
        return results, fin


def refused(error):
    return error.iq["error"]["condition"]


async def check_pages(client, other, bodies, ids, extended):
    with_other = ("with", other)
    async with check("all messages with somebody, in order"):
        results, fin = await client.page([with_other], "<max>50</max>")
        expect([body for body, _ in results][-COUNT:] == bodies, results)
        expect(fin.get("complete") == "true", "complete")
    async with check("ids are those of the live messages"):
        expect([one for _, one in results][-COUNT:] == ids, f"{results} {ids}")
    async with check("pages forwards cover all"):
        seen, after = [], results[-COUNT - 1][1] if len(results) > COUNT else None
        while True:
            rsm = "<max>3</max>" + (f"<after>{after}</after>" if after else "")
            page, fin = await client.page([with_other], rsm)
            seen += [body for body, _ in page]
            if fin.get("complete") == "true":
                break
            after = page[-1][1]
        expect(seen == bodies, seen)
    async with check("pages backwards cover all"):
        seen, before = [], ""
        while len(seen) < COUNT:
            page, fin = await client.page([with_other], f"<max>3</max><before>{before}</before>")
            expect(len(page) <= 3, "a page is as large as asked for")
            seen, before = [body for body, _ in page] + seen, page[0][1]
        expect(seen[-COUNT:] == bodies, seen)
    if ENV.get("PEER") == "ejabberd":
        skip("an unknown id is item-not-found", "ejabberd 23.01 takes any")
    else:
        async with check("an unknown id is item-not-found"):
            try:
                await client.page([], "<max>3</max><after>no-such-id</after>")
                raise RuntimeError("no error")
            except IqError as error:
                expect(refused(error) == "item-not-found", refused(error))
    async with check("nothing before yesterday"):
        yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        page, fin = await client.page([("end", yesterday.strftime("%Y-%m-%dT%H:%M:%SZ"))])
        expect(page == [] and fin.get("complete") == "true", page)
    async with check("start leaves out what was before"):
        page, _ = await client.page([with_other, ("start", yesterday.strftime("%Y-%m-%dT%H:%M:%SZ"))], "<before/>")
        expect([body for body, _ in page][-COUNT:] == bodies, page)
    if not extended:
        skip("by id, flipped, metadata", "the server does not advertise #extended")
        return
    async with check("between two ids"):
        page, _ = await client.page([("after-id", ids[1]), ("before-id", ids[4])])
        expect([one for _, one in page] == ids[2:4], page)
    async with check("one by its id"):
        page, _ = await client.page([("ids", ids[3])])
        expect([one for _, one in page] == [ids[3]], page)
    async with check("a page flipped"):
        page, _ = await client.page([with_other], "<max>3</max><before/>", flip=True)
        expect([body for body, _ in page] == bodies[:-4:-1], page)
    async with check("metadata"):
        answer = await client.plugin["xep_0313"].get_archive_metadata(client.boundjid.bare)
        expect(answer["mam_metadata"]["end"]["id"] == ids[-1], str(answer))


async def check_slixmpp(client, other, bodies):
    """The same by slixmpp's own functions."""
    mam = client.plugin["xep_0313"]
    async with check("slixmpp iterates"):
        seen = [m["mam_result"]["forwarded"]["stanza"]["body"]
                async for m in mam.iterate(with_jid=slixmpp.JID(other), rsm={"max": 2})]
        expect(seen[-COUNT:] == bodies, seen)
    async with check("slixmpp iterates backwards"):
        seen = [m["mam_result"]["forwarded"]["stanza"]["body"]
                async for m in mam.iterate(with_jid=slixmpp.JID(other), reverse=True, rsm={"max": 2}, total=COUNT)]
        expect(seen == bodies[::-1], seen)
    async with check("the fields that can be asked by"):
        fields = await mam.get_fields(slixmpp.JID(client.boundjid.bare))
        expect({"with", "start", "end"} <= set(fields.get_fields()), str(fields))


async def check_preferences(client, other, peer):
    prefs = client.plugin["xep_0441"]
    async with check("preferences: never"):
        try:
            usual, _, _ = await prefs.get_preferences()
        except IqError as error:
            skip("preferences", refused(error))
            return
        await prefs.set_preferences(default=usual, always=[], never=[slixmpp.JID(other)])
        body = f"not to be kept {uuid.uuid4().hex}"
        peer.send_message(client.boundjid, body, mtype="chat")
        await client.message(body)
        page, _ = await client.page([("with", other)], "<max>1</max><before/>")
        expect(page and page[0][0] != body, "it is in the archive")
    async with check("preferences: back again"):
        await prefs.set_preferences(default=usual, always=[], never=[])
        default, _, never = await prefs.get_preferences()
        expect(not never and default == usual, f"{default} {never}")


async def main():
    client = await Client(ENV["USER1"], ENV["PASSWORD1"]).login()
    peer = await Client(ENV["USER2"], ENV["PASSWORD2"]).login()
    other = peer.boundjid.bare
    extended = False
    async with check("the account advertises its archive"):
        info = await client.plugin["xep_0030"].get_info(client.boundjid.bare)
        features = info["disco_info"]["features"]
        extended = f"{MAM}#extended" in features
        expect(MAM in features and "urn:xmpp:sid:0" in features, features)
    for session in (client, peer):
        # ejabberd archives for who asks for it.
        with contextlib.suppress(IqError):
            if (await session.plugin["xep_0441"].get_preferences())[0] != "always":
                await session.plugin["xep_0441"].set_preferences(default="always", always=[], never=[])
    bodies, ids = [f"{n} of {uuid.uuid4().hex}" for n in range(COUNT)], []
    async with check("live messages tell their id in the archive"):
        for body in bodies:
            peer.send_message(client.boundjid, body, mtype="chat")
            message = await client.message(body)
            own = [i.get("id") for i in message.xml.findall(SID) if i.get("by") == client.boundjid.bare]
            expect(len(own) == 1, f"{own} in {message}")
            ids += own
    if len(ids) == COUNT:
        await check_pages(client, other, bodies, ids, extended)
        await check_slixmpp(client, other, bodies)
        async with check("the sender has them too"):
            page, _ = await peer.page([("with", client.boundjid.bare)], "<max>3</max><before/>")
            expect([body for body, _ in page] == bodies[-3:], page)
        await check_preferences(client, other, peer)
    for session in (client, peer):
        await session.disconnect(wait=1)


checks.main(main)
