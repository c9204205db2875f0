#!/usr/bin/env python3
"""Three users of slixmpp in rooms (XEP-0045) at MUC_DOMAIN: each step in a room of its own, each step checked.

The environment is that of slixmpp_chat.py, with USER3 and PASSWORD3. ROOMS_OF says whose rooms they are, if not PEER's:
what others are known to do otherwise is skipped, as is what a room does not advertise. PEER_SCRIPT and PEER_DIR are
how the server is killed and resumed; ROOMS_PID is the process that has the rooms, if that is not the server's. One line a check, `ok NAME`, `FAIL NAME why` or `skip NAME reason`; non-zero exit
if any failed.
"""
import asyncio
import base64
import datetime
import hashlib
import itertools
import os
import signal
import uuid

import slixmpp
from slixmpp.exceptions import IqError, PresenceError
from slixmpp.plugins.xep_0410.self_ping import PingStatus
from slixmpp.xmlstream import ET

import checks
import slixmpp_chat as chat
from checks import DOMAIN, ENV, TIMEOUT, Lacking, check, expect, skip
from slixmpp_chat import TRICKY

MUC = ENV["MUC_DOMAIN"]
ROOMS_OF = ENV.get("ROOMS_OF") or ENV.get("PEER")
NS = "http://jabber.org/protocol/muc"
USER = f"{{{NS}#user}}"
REGISTER = f"{NS}#register"
REQUEST = f"{NS}#request"
DATA = "{jabber:x:data}"
MAM, SID, DELAY = "urn:xmpp:mam:2", "{urn:xmpp:sid:0}stanza-id", "{urn:xmpp:delay}delay"
OCCUPANT_ID = "urn:xmpp:occupant-id:0"
MODERATE = "urn:xmpp:message-moderate:1"
TOMBSTONE = "urn:xmpp:message-retract:1#tombstone"
HATS, SEARCH = "urn:xmpp:hats:0", "urn:xmpp:channel-search:0:search"
# One pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CARD = f"<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>{PNG}</BINVAL></PHOTO></vCard>"
FIELD = "muc#roomconfig_"
# Rooms of another run are other rooms.
TAG, NUMBERS = uuid.uuid4().hex[:6], itertools.count(1)
STEPS = []

# What others do otherwise, by the names of checks.
SAME_NICKS = "compares nicknames as addresses, where case counts"
OTHERWISE = {
    "prosody": {
        "a nickname is taken in any case": SAME_NICKS,
        "slixmpp sees why it is not let in": "its errors do not say that they are of a room",
        "a new room whose configuration is cancelled is none": "keeps it, locked",
        "a room that becomes one for members": "tells those alone whom it removes",
        "registration, and the nickname that it reserves": "only members register",
        "several affiliations at once": "takes the first of them alone",
        "the list of rooms in pages": "has no pages",
    },
    "ejabberd": {
        "a nickname is taken in any case": SAME_NICKS,
        "a room is locked until it is configured": "opens rooms at once",
        "a new room whose configuration is cancelled is none": "opens rooms at once",
        "a room is full, but for its admins": "says resource-constraint",
    },
}
# Where others are less exact about which error it is.
OTHERS = ROOMS_OF in OTHERWISE
DENIED = ("forbidden", "not-allowed") if OTHERS else ("forbidden",)
GONE = ("item-not-found", "gone") if OTHERS else ("item-not-found",)


def step(name):
    """Makes a function one of the steps, which are done in this order."""
    return lambda work: STEPS.append((name, work)) or work


