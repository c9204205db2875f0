#!/usr/bin/env python3
"""slixmpp administers a server by commands (XEP-0133), every one of them that is offered.

HOST, C2S_PORT, DOMAIN, CA, USER1, PASSWORD1, ADMIN and ADMIN_PASSWORD come from the environment. What
the commands do to USER1 is undone in the end. One line a check, `ok NAME` or `FAIL NAME why`; non-zero exit if
any failed.
"""
import asyncio

import slixmpp
from slixmpp.exceptions import IqError

import checks
from checks import DOMAIN, ENV, check, expect
from slixmpp_chat import Client

NS = "http://jabber.org/protocol/admin"
USER, GUEST = f"{ENV['USER1']}@{DOMAIN}", f"guest-of-admin@{DOMAIN}"


class Refused(Exception):
    """A command ended with this error."""


class Admin(Client):
    """Who administers, by the plugin."""

    def __init__(self):
        super().__init__(ENV["ADMIN"], ENV["ADMIN_PASSWORD"], "desk", False)
        for plugin in ("xep_0050", "xep_0133"):
            self.register_plugin(plugin)
        self.offered, self.done = set(), set()

    async def command(self, name, **fields):
        """Runs a command, with its form filled in if it asks for one; its answer."""
        self.done.add(name)
        outcome = asyncio.get_running_loop().create_future()

        def answered(iq, _):
            outcome.set_result(iq["command"])

        def refused(iq, _):
            outcome.set_exception(Refused(iq["error"]["condition"]))

        session = {"next": answered, "error": refused}
        plugin = self.plugin["xep_0133"]
        start = getattr(plugin, name.replace("-", "_"), None)
        # slixmpp knows it by another name.
        if start is None:
            self.plugin["xep_0050"].start_command(slixmpp.JID(DOMAIN), f"{NS}#{name}", session)
        else:
            start(session=session)
        answer = await outcome
        if answer["status"] != "executing":
            return answer
        form = self.plugin["xep_0004"].make_form(ftype="submit")
        form.add_field(var="FORM_TYPE", ftype="hidden", value=NS)
        for var, value in fields.items():
            form.add_field(var=var.replace("__", "-"), value=value)
        # By its sessions slixmpp finds no error that does not repeat what was sent.
        try:
            last = await self.plugin["xep_0050"].send_command(
                slixmpp.JID(DOMAIN), f"{NS}#{name}", action="complete", payload=form, sessionid=answer["sessionid"])
        except IqError as error:
            raise Refused(error.condition) from error
        return last["command"]

    async def values(self, name, var, **fields):
        """The values of one field of the result."""
        answer = await self.command(name, **fields)
        found = answer.xml.find(f"{{jabber:x:data}}x[@type='result']/{{jabber:x:data}}field[@var='{var}']")
        expect(found is not None, f"no {var} in {answer}")
        return [value.text for value in found.findall("{jabber:x:data}value")]

    async def refusal(self, name, **fields):
        try:
            await self.command(name, **fields)
        except Refused as error:
            return str(error)
        return "none"


async def check_accounts(admin):
    async with check("an account is added, changed and deleted"):
        new = {"accountjid": GUEST, "password": "one", "password__verify": "one"}
        await admin.command("add-user", **new)
        expect(await admin.refusal("add-user", **new) == "conflict", "added twice")
        await admin.command("change-user-password", accountjid=GUEST, password="two")
        await Client("guest-of-admin", "two", "x", False).login()
        await admin.command("delete-user", accountjids=[GUEST])
        expect(await admin.refusal("delete-user", accountjids=[GUEST]) == "item-not-found", "deleted twice")
    async with check("addresses of others are refused"):
        for wrong in ("romeo@elsewhere.example", DOMAIN, "@"):
            condition = await admin.refusal("delete-user", accountjids=[wrong])
            expect(condition == "bad-request", condition)
    async with check("a disabled account is out until it is enabled again"):
        user = await Client(ENV["USER1"], ENV["PASSWORD1"], "desk", False).login()
        await admin.command("disable-user", accountjids=[USER])
        await user.ended.wait()
        expect(user.stream_errors == ["not-authorized"], user.stream_errors)
        again = Client(ENV["USER1"], ENV["PASSWORD1"], "desk", False)
        outcome = await again.attempt()
        expect(outcome != "online" and "account-disabled" in again.auth_failures, f"{outcome} {again.auth_failures}")
        again.abort()
        expect(await admin.values("get-disabled-users-list", "disableduserjids", max_items="25") == [USER], "list")
        expect(await admin.values("get-disabled-users-num", "disabledusersnum") == ["1"], "number")
        await admin.command("reenable-user", accountjids=[USER])
        expect(await admin.values("get-disabled-users-num", "disabledusersnum") == ["0"], "number after")


