#!/usr/bin/python3
"""Gajim 1.7, the whole of it, that does what lines on standard input ask, and says in lines what happens.

`gajim_by_lines.py FOLDER` keeps everything in FOLDER and needs a display. What a person does by clicking is done by calling what the
click calls. Each line, either way, is an object of JSON; the first one in is the account.
"""
import json
import os
import pathlib
import socket
import sys
import traceback

FOLDER = pathlib.Path(sys.argv[1])
# Gajim prints to standard output, too.
told = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def tell(what, **more):
    told.write(json.dumps({"what": what, **more}) + "\n")


import gi  # noqa: E402

gi.require_versions({"GLib": "2.0", "Gio": "2.0", "Gtk": "3.0", "GtkSource": "4", "GObject": "2.0", "Pango": "1.0",
                     "PangoCairo": "1.0"})

from gi.repository import GLib  # noqa: E402
from gajim.common import app, ged  # noqa: E402
from gajim.common.file_props import FilesProp  # noqa: E402
from gajim.common.jingle_ft import JingleFileTransfer  # noqa: E402
from gajim.gtk.application import GajimApplication  # noqa: E402
from nbxmpp import JID  # noqa: E402
from nbxmpp.const import ConnectionProtocol, ConnectionType  # noqa: E402
from nbxmpp.namespaces import Namespace  # noqa: E402
from nbxmpp.structs import IBBData  # noqa: E402

ACCOUNT = "interop"


new_file, begin = FilesProp.getNewFileProp, JingleFileTransfer.__init__


def begin_also_without_file(self, session, file_props=None, transport=None, senders=None):
    """Gajim from 1.7 on gives an offer that comes in no place for what is known of the file, asks for one, and so raises an
    exception; before, the offer got its place when it was told of."""
    file_props = file_props or FilesProp.getNewFileProp(session.connection.name, session.sid)
    begin(self, session, file_props, transport, senders)


JingleFileTransfer.__init__ = begin_also_without_file
# The one that was made then is that which is told of.
FilesProp.getNewFileProp = lambda account, sid: FilesProp.getFileProp(account, sid) or new_file(account, sid)

# What says that an in-band stream opens or closes has neither bytes nor a number.
IBBData.__new__.__defaults__ = (None,) * len(IBBData._fields)


def transfers():
    return app.interface.instances["file_transfers"]


def fresh_port():
    """What has ended may still hold its port, and get what comes for another file."""
    with socket.socket() as bound:
        bound.bind(("", 0))
        app.settings.set("file_transfers_port", bound.getsockname()[1])


def file_of(sid):
    return FilesProp.getFileProp(ACCOUNT, sid)


class Driven(GajimApplication):
    """Gajim, without people."""

    def _auto_connect(self):
        # Otherwise dialogs and a browser could come up.
        app.settings.set("use_keyring", False)
        app.settings.set("check_for_update", False)
        for event, what in (("file-completed", "completed"), ("file-hash-error", "hash-error"), ("file-error", "error"),
                            ("file-send-error", "error"), ("file-request-error", "error")):
            app.ged.register_event_handler(event, ged.CORE, lambda event, what=what: self.heard(what, event.file_props))
        app.ged.register_event_handler("file-progress", ged.CORE, lambda event: self.heard("progress", event.file_props))
        app.ged.register_event_handler("file-request-received", ged.CORE, lambda event: self.heard("offer", event.file_props))
        app.ged.register_event_handler("file-request-sent", ged.CORE, lambda event: self.heard("offered", event.file_props))
        app.ged.register_event_handler("jingle-disconnected-received", ged.CORE, lambda event: self.over("over", event))
        app.ged.register_event_handler("jingle-ft-cancelled-received", ged.CORE, lambda event: self.over("over", event))
        app.ged.register_event_handler("jingle-error-received", ged.CORE, lambda event: self.over("failed", event))
        app.ged.register_event_handler("signed-in", ged.CORE, self.signed_in)
        GLib.io_add_watch(GLib.IOChannel.unix_new(0), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, self.readable)
        self.waiting = b""
        tell("started")
        return False

    def heard(self, what, file):
        tell(what, sid=file.sid, name=file.name, size=file.size, hash=file.hash_, algo=file.algo, type=file.type_,
             received=file.received_len, error=file.error, sender=str(file.sender), desc=file.desc)

    def over(self, what, event):
        tell(what, sid=event.sid, reason=event.reason)

    def signed_in(self, event):
        # For whoever looks for the cause of a failure.
        for signal in ("stanza-sent", "stanza-received"):
            event.conn.connection.subscribe(signal, self.stanza)
        tell("online", jid=str(event.conn.get_own_jid()))

    def stanza(self, _client, signal, stanza):
        if stanza.getTag("jingle") or stanza.getTag("query") and "bytestreams" in str(stanza):
            print("-->" if signal == "stanza-sent" else "<--", stanza, file=sys.stderr, flush=True)

    def readable(self, _channel, condition):
        read = os.read(0, 65_536) if condition & GLib.IO_IN else b""
        if not read:
            os._exit(0)
        *lines, self.waiting = (self.waiting + read).split(b"\n")
        for line in lines:
            order = json.loads(line)
            try:
                getattr(self, "do_" + order.pop("do"))(**order)
            except Exception:
                traceback.print_exc()
                tell("raised", error=traceback.format_exc(limit=-3))
        return True

    def do_login(self, user, domain, password, host, port):
        there = (f"{host}:{port}", ConnectionProtocol.TCP, ConnectionType.START_TLS)
        self.create_account(ACCOUNT, user, domain, password, None, there)
        app.settings.set_account_setting(ACCOUNT, "use_ft_proxies", True)
        self.enable_account(ACCOUNT)

    def do_set(self, option, value):
        app.settings.set_account_setting(ACCOUNT, option, value)

    def do_set_app(self, option, value):
        app.settings.set(option, value)

    def do_relays(self):
        """What relays it knows."""
        found = app.proxy65_manager.get_default_for_name(ACCOUNT)
        host, port, _ = app.proxy65_manager.get_proxy(found, ACCOUNT)
        tell("relays", jid=found and str(found), host=host, port=port)

    def do_knows(self, jid):
        """Whether it knows that somebody takes files."""
        contact = app.get_client(ACCOUNT).get_module("Contacts").get_contact(JID.from_string(jid))
        tell("knows", files=contact.supports(Namespace.JINGLE_FILE_TRANSFER_5))

    def do_send(self, jid, path):
        fresh_port()
        jid = JID.from_string(jid)
        contact = app.get_client(ACCOUNT).get_module("Contacts").get_contact(jid.new_as_bare())
        if not transfers().send_file(ACCOUNT, contact, jid, path):
            tell("unsent")

    def do_accept(self, sid, path):
        fresh_port()
        file = file_of(sid)
        contact = app.get_client(ACCOUNT).get_module("Contacts").get_contact(JID.from_string(file.sender).new_as_bare())
        transfers()._start_receive(path, ACCOUNT, contact, file)

    def do_decline(self, sid):
        app.get_client(ACCOUNT).get_module("Bytestream").send_file_rejection(file_of(sid))

    def do_cancel(self, sid):
        """The button that cancels in the list of transfers."""
        transfers().cancel_transfer(file_of(sid))

    def do_has(self, sid):
        """Whether the session is there."""
        tell("has", session=app.get_client(ACCOUNT).get_module("Jingle").get_jingle_session(None, sid) is not None)


application = Driven()
sys.exit(application.run(["gajim", "--config-path", str(FOLDER), "--loglevel", os.environ.get("GAJIM_LOG", "gajim=WARNING")]))