class Person(chat.Client):
    """One session that keeps all messages and presences, errors too, in their order."""

    def __init__(self, number, resource="rooms"):
        super().__init__(ENV[f"USER{number}"], ENV[f"PASSWORD{number}"], resource, False)
        for plugin in ("xep_0045", "xep_0054", "xep_0092", "xep_0199", "xep_0249", "xep_0313", "xep_0410", "xep_0425"):
            self.register_plugin(plugin)
        self.rooms, self.disco = self.plugin["xep_0045"], self.plugin["xep_0030"]
        self.add_filter("in", self.watch)

    def keep(self, stanza):
        """All is kept by the filter."""

    def watch(self, stanza):
        if stanza.name in ("message", "presence"):
            self.seen.append(stanza)
            self.news.set()
        return stanza

    async def available(self):
        await self.login()
        # What is for the account is for this session, not for a bot of the same user.
        self.send_presence(ppriority=10)
        await self.until_presence(self.boundjid)
        return self

    async def enter(self, room, nick, **options):
        """Enters a room; the own presence, the subject, who is there, and what was said."""
        own, subject, there, history = await self.rooms.join_muc_wait(room, nick, timeout=TIMEOUT, **options)
        return own, subject, [one for one in there if one["from"] != own["from"]], history

    async def refused(self, room, nick, **options):
        """The condition with which a room does not let somebody in."""
        self.rooms.make_join_stanza(room, nick, **options).send()
        answer = await self.until(lambda s: s.name == "presence" and s["from"].bare == room.bare
                                  and (s.xml.get("type") == "error" or 110 in codes(s)))
        return answer["error"]["condition"] if answer.xml.get("type") == "error" else "nothing"

    async def shown(self, room, nick, matches=lambda _: True, kind=None):
        """The next presence of somebody in the room that matches."""
        return await self.until(lambda s: s.name == "presence" and s["from"] == of(room, nick)
                                and s.xml.get("type") == kind and matches(s))

    async def heard(self, room, body):
        return await self.until(lambda s: s.name == "message" and s["from"].bare == room.bare and s["body"] == body
                                and s.xml.get("type") != "error")

    async def letter(self, room, element):
        """The next message of the room itself that has this in it."""
        found = await self.until(lambda s: s.name == "message" and s["from"] == room
                                 and s.xml.find(f".//{element}") is not None)
        return found.xml.find(f".//{element}"), found

    async def error(self, room):
        """The condition of the next message that comes back from the room, or from somebody in it."""
        found = await self.until(lambda s: s.name == "message" and s["from"].bare == room.bare
                                 and s.xml.get("type") == "error")
        return found["error"]["condition"]

    def say(self, room, body):
        self.send_message(mto=room, mbody=body, mtype="groupchat")

    async def told(self, room, body):
        """Says something, and has it back."""
        self.say(room, body)
        return await self.heard(room, body)

    async def ask(self, kind, to, element):
        iq = (self.make_iq_get if kind == "get" else self.make_iq_set)(ito=to)
        iq.append(element)
        return await iq.send(timeout=TIMEOUT)

    async def condition(self, work):
        """The condition with which a request is refused."""
        try:
            await work
        except IqError as error:
            return error.iq["error"]["condition"]
        return "nothing"

    async def configure(self, room, **wanted):
        """Fills in the form of a room as it comes, and submits it. Fields that it has not are passed over."""
        form = await self.rooms.get_room_config(room, timeout=TIMEOUT)
        fields = form.get_fields()
        for name, value in wanted.items():
            if (field := fields.get(FIELD + name) or fields.get(name)) is not None:
                field["value"] = value
        await self.rooms.set_room_config(room, form, timeout=TIMEOUT)

    async def offers(self, room):
        return set((await self.disco.get_info(room, timeout=TIMEOUT))["disco_info"]["features"])

    async def affiliated(self, room, affiliation):
        listed = await self.rooms.get_affiliation_list(room, affiliation, timeout=TIMEOUT)
        return {str(jid) for jid in listed}

    async def opened(self, nick="Alice", **config):
        """A new room, configured. What is not said is as it is by default at ours."""
        room = new_room()
        await self.enter(room, nick)
        await self.configure(room, **{"publicroom": True, "moderatedroom": False, "changesubject": False, **config})
        return room

    async def archived(self, room, rsm):
        """A page of the room's archive: ids and bodies."""
        queryid, results, self.results = uuid.uuid4().hex, [], []
        query = element(f"{{{MAM}}}query", queryid=queryid)
        query.append(form("submit", MAM))
        query.append(ET.fromstring(f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>"))

        def watch(stanza):
            result = stanza.xml.find(f"{{{MAM}}}result")
            if result is not None and result.get("queryid") == queryid:
                results.append((result.get("id"), result.findtext(".//{jabber:client}body")))
                self.results.append(stanza.xml)
            return stanza

        self.add_filter("in", watch)
        try:
            await self.ask("set", room, query)
        finally:
            self.del_filter("in", watch)
        return results


def new_room():
    return slixmpp.JID(f"room-{next(NUMBERS)}-{TAG}@{MUC}")


def of(room, nick):
    return slixmpp.JID(f"{room}/{nick}")


def element(tag, text=None, **attributes):
    made = ET.Element(tag, attributes)
    made.text = text
    return made


def form(kind, type_, **values):
    made = element(f"{DATA}x", type=kind)
    for var, value in [("FORM_TYPE", type_), *values.items()]:
        field = element(f"{DATA}field", var=var)
        field.append(element(f"{DATA}value", value))
        made.append(field)
    return made


def values(found):
    """The fields of a form in a stanza."""
    return {field.get("var"): field.findtext(f"{DATA}value") for field in found.iter(f"{DATA}field")}


def codes(stanza):
    return {int(status.get("code")) for status in stanza.xml.iter(f"{USER}status")}


def item(stanza):
    return stanza.xml.find(f"{USER}x/{USER}item")


def said_of(stanza, *names):
    found = item(stanza)
    expect(found is not None, f"no item in {stanza}")
    return tuple(found.get(name) for name in names)


def occupant_id(stanza):
    found = [one.get("id") for one in stanza.xml.findall(f"{{{OCCUPANT_ID}}}occupant-id")]
    expect(len(found) == 1 and found[0], f"occupant ids {found}")
    return found[0]


def given_id(room, stanza):
    found = [one.get("id") for one in stanza.xml.findall(SID) if one.get("by") == room.bare]
    expect(len(found) == 1 and found[0], f"ids {found} in {stanza}")
    return found[0]


async def needs(person, room, feature):
    if feature not in await person.offers(room):
        raise Lacking(f"{feature} is not advertised")


@step("the service says that it has rooms")
async def _(alice, bob, carol):
    info = (await alice.disco.get_info(MUC, timeout=TIMEOUT))["disco_info"]
    kinds = {(one[0], one[1]) for one in info["identities"]}
    expect(("conference", "text") in kinds and NS in info["features"], f"{kinds} {info['features']}")
    if MUC.endswith(f".{DOMAIN}"):
        items = (await alice.disco.get_items(DOMAIN, timeout=TIMEOUT))["disco_items"]["items"]
        expect(MUC in {str(one[0]) for one in items}, f"the server's items are {items}")


@step("an instant room")
async def _(alice, bob, carol):
    room = new_room()
    own, subject, there, history = await alice.enter(room, "Alice")
    expect({110, 201} <= codes(own), f"{codes(own)}")
    expect(said_of(own, "affiliation", "role") == ("owner", "moderator"), f"{own}")
    expect(not subject["subject"] and not history, f"{subject} {history}")
    await alice.ask("set", room, ET.fromstring(f"<query xmlns='{NS}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"))
    own, _, there, _ = await bob.enter(room, "Bob")
    expect(codes(own) == {110}, f"{codes(own)}")
    expect(said_of(own, "affiliation", "role") == ("none", "participant"), f"{own}")
    expect([one["from"] for one in there] == [of(room, "Alice")] and item(there[0]).get("jid") is None, f"{there}")
    seen = await alice.shown(room, "Bob")
    expect(said_of(seen, "jid") == (bob.boundjid.full,), "the owner sees who it is")
    for speaker, listener in ((alice, bob), (bob, alice)):
        message = await speaker.told(room, TRICKY)
        got = await listener.heard(room, TRICKY)
        expect(got["id"] == message["id"] and got["from"] == message["from"], f"{got}")


@step("a room is locked until it is configured")
async def _(alice, bob, carol):
    room = new_room()
    await alice.enter(room, "Alice")
    refused = await bob.refused(room, "Bob")
    expect(refused == "item-not-found", refused)
    await alice.configure(room)
    await bob.enter(room, "Bob")


@step("a new room whose configuration is cancelled is none")
async def _(alice, bob, carol):
    room = new_room()
    await alice.enter(room, "Alice")
    await alice.rooms.get_room_config(room, timeout=TIMEOUT)
    await alice.rooms.cancel_config(room, timeout=TIMEOUT)
    seen = await alice.shown(room, "Alice", lambda s: 110 in codes(s) or s.xml.find(f".//{USER}destroy") is not None,
                             "unavailable")
    expect(said_of(seen, "role") == ("none",), f"{seen}")
    own, *_ = await bob.enter(room, "Bob")
    expect(201 in codes(own), "it was still there")


@step("service discovery follows the configuration")
async def _(alice, bob, carol):
    room = await alice.opened(roomname=TRICKY.strip(), roomdesc="of a test")
    before = await bob.offers(room)
    expect({"muc_public", "muc_open", "muc_unmoderated", "muc_semianonymous", "muc_unsecured"} <= before, f"{before}")
    await alice.configure(room, publicroom=False, membersonly=True, moderatedroom=True, persistentroom=True,
                          whois="anyone", passwordprotectedroom=True, roomsecret="sesame")
    info = (await alice.disco.get_info(room, timeout=TIMEOUT))["disco_info"]
    after = {"muc_hidden", "muc_membersonly", "muc_moderated", "muc_nonanonymous", "muc_passwordprotected",
             "muc_persistent"}
    expect(after <= set(info["features"]), f"{info['features']}")
    told = values(info.xml)
    expect(told.get("muc#roominfo_description") == "of a test" and told.get("muc#roominfo_occupants") == "1", f"{told}")
    await alice.rooms.destroy(room, timeout=TIMEOUT)


@step("the name of a room is as it was written")
async def _(alice, bob, carol):
    name = "1 < 2 & \"q\" é 日本 🙌"
    room = await alice.opened(roomname=name)
    info = (await bob.disco.get_info(room, timeout=TIMEOUT))["disco_info"]
    expect({one[3] for one in info["identities"]} == {name}, f"{info['identities']}")


@step("occupants are told what has changed")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    await alice.configure(room, roomdesc="another")
    _, message = await bob.letter(room, f"{USER}status")
    expect(104 in codes(message) and message["type"] == "groupchat", f"{message}")
    await alice.configure(room, whois="anyone")
    _, message = await bob.letter(room, f"{USER}status")
    expect(172 in codes(message), f"{message}")
    own, _, there, _ = await carol.enter(room, "Carol")
    expect({100, 110} <= codes(own), f"{codes(own)}")
    expect({said_of(one, "jid")[0] for one in there} == {alice.boundjid.full, bob.boundjid.full}, f"{there}")
    await alice.configure(room, whois="moderators")
    _, message = await bob.letter(room, f"{USER}status")
    expect(173 in codes(message), f"{message}")


@step("a password")
async def _(alice, bob, carol):
    room = await alice.opened(passwordprotectedroom=True, roomsecret="open & <sesame>")
    for attempt in ({}, {"password": "sesame"}):
        refused = await bob.refused(room, "Bob", **attempt)
        expect(refused == "not-authorized", refused)
    await bob.enter(room, "Bob", password="open & <sesame>")


@step("a room for members, and an invitation into it")
async def _(alice, bob, carol):
    room = await alice.opened(membersonly=True)
    refused = await bob.refused(room, "Bob")
    expect(refused == "registration-required", refused)
    alice.rooms.invite(room, bob.boundjid.bare, reason=TRICKY.strip())
    invite, _ = await bob.letter(room, f"{USER}invite")
    expect(slixmpp.JID(invite.get("from")).bare in (alice.boundjid.bare, room.bare), f"{invite.attrib}")
    expect(invite.findtext(f"{USER}reason") == TRICKY.strip(), f"{invite.findtext(f'{USER}reason')!r}")
    own, *_ = await bob.enter(room, "Bob")
    expect(said_of(own, "affiliation", "role") == ("member", "participant"), f"{own}")
    expect(await alice.affiliated(room, "member") == {bob.boundjid.bare}, "he is no member")
    # Who loses that is out.
    await alice.rooms.set_affiliation(room, "none", jid=bob.boundjid.bare, timeout=TIMEOUT)
    seen = await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    expect(321 in codes(seen), f"{codes(seen)}")


@step("a room that becomes one for members")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    await alice.configure(room, membersonly=True)
    seen = await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    expect(322 in codes(seen), f"{codes(seen)}")
    await alice.shown(room, "Bob", kind="unavailable")


@step("a moderated room, and a request for voice")
async def _(alice, bob, carol):
    room = await alice.opened(moderatedroom=True, members_by_default=False)
    own, *_ = await bob.enter(room, "Bob")
    expect(said_of(own, "role") == ("visitor",), f"{own}")
    bob.say(room, "unheard")
    condition = await bob.error(room)
    expect(condition == "forbidden", condition)
    bob.rooms.request_voice(room, "participant")
    asked = await alice.until(lambda s: s.name == "message" and s["from"] == room
                              and values(s.xml).get("FORM_TYPE") == REQUEST)
    fields = values(asked.xml)
    expect(fields["muc#roomnick"] == "Bob" and fields["muc#jid"] == bob.boundjid.full, f"{fields}")
    fields["muc#request_allow"] = "true"
    del fields["FORM_TYPE"]
    answer = alice.make_message(mto=room)
    answer.append(form("submit", REQUEST, **fields))
    answer.send()
    await bob.shown(room, "Bob", lambda s: said_of(s, "role") == ("participant",))
    await bob.told(room, "heard")
    await alice.heard(room, "heard")
    await alice.rooms.set_role(room, "Bob", "visitor", timeout=TIMEOUT)
    await bob.shown(room, "Bob", lambda s: said_of(s, "role") == ("visitor",))


@step("a nickname changes")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    expect(await bob.rooms.set_self_nick(room, "Robert", timeout=TIMEOUT) == "Robert", "another nickname")
    gone = await alice.shown(room, "Bob", kind="unavailable")
    expect(303 in codes(gone) and said_of(gone, "nick") == ("Robert",), f"{gone}")
    await alice.shown(room, "Robert")
    await bob.told(room, "as Robert")
    expect((await alice.heard(room, "as Robert"))["from"] == of(room, "Robert"), "from another")
    # Somebody else may have the old one now.
    await carol.enter(room, "Bob")


@step("a nickname is taken")
async def _(alice, bob, carol):
    room = await alice.opened()
    refused = await bob.refused(room, "Alice")
    expect(refused == "conflict", refused)
    await bob.enter(room, "Bob")
    bob.send_presence(pto=of(room, "Alice"))
    error = await bob.until(lambda s: s.name == "presence" and s["from"].bare == room.bare and s.xml.get("type") == "error")
    expect(error["error"]["condition"] == "conflict", f"{error}")
    await bob.told(room, "still there")


@step("slixmpp sees why it is not let in")
async def _(alice, bob, carol):
    room = await alice.opened(membersonly=True)
    try:
        await bob.enter(room, "Bob")
        raise RuntimeError("he came in")
    except PresenceError as error:
        expect(error.presence["error"]["condition"] == "registration-required", f"{error.presence}")


@step("a nickname is taken in any case")
async def _(alice, bob, carol):
    room = await alice.opened()
    for nick in ("ALICE", "alice", "Ａlice"):
        refused = await bob.refused(room, nick)
        expect(refused == "conflict", f"{nick}: {refused}")


@step("presence in a room")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    bob.send_presence(pto=of(room, "Bob"), pshow="away", pstatus=TRICKY)
    seen = await alice.shown(room, "Bob", lambda s: s["show"] == "away")
    expect(seen["status"] == TRICKY, f"{seen['status']!r}")
    bob.rooms.leave_muc(room, "Bob", msg="to bed")
    gone = await alice.shown(room, "Bob", kind="unavailable")
    expect(said_of(gone, "role") == ("none",), f"{gone}")
    await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    # Who is not there is not heard.
    bob.say(room, "from outside")
    condition = await bob.error(room)
    expect(condition == "not-acceptable", condition)


@step("the subject, and who may change it")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    bob.rooms.set_subject(room, "his")
    condition = await bob.error(room)
    expect(condition == "forbidden", condition)
    alice.rooms.set_subject(room, TRICKY)
    for person in (alice, bob):
        message = await person.until(lambda s: s.name == "message" and s["subject"] == TRICKY)
        expect(message["from"] == of(room, "Alice"), f"{message['from']}")
    await alice.configure(room, changesubject=True)
    bob.rooms.set_subject(room, "his")
    await alice.until(lambda s: s.name == "message" and s["subject"] == "his" and s["from"] == of(room, "Bob"))
    _, subject, *_ = await carol.enter(room, "Carol")
    expect(subject["subject"] == "his", f"{subject}")


@step("private messages")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    await carol.enter(room, "Carol")
    bob.send_message(mto=of(room, "Alice"), mbody=TRICKY, mtype="chat")
    message = await alice.heard(room, TRICKY)
    expect(message["from"] == of(room, "Bob") and message["type"] == "chat", f"{message}")
    alice.send_message(mto=message["from"], mbody="to you alone", mtype="chat")
    message = await bob.heard(room, "to you alone")
    expect(message.xml.find(f"{USER}x") is not None, "it is not marked as from a room")
    bob.send_message(mto=of(room, "Nobody"), mbody="lost", mtype="chat")
    condition = await bob.error(room)
    expect(condition in ("item-not-found", "recipient-unavailable"), condition)
    await bob.told(room, "to all")
    await carol.heard(room, "to all")
    expect(not any(s.name == "message" and s["body"] == TRICKY for s in carol.seen), "a third has heard it")


@step("a kick, with its reason")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    await carol.enter(room, "Carol")
    refused = await bob.condition(bob.rooms.set_role(room, "Carol", "none", timeout=TIMEOUT))
    expect(refused in DENIED, refused)
    await alice.rooms.set_role(room, "Bob", "none", reason=TRICKY.strip(), timeout=TIMEOUT)
    for person, own in ((bob, True), (carol, False)):
        gone = await person.shown(room, "Bob", kind="unavailable")
        expect(307 in codes(gone) and (110 in codes(gone)) == own, f"{codes(gone)}")
        expect(item(gone).findtext(f"{USER}reason") == TRICKY.strip(), f"{gone}")
    # He may come back.
    await bob.enter(room, "Bob")


@step("a ban, the list of the banned, and its end")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    await alice.rooms.set_affiliation(room, "outcast", jid=bob.boundjid.bare, reason="enough", timeout=TIMEOUT)
    gone = await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    expect(301 in codes(gone) and said_of(gone, "affiliation") == ("outcast",), f"{gone}")
    expect(item(gone).findtext(f"{USER}reason") == "enough", f"{gone}")
    expect(await alice.affiliated(room, "outcast") == {bob.boundjid.bare}, "not in the list")
    refused = await bob.refused(room, "Bob")
    expect(refused == "forbidden", refused)
    await alice.rooms.set_affiliation(room, "none", jid=bob.boundjid.bare, timeout=TIMEOUT)
    expect(await alice.affiliated(room, "outcast") == set(), "still in the list")
    await bob.enter(room, "Bob")


@step("roles and affiliations, and their lists")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    await carol.enter(room, "Carol")
    await alice.rooms.set_affiliation(room, "admin", jid=bob.boundjid.bare, timeout=TIMEOUT)
    seen = await bob.shown(room, "Bob", lambda s: said_of(s, "affiliation") == ("admin",))
    expect(said_of(seen, "role") == ("moderator",), f"{seen}")
    await bob.rooms.set_affiliation(room, "member", jid=carol.boundjid.bare, timeout=TIMEOUT)
    await carol.shown(room, "Carol", lambda s: said_of(s, "affiliation") == ("member",))
    for affiliation, person in (("owner", alice), ("admin", bob), ("member", carol)):
        listed = await alice.affiliated(room, affiliation)
        expect(listed == {person.boundjid.bare}, f"{affiliation}: {listed}")
    moderators = await alice.rooms.get_roles_list(room, "moderator", timeout=TIMEOUT)
    expect(set(moderators) == {"Alice", "Bob"}, f"{moderators}")
    # An admin does not unseat an owner, nor does the last owner go.
    refused = await bob.condition(bob.rooms.set_affiliation(room, "none", jid=alice.boundjid.bare, timeout=TIMEOUT))
    expect(refused in ("forbidden", "not-allowed"), refused)
    refused = await bob.condition(bob.rooms.set_role(room, "Alice", "none", timeout=TIMEOUT))
    expect(refused in ("forbidden", "not-allowed"), refused)
    refused = await carol.condition(carol.rooms.get_room_config(room, timeout=TIMEOUT))
    expect(refused == "forbidden", refused)
    refused = await carol.condition(carol.affiliated(room, "outcast"))
    expect(refused == "forbidden", refused)


@step("the last owner stays")
async def _(alice, bob, carol):
    room = await alice.opened()
    refused = await alice.condition(alice.rooms.set_affiliation(room, "member", jid=alice.boundjid.bare, timeout=TIMEOUT))
    expect(refused in ("conflict", "not-allowed"), refused)
    await alice.rooms.set_affiliation(room, "owner", jid=bob.boundjid.bare, timeout=TIMEOUT)
    await alice.rooms.set_affiliation(room, "member", jid=alice.boundjid.bare, timeout=TIMEOUT)
    expect(await bob.affiliated(room, "owner") == {bob.boundjid.bare}, "no other owner")


@step("several affiliations at once")
async def _(alice, bob, carol):
    room = await alice.opened()
    await alice.rooms.send_affiliation_list(room, [(bob.boundjid.bare, "admin"), (carol.boundjid.bare, "member")],
                                            timeout=TIMEOUT)
    for affiliation, person in (("admin", bob), ("member", carol)):
        listed = await alice.affiliated(room, affiliation)
        expect(listed == {person.boundjid.bare}, f"{affiliation}: {listed}")


@step("registration, and the nickname that it reserves")
async def _(alice, bob, carol):
    room = await alice.opened(**{"{urn:xmpp:muc-registration}allow": True,
                                 "{http://prosody.im/protocol/muc}roomconfig_allowregistration": True})
    await needs(bob, room, "jabber:iq:register" if OTHERS else REGISTER)
    query = ET.fromstring("<query xmlns='jabber:iq:register'/>")
    answer = await bob.ask("get", room, query)
    expect("muc#register_roomnick" in values(answer.xml), f"{answer}")
    query.append(form("submit", REGISTER, **{"muc#register_roomnick": "Reserved"}))
    await bob.ask("set", room, query)
    answer = await bob.disco.get_info(room, node="x-roomuser-item", timeout=TIMEOUT)
    names = {one[3] for one in answer["disco_info"]["identities"]}
    expect(names == {"Reserved"}, f"reserved {names}")
    refused = await carol.refused(room, "Reserved")
    expect(refused == "conflict", refused)
    own, *_ = await bob.enter(room, "Reserved")
    expect(said_of(own, "affiliation") == ("member",), f"{own}")
    query = ET.fromstring("<query xmlns='jabber:iq:register'/>")
    answer = await bob.ask("get", room, query)
    expect(answer.xml.find(".//{jabber:iq:register}registered") is not None, f"{answer}")
    query.append(element("{jabber:iq:register}remove"))
    await bob.ask("set", room, query)
    await bob.shown(room, "Reserved", lambda s: said_of(s, "affiliation") == ("none",))


@step("the history that is asked for")
async def _(alice, bob, carol):
    room = await alice.opened()
    bodies = [f"{number} {TRICKY}" for number in range(6)]
    for body in bodies:
        await alice.told(room, body)
    now = datetime.datetime.now(datetime.timezone.utc)
    wanted = (({}, bodies), ({"maxstanzas": 2}, bodies[-2:]), ({"maxchars": 0}, []), ({"maxstanzas": 0}, []),
              ({"seconds": 600}, bodies), ({"since": now - datetime.timedelta(hours=1)}, bodies),
              ({"since": now + datetime.timedelta(hours=1)}, []))
    for options, expected in wanted:
        *_, history = await bob.enter(room, "Bob", **options)
        got = [message["body"] for message in history]
        expect(got == expected, f"by {options}: {len(got)} {got[:1]}, not {len(expected)}")
        for message in history:
            expect(message["from"] == of(room, "Alice") and message.xml.find(DELAY) is not None, f"{message}")
        bob.rooms.leave_muc(room, "Bob")
        await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")


@step("the room's archive has the ids of the live messages")
async def _(alice, bob, carol):
    room = await alice.opened(enablearchiving=True, mam=True)
    await needs(alice, room, MAM)
    await bob.enter(room, "Bob")
    bodies, ids = [f"{number} {TRICKY}" for number in range(5)], []
    for number, body in enumerate(bodies):
        (alice, bob)[number % 2].say(room, body)
        message = await bob.heard(room, body)
        ids.append(given_id(room, message))
        expect(given_id(room, await alice.heard(room, body)) == ids[-1], "others have another")
    page = await bob.archived(room, "<max>50</max>")
    expect([one for one in page if one[1]] == list(zip(ids, bodies)), f"{page}")
    page = await bob.archived(room, f"<max>2</max><after>{ids[1]}</after>")
    expect(page == list(zip(ids, bodies))[2:4], f"{page}")
    page = await bob.archived(room, "<max>2</max><before/>")
    expect(page == list(zip(ids, bodies))[3:], f"{page}")
    *_, history = await carol.enter(room, "Carol", maxstanzas=5)
    expect([given_id(room, message) for message in history] == ids, "the history has others")


@step("an archive of a room for members is for members")
async def _(alice, bob, carol):
    room = await alice.opened(membersonly=True, enablearchiving=True, mam=True)
    await needs(alice, room, MAM)
    await alice.told(room, "secret")
    refused = await bob.condition(bob.archived(room, "<max>1</max>"))
    expect(refused == "forbidden", refused)


@step("a message is moderated, and others are told")
async def _(alice, bob, carol):
    room = await alice.opened(enablearchiving=True, mam=True)
    await needs(alice, room, MODERATE)
    await bob.enter(room, "Bob")
    await carol.enter(room, "Carol")
    bad = given_id(room, await bob.told(room, "bad"))
    refused = await carol.condition(carol.plugin["xep_0425"].moderate(room, bad, timeout=TIMEOUT))
    expect(refused == "forbidden", refused)
    await alice.plugin["xep_0425"].moderate(room, bad, reason="no", timeout=TIMEOUT)
    retract = "{urn:xmpp:message-retract:1}retract"
    for person in (bob, carol):
        found, message = await person.letter(room, retract)
        expect(message["type"] == "groupchat" and found.get("id") == bad, f"{message}")
        expect(found.find(f"{{{MODERATE}}}moderated").get("by") == f"{room}/Alice", f"{message}")
        expect(found.findtext("{urn:xmpp:message-retract:1}reason") == "no", f"{message}")
    bob.rooms.leave_muc(room, "Bob")
    await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    *_, history = await bob.enter(room, "Bob")
    expect("bad" not in [message["body"] for message in history], "it is still in the history")


@step("what was moderated leaves a tombstone in the archive")
async def _(alice, bob, carol):
    room = await alice.opened(enablearchiving=True, mam=True)
    await needs(alice, room, TOMBSTONE)
    await bob.enter(room, "Bob")
    ids = [given_id(room, await bob.told(room, text)) for text in ("good", "bad", "better")]
    await alice.plugin["xep_0425"].moderate(room, ids[1], reason="no", timeout=TIMEOUT)
    # The moderation itself is a message of the archive, behind those.
    page = (await bob.archived(room, "<max>50</max>"))[:3]
    expect(page == list(zip(ids, ("good", None, "better"))), f"{page}")
    expect(bob.results[1].find(".//{urn:xmpp:message-retract:1}retracted") is not None, "no tombstone")


@step("a page of the archive comes in order, and before its end")
async def _(alice, bob, carol):
    room = await alice.opened(enablearchiving=True, mam=True)
    await needs(alice, room, MAM)
    texts = [f"line {number}" for number in range(30)]
    await bob.enter(room, "Bob")
    # Nobody says so much at once alone.
    ids = [given_id(room, await (alice, bob)[number % 2].told(room, text)) for number, text in enumerate(texts)]
    for _ in range(10):
        page = [one for one in await alice.archived(room, "<max>30</max>") if one[1]]
        expect(page == list(zip(ids, texts))[:len(page)] and len(page) >= 29, f"{len(page)} of them: {page[-2:]}")


@step("occupants ask each other")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    for person in (alice, bob):
        other = of(room, "Bob" if person is alice else "Alice")
        await person.plugin["xep_0199"].send_ping(other, timeout=TIMEOUT)
        answer = await person.plugin["xep_0092"].get_version(other, timeout=TIMEOUT)
        expect(answer["from"] == other and answer["software_version"]["name"] == "Slixmpp", f"{answer}")
        features = (await person.disco.get_info(other, timeout=TIMEOUT))["disco_info"]["features"]
        expect("urn:xmpp:ping" in features, f"{features}")
    # Many at once, each with its answer.
    pings = [alice.plugin["xep_0199"].send_ping(of(room, "Bob"), timeout=TIMEOUT) for _ in range(100)]
    await asyncio.gather(*pings)


@step("occupants see each other's vCards")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    card = bob.plugin["xep_0054"].make_vcard()
    card["FN"] = f"Bob {TAG}"
    await bob.plugin["xep_0054"].publish_vcard(card, timeout=TIMEOUT)
    answer = await alice.plugin["xep_0054"].get_vcard(of(room, "Bob"), cached=False, timeout=TIMEOUT)
    expect(answer["from"] == of(room, "Bob") and answer["vcard_temp"]["FN"] == f"Bob {TAG}", f"{answer}")


@step("the photo of a room, and its vCard")
async def _(alice, bob, carol):
    room = await alice.opened()
    if OTHERS:
        raise Lacking("what it tells of a photo is another thing")
    await bob.enter(room, "Bob")
    refused = await bob.condition(bob.ask("set", room, ET.fromstring(CARD)))
    expect(refused == "forbidden", refused)
    await alice.ask("set", room, ET.fromstring(CARD))
    for person in (alice, bob):
        _, message = await person.letter(room, f"{USER}status[@code='104']")
        expect(message["type"] == "groupchat", f"{message}")
    digest = hashlib.sha1(base64.b64decode(PNG)).hexdigest()

    def is_photo(stanza):
        return stanza.name == "presence" and stanza["from"] == room \
            and stanza.xml.findtext("{vcard-temp:x:update}x/{vcard-temp:x:update}photo") == digest

    await bob.until(is_photo)
    await carol.enter(room, "Carol")
    await carol.until(is_photo)
    card = (await carol.plugin["xep_0054"].get_vcard(room, cached=False, timeout=TIMEOUT))["vcard_temp"]
    expect(base64.b64encode(card["PHOTO"]["BINVAL"]).decode() == PNG, f"{card}")
    info = (await carol.disco.get_info(room, timeout=TIMEOUT))["disco_info"]
    told = values(info.xml).get(FIELD.replace("config", "info") + "avatarhash")
    expect("vcard-temp" in info["features"] and told == digest, f"{info}")
    await alice.ask("set", room, ET.fromstring("<vCard xmlns='vcard-temp'/>"))
    await bob.until(lambda s: s.name == "presence" and s["from"] == room and not is_photo(s))


@step("hats are seen in presence")
async def _(alice, bob, carol):
    room = await alice.opened()
    await needs(alice, room, HATS)
    await bob.enter(room, "Bob")
    hat = {"hats#title": "Speaker", "hats#uri": "urn:example:speaker"}

    def run(person, command, **fields):
        commands = HATS.replace(":0", ":commands")
        call = element("{http://jabber.org/protocol/commands}command", node=f"{commands}:{command}")
        call.append(form("submit", commands, **fields))
        return person.ask("set", room, call)

    refused = await bob.condition(run(bob, "create", **hat))
    expect(refused == "forbidden", refused)
    await run(alice, "create", **hat)
    worn = {"hats#jid": bob.boundjid.bare, "hats#uri": hat["hats#uri"]}

    def worn_by(stanza):
        return [one.get("title") for one in stanza.xml.findall(f"{{{HATS}}}hats/{{{HATS}}}hat")]

    await run(alice, "assign", **worn)
    for person in (alice, bob):
        await person.shown(room, "Bob", lambda s: worn_by(s) == ["Speaker"])
    _, _, there, _ = await carol.enter(room, "Carol")
    expect([worn_by(one) for one in there if one["from"] == of(room, "Bob")] == [["Speaker"]], f"{there}")
    # Nobody puts one on by themselves.
    forged = carol.make_presence(pto=of(room, "Carol"), pstatus="forged")
    forged.append(ET.fromstring(f"<hats xmlns='{HATS}'><hat uri='urn:example:king' title='King'/></hats>"))
    forged.send()
    seen = await bob.shown(room, "Carol", lambda s: s["status"] == "forged")
    expect(not worn_by(seen), f"{seen}")
    await run(alice, "unassign", **worn)
    await carol.shown(room, "Bob", lambda s: not worn_by(s))


@step("rooms are found by words")
async def _(alice, bob, carol):
    await needs(alice, MUC, SEARCH)
    word = f"needle{TAG}"
    room = await alice.opened(roomname=f"The {word} in it", roomdesc="Found")
    hidden = await alice.opened(roomname=f"The {word} too", publicroom=False)
    answer = await bob.ask("get", MUC, element(f"{{{SEARCH}}}search"))
    expect({"q", "key"} <= values(answer.xml).keys(), f"{answer}")

    async def found(**fields):
        search = element(f"{{{SEARCH}}}search")
        search.append(form("submit", SEARCH + "-params", key="{urn:xmpp:channel-search:0:order}address", **fields))
        answer = await bob.ask("get", MUC, search)
        return {one.get("address"): {part.tag: part.text for part in one} for one in answer.xml.iter(f"{{{SEARCH}}}item")}

    got = await found(q=word.upper())
    expect(set(got) == {room.bare} and hidden.bare not in got, f"{got}")
    expect(got[room.bare][f"{{{SEARCH}}}name"] == f"The {word} in it", f"{got}")
    expect(got[room.bare][f"{{{SEARCH}}}nusers"] == "1", f"{got}")
    expect(not await found(q=f"no{word}"), "found what is not there")


@step("who is in a room, by service discovery")
async def _(alice, bob, carol):
    room = await alice.opened(public_list=False)
    await bob.enter(room, "Bob")

    async def listed(person):
        items = (await person.disco.get_items(room, timeout=TIMEOUT))["disco_items"]["items"]
        return {str(one[0]) for one in items}

    all_of_them = {str(of(room, nick)) for nick in ("Alice", "Bob")}
    if OTHERS:
        raise Lacking("has another setting for that")
    expect(await listed(bob) == all_of_them, "an occupant does not see the others")
    expect(await listed(carol) == set(), "a stranger sees them")
    await alice.configure(room, public_list=True)
    expect(await listed(carol) == all_of_them, "a stranger does not see them, though the owner allows it")


@step("who says too much at once is told to wait")
async def _(alice, bob, carol):
    room = await alice.opened()
    if OTHERS:
        raise Lacking("has another bound, or none")
    await bob.enter(room, "Bob")
    for number in range(60):
        bob.say(room, f"flood {number}")
    refused = await bob.until(lambda s: s.name == "message" and s["from"].bare == room.bare and s.xml.get("type") == "error")
    expect((refused["error"]["type"], refused["error"]["condition"]) == ("wait", "resource-constraint"), f"{refused}")
    await alice.heard(room, "flood 0")
    await alice.told(room, "others are as they were")


@step("who asks in vain is told")
async def _(alice, bob, carol):
    room = await alice.opened()
    await bob.enter(room, "Bob")
    query = "<query xmlns='urn:example:unknown'/>"
    refused = await alice.condition(alice.ask("get", of(room, "Bob"), ET.fromstring(query)))
    expect(refused in ("feature-not-implemented", "service-unavailable"), refused)
    refused = await alice.condition(alice.plugin["xep_0199"].send_ping(of(room, "Nobody"), timeout=TIMEOUT))
    expect(refused == "item-not-found", refused)
    refused = await carol.condition(carol.plugin["xep_0199"].send_ping(of(room, "Bob"), timeout=TIMEOUT))
    expect(refused == "not-acceptable", refused)


@step("occupant ids are the same after a return")
async def _(alice, bob, carol):
    room = await alice.opened()
    await needs(alice, room, OCCUPANT_ID)
    own, *_ = await bob.enter(room, "Bob")
    his = occupant_id(own)
    expect(occupant_id(await alice.shown(room, "Bob")) == his, "others see another")
    forged = bob.make_message(mto=room, mbody="forged", mtype="groupchat")
    forged.append(element(f"{{{OCCUPANT_ID}}}occupant-id", id="forged"))
    forged.send()
    expect(occupant_id(await alice.heard(room, "forged")) == his, "a forged id was passed on")
    bob.rooms.leave_muc(room, "Bob")
    await bob.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    hers, *_ = await carol.enter(room, "Bob")
    expect(occupant_id(hers) != his, "two have the same")
    own, *_ = await bob.enter(room, "Robert")
    expect(occupant_id(own) == his, "it is another now")


@step("a direct invitation")
async def _(alice, bob, carol):
    room = await alice.opened(membersonly=True)
    alice.plugin["xep_0249"].send_invitation(bob.boundjid.bare, room, reason="come", password="none")
    message = await bob.until(lambda s: s.name == "message" and s.xml.find("{jabber:x:conference}x") is not None)
    found = message.xml.find("{jabber:x:conference}x")
    expect(message["from"] == alice.boundjid and found.get("jid") == room.bare, f"{message}")
    expect(found.get("reason") == "come", f"{message}")


@step("an invitation is declined")
async def _(alice, bob, carol):
    room = await alice.opened()
    alice.rooms.invite(room, bob.boundjid.bare, reason="come")
    invite, _ = await bob.letter(room, f"{USER}invite")
    bob.rooms.decline(room, invite.get("from"), reason="too late")
    decline, _ = await alice.letter(room, f"{USER}decline")
    expect(slixmpp.JID(decline.get("from")).bare == bob.boundjid.bare, f"{decline.attrib}")
    expect(decline.findtext(f"{USER}reason") == "too late", f"{decline.findtext(f'{USER}reason')!r}")


@step("who is in the room learns that from it")
async def _(alice, bob, carol):
    room = await alice.opened()

    async def status():
        return await bob.plugin["xep_0410"].send_self_ping(of(room, "Bob"), bob.boundjid, timeout=TIMEOUT)

    expect(await status() == PingStatus.DISCONNECTED, "he is not there")
    await bob.enter(room, "Bob")
    expect(await status() == PingStatus.JOINED, "he is there")
    await alice.rooms.set_role(room, "Bob", "none", timeout=TIMEOUT)
    expect(await status() == PingStatus.DISCONNECTED, "he is not there any more")


@step("a room ends, and another takes its place")
async def _(alice, bob, carol):
    room, other = await alice.opened(persistentroom=True), new_room()
    await bob.enter(room, "Bob")
    refused = await bob.condition(bob.rooms.destroy(room, timeout=TIMEOUT))
    expect(refused == "forbidden", refused)
    await alice.rooms.destroy(room, reason="moved", altroom=str(other), timeout=TIMEOUT)
    gone = await bob.shown(room, "Bob", kind="unavailable")
    destroy = gone.xml.find(f"{USER}x/{USER}destroy")
    expect(destroy is not None and destroy.get("jid") == other.bare, f"{gone}")
    expect(destroy.findtext(f"{USER}reason") == "moved", f"{gone}")
    refused = await carol.condition(carol.disco.get_info(room, timeout=TIMEOUT))
    expect(refused in GONE, refused)


async def listed(person, rsm=None):
    """A page of the list of rooms, and its end."""
    query = ET.fromstring("<query xmlns='http://jabber.org/protocol/disco#items'/>")
    if rsm is not None:
        query.append(ET.fromstring(f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>"))
    answer = await person.ask("get", slixmpp.JID(MUC), query)
    jids = [one.get("jid") for one in answer.xml.iter("{http://jabber.org/protocol/disco#items}item")]
    return jids, answer.xml.find(".//{http://jabber.org/protocol/rsm}set")


@step("the list of rooms")
async def _(alice, bob, carol):
    public, hidden = await alice.opened(), await alice.opened(publicroom=False)
    jids, _ = await listed(bob)
    expect(public.bare in jids and hidden.bare not in jids, f"{jids}")


@step("the list of rooms in pages")
async def _(alice, bob, carol):
    rooms = {(await alice.opened()).bare for _ in range(5)}
    seen, after = [], ""
    while True:
        page, rsm = await listed(bob, f"<max>2</max>{after}")
        if not page:
            break
        expect(rsm is not None and len(page) <= 2, f"{len(page)} rooms, {rsm}")
        seen += page
        after = f"<after>{rsm.findtext('{http://jabber.org/protocol/rsm}last')}</after>"
    expect(rooms <= set(seen) and len(set(seen)) == len(seen), f"{seen}")
    last, _ = await listed(bob, "<max>2</max><before/>")
    expect(last == seen[-2:], f"{last}")


@step("a room is full, but for its admins")
async def _(alice, bob, carol):
    room = await alice.opened(maxusers="2")
    fields = (await alice.rooms.get_room_config(room, timeout=TIMEOUT)).get_fields()
    if f"{FIELD}maxusers" not in fields:
        raise Lacking("the form has no such field")
    await bob.enter(room, "Bob")
    refused = await carol.refused(room, "Carol")
    expect(refused == "service-unavailable", refused)
    await alice.rooms.set_affiliation(room, "admin", jid=carol.boundjid.bare, timeout=TIMEOUT)
    await carol.enter(room, "Carol")


@step("who vanishes leaves the room")
async def _(alice, bob, carol):
    room = await alice.opened()
    passing = await Person(2, "passing").available()
    await passing.enter(room, "Passing")
    await alice.shown(room, "Passing")
    passing.abort()
    gone = await alice.shown(room, "Passing", kind="unavailable")
    expect(said_of(gone, "role") == ("none",), f"{gone}")


@step("a room with nobody in it ends, unless it is persistent")
async def _(alice, bob, carol):
    for persistent in (False, True):
        room = await alice.opened(persistentroom=persistent)
        alice.rooms.leave_muc(room, "Alice")
        await alice.shown(room, "Alice", lambda s: 110 in codes(s), "unavailable")
        answer = await bob.condition(bob.disco.get_info(room, timeout=TIMEOUT))
        expect(answer == ("nothing" if persistent else "item-not-found"), f"{persistent} {answer}")


@step("two clients under one nickname")
async def _(alice, bob, carol):
    room = await alice.opened()
    second = await Person(2, "second").available()
    await bob.enter(room, "Bob")
    await second.enter(room, "Bob")
    await second.told(room, "by the second")
    for person in (alice, bob):
        expect((await person.heard(room, "by the second"))["from"] == of(room, "Bob"), "from another")
    for private in ("one", "two"):
        alice.send_message(mto=of(room, "Bob"), mbody=private, mtype="chat")
    for person in (bob, second):
        for private in ("one", "two"):
            await person.heard(room, private)
    alice.seen.clear()
    second.rooms.leave_muc(room, "Bob")
    await second.shown(room, "Bob", lambda s: 110 in codes(s), "unavailable")
    await bob.told(room, "one is left")
    await alice.heard(room, "one is left")
    bob.rooms.leave_muc(room, "Bob")
    await alice.shown(room, "Bob", kind="unavailable")
    await second.logout()


async def farewell(people, pid):
    """Whoever has the rooms is asked to stop, and says so to those who are in them."""
    alice, bob, carol = people
    async with check("everybody is told when the rooms close"):
        room = await alice.opened()
        await bob.enter(room, "Bob")
        os.kill(pid, signal.SIGTERM)
        for person, nick in ((alice, "Alice"), (bob, "Bob")):
            gone = await person.shown(room, nick, kind="unavailable")
            expect({110, 332} <= codes(gone), f"{gone}")


async def persistence(people):
    """The server is killed; what was stored is there afterwards."""
    alice, bob, carol = people
    room, texts = None, [f"{number} before" for number in range(3)]
    async with check("a persistent room with its people, subject and messages"):
        room = await alice.opened(persistentroom=True, roomname="Lasting", moderatedroom=True, enablearchiving=True,
                                  mam=True)
        alice.rooms.set_subject(room, "forever")
        ids = [given_id(room, await alice.told(room, text)) for text in texts]
        await alice.rooms.set_affiliation(room, "admin", jid=bob.boundjid.bare, timeout=TIMEOUT)
        await alice.rooms.set_affiliation(room, "outcast", jid=carol.boundjid.bare, reason="no", timeout=TIMEOUT)
        his = occupant_id((await bob.enter(room, "Bob"))[0])
    if room is None:
        return
    async with check("the server is killed and comes back"):
        for command in ("kill", "resume"):
            process = await asyncio.create_subprocess_exec(ENV["PEER_SCRIPT"], command, ENV["PEER_DIR"])
            expect(await process.wait() == 0, command)
        await asyncio.gather(*(person.ended.wait() for person in people))
    async with check("the room is as it was"):
        alice, bob, carol = people = [await Person(number, "later").available() for number in (1, 2, 3)]
        info = (await alice.disco.get_info(room, timeout=TIMEOUT))["disco_info"]
        expect({"muc_moderated", "muc_persistent"} <= set(info["features"]), f"{info['features']}")
        expect("Lasting" in {one[3] for one in info["identities"]}, f"{info['identities']}")
        own, subject, _, history = await bob.enter(room, "Bob")
        expect(said_of(own, "affiliation", "role") == ("admin", "moderator"), f"{own}")
        expect(occupant_id(own) == his, "another occupant id")
        refused = await carol.refused(room, "Carol")
        expect(refused == "forbidden", refused)
        expect(await bob.affiliated(room, "outcast") == {carol.boundjid.bare}, "nobody is banned")
        expect(subject["subject"] == "forever", f"{subject}")
    async with check("history and archive are there"):
        expect([message["body"] for message in history] == texts, f"{[message['body'] for message in history]}")
        expect([given_id(room, message) for message in history] == ids, "with other ids")
        page = [one for one in await bob.archived(room, "<max>50</max>") if one[1]]
        expect(page == list(zip(ids, texts)), f"{page}")
        await bob.told(room, "after")
    async with check("the room can end"):
        await alice.rooms.destroy(room, timeout=TIMEOUT)
    with open(os.path.join(ENV["PEER_DIR"], "pid"), encoding="ascii") as file:
        pid = int(file.read())
    await farewell(people, pid)
    async with check("the server stops and comes back"):
        await asyncio.gather(*(person.ended.wait() for person in people))
        # Its process may not be ours to wait for.
        while os.path.exists(f"/proc/{pid}"):
            await asyncio.sleep(0.1)
        process = await asyncio.create_subprocess_exec(ENV["PEER_SCRIPT"], "resume", ENV["PEER_DIR"])
        expect(await process.wait() == 0, "resume")


async def done(name, work, people):
    """One step, unless it is known that it cannot be."""
    if reason := OTHERWISE.get(ROOMS_OF, {}).get(name):
        skip(name, reason)
        return
    async with check(name):
        await work(*people)


async def main():
    people = []
    async with check("three users log in"):
        people = [await Person(number).available() for number in (1, 2, 3)]
    if len(people) < 3:
        return
    for name, work in STEPS:
        await done(name, work, people)
    if ROOMS_OF in ("prosody", "ejabberd"):
        skip("a room outlives the server", "that is for ours to show")
    elif "ROOMS_OF" in ENV:
        skip("a room outlives the server", "the component keeps its rooms in memory")
        if pid := ENV.get("ROOMS_PID"):
            await farewell(people, int(pid))
    else:
        await persistence(people)
        return
    for person in people:
        await person.logout()


if __name__ == "__main__":
    checks.main(main)