async def check_users(admin, user):
    async with check("what is known of a user"):
        items = await admin.command("get-user-roster", accountjids=[USER])
        expect(items.xml.find("{jabber:x:data}x/{jabber:iq:roster}query") is not None, str(items))
        # A login is noted beside the presence that shows it.
        while True:
            login = await admin.command("get-user-lastlogin", accountjids=[USER])
            value = login.xml.findtext(".//{jabber:x:data}field[@var='lastlogin']/{jabber:x:data}value")
            if value is not None:
                break
        expect(value.endswith("Z"), value)
        expect(await admin.values("user-stats", "onlineresources", accountjid=USER) == ["phone"], "resources")
    async with check("users are counted and listed"):
        user.send_presence(pshow="away")
        await user.until_presence(user.boundjid)
        both = sorted([USER, f"{ENV['ADMIN']}@{DOMAIN}"])
        registered = await admin.values("get-registered-users-list", "registereduserjids", max_items="none")
        expect(set(both) <= set(registered), registered)
        number = await admin.values("get-registered-users-num", "registeredusersnum")
        expect(number == [str(len(registered))], number)
        online = await admin.values("get-online-users-list", "onlineuserjids", max_items="none")
        expect(set(both) <= set(online), online)
        number = await admin.values("get-online-users-num", "onlineusersnum")
        expect(number == [str(len(online))], number)
        active = await admin.values("get-active-users", "activeuserjids", max_items="none")
        idle = await admin.values("get-idle-users", "activeuserjids", max_items="none")
        expect(USER in idle and both[0 if both[1] == USER else 1] in active, f"{active} {idle}")
        expect(sorted(active + idle) == sorted(online), f"{active} {idle} {online}")
        expect(await admin.values("get-active-users-num", "activeusersnum") == [str(len(active))], "active")
        expect(await admin.values("get-idle-users-num", "idleusersnum") == [str(len(idle))], "idle")


async def check_notices(admin, user):
    async with check("an announcement reaches who is online"):
        await admin.command("announce", announcement=["All", "aboard"])
        await user.until_message("All\naboard")
    async with check("the message of the day is told once"):
        await admin.command("set-motd", motd=["Fine", "weather"])
        await user.until_message("Fine\nweather")
        await admin.command("edit-motd", motd=["Finer weather"])
        await admin.command("set-motd", motd=["Rain"])
        message = await user.until(lambda s: s.name == "message")
        expect(message["body"] == "Rain", message["body"])
        await admin.command("delete-motd")
    async with check("who is new is welcome"):
        await admin.command("set-welcome", welcome=["Welcome!"])
        await admin.command("add-user", accountjid=GUEST, password="one", password__verify="one")
        guest = await Client("guest-of-admin", "one", "x", False).login()
        guest.send_presence()
        await guest.until_message("Welcome!")
        await admin.command("delete-welcome")
        await admin.command("delete-user", accountjids=[GUEST])
        await guest.ended.wait()


async def main():
    admin = Admin()
    async with check("the commands are listed"):
        await admin.login()
        admin.send_presence()
        await admin.until_presence(admin.boundjid)
        items = await admin.plugin["xep_0133"].get_commands()
        nodes = {item[1] for item in items["disco_items"]["items"]}
        admin.offered = {node.removeprefix(f"{NS}#") for node in nodes if node.startswith(NS)}
        expect(admin.offered, nodes)
    async with check("nobody else has them"):
        other = await Client(ENV["USER1"], ENV["PASSWORD1"], "other", False).login()
        other.register_plugin("xep_0050")
        items = await other.plugin["xep_0050"].get_commands(slixmpp.JID(DOMAIN))
        seen = [item for item in items["disco_items"]["items"] if item[1].startswith(NS)]
        expect(not seen, seen)
        await other.logout()
    await check_accounts(admin)
    user = Client(ENV["USER1"], ENV["PASSWORD1"], "phone", False)
    async with check("a user is online"):
        await user.login()
        user.send_presence()
        await user.until_presence(user.boundjid)
    await check_users(admin, user)
    await check_notices(admin, user)
    async with check("a session is ended"):
        await admin.command("end-user-session", accountjids=[USER])
        await user.ended.wait()
        expect(user.stream_errors == ["policy-violation"], user.stream_errors)
    async with check("the service is not shut down at a bad time"):
        # A good one would be the end of the other checks.
        expect(await admin.refusal("shutdown", delay="never") == "bad-request", "taken")
    async with check("all that is offered was tried"):
        expect(admin.offered == admin.done, f"{admin.offered ^ admin.done}")
    await admin.logout()


checks.main(main)
