#!/usr/bin/env python3
"""Files that slixmpp and our client tell each other of: by stateless file sharing (XEP-0447), media sharing (XEP-0385), out of band
(XEP-0066) and encrypted (XEP-0454); bits of binary (XEP-0231) each way.

The environment is that of slixmpp_bytestreams.py; `sharing` is what `xmpp-interop` is made to do here. One line a check.
"""
import asyncio
import base64
import hashlib
import io
import os
import ssl
import urllib.parse

# Before aiohttp is loaded, which looks for it once.
os.environ["SSL_CERT_FILE"] = os.environ["CA"]

import aiohttp  # noqa: E402
import slixmpp  # noqa: E402
from slixmpp.exceptions import IqError  # noqa: E402

import checks  # noqa: E402
from checks import DOMAIN, ENV, Lacking, check, expect  # noqa: E402

SENT = bytes(n * 7 % 251 for n in range(300_000))
PICTURE = SENT[:500]


class Client(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__(f"{ENV['USER2']}@{DOMAIN}/slixmpp", ENV["PASSWORD2"])
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        self.enable_direct_tls, self.enable_starttls = False, True
        for number in ("0030", "0066", "0231", "0264", "0363", "0372", "0385", "0428", "0446", "0447"):
            self.register_plugin(f"xep_{number}")
        self.told = asyncio.Queue()
        self.online = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: self.online.set_result(None))
        self.add_event_handler("message", lambda message: message["type"] != "error" and self.told.put_nowait(message))


async def fetch(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        expect(answer.status == 200, f"{url}: {answer.status}")
        return await answer.read()


async def run():
    program = await asyncio.create_subprocess_exec(ENV["OURS"], "sharing", stdout=asyncio.subprocess.PIPE)
    client, ours = Client(), None
    async with check("sharing: both are there"):
        client.connect(ENV["HOST"], int(ENV["C2S_PORT"]))
        await client.online
        client.send_presence()
        ours = slixmpp.JID((await program.stdout.readline()).decode().split()[1])
    if ours is None:
        return
    bits, uploads = client.plugin["xep_0231"], client.plugin["xep_0363"]

    async def asks(body, *payloads):
        """What comes back for a message."""
        message = client.make_message(mto=ours, mbody=body, mtype="chat")
        for payload in payloads:
            message.append(payload)
        message.send()
        return await client.told.get()

    async def is_got(name, body, *payloads, verified):
        told = (await asks(body, *payloads))["body"]
        expect(told == f"got {name} {len(SENT)} {sum(SENT)} {verified}", told)

    url = None
    async with check("sharing: slixmpp reads what we share, and fetches it"):
        message = await asks("share")
        url = message["body"]
        file = message["sfs"]["file"]
        said = [file[key] for key in ("name", "media-type", "size", "width", "height", "desc")]
        expect(said == ["très cool.png", "image/png", len(SENT), 640, 480, "a picture"], str(said))
        expect(message["sfs"]["disposition"] == "inline", str(message))
        expect(message["oob"]["url"] == url and message["sfs"]["sources"]["url-data"]["target"] == url, str(message))
        expect(message["fallback"].get_stripped_body("urn:xmpp:sfs:0") == "", str(message))
        data = await fetch(url)
        hashed = file.xml.find("{urn:xmpp:hashes:2}hash")
        expect(hashed.get("algo") == "sha-256", str(message))
        expect(base64.b64decode(hashed.text) == hashlib.sha256(data).digest() and data == SENT, "another file")
        thumbnail = file["thumbnail"]
        expect((thumbnail["width"], thumbnail["height"], thumbnail["media-type"]) == (64, 48, "image/png"), str(message))
        answer = await bits.get_bob(ours, thumbnail["uri"].removeprefix("cid:"), cached=False)
        expect((answer["bob"]["data"], answer["bob"]["type"]) == (PICTURE, "image/png"), str(answer))
    async with check("sharing: our client fetches what slixmpp shares"):
        sharing = client.plugin["xep_0447"].get_sfs(data=SENT, uris=[url], media_type="image/png", disposition="inline")
        sharing["file"]["name"] = "../a.png"
        await is_got("a.png", "see", sharing, verified="Some(Hash(Sha256))")
    async with check("sharing: and not what is another file"):
        sharing = client.plugin["xep_0447"].get_sfs(data=SENT[:-1] + b"x", uris=[url])
        told = (await asks("see", sharing))["body"]
        expect(told.startswith("failed: ") and "sha-256" in told, told)
    async with check("sharing: in the older ways"):
        # Its name is that of its address, where ejabberd has no blanks.
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
        expect(name in ("très cool.png", "très_cool.png"), name)
        media = client.plugin["xep_0385"].get_sims(data=SENT, uris=[url], media_type="image/png")
        await is_got(name, "see", media, verified="Some(Hash(Sha256))")
        message = client.make_message(mto=ours, mbody=url, mtype="chat")
        message["oob"]["url"] = url
        message.send()
        told = (await client.told.get())["body"]
        expect(told == f"got {name} {len(SENT)} {sum(SENT)} None", told)
    async with check("sharing: encrypted, each way"):
        try:
            client.register_plugin("xep_0454")
            encryption = client.plugin["xep_0454"]
        except (ImportError, KeyError) as error:
            raise Lacking(f"slixmpp has no cryptography: {error}") from error
        link = (await asks("encrypt"))["body"]
        place, _, fragment = link.partition("#")
        data = await fetch(place.replace("aesgcm://", "https://"))
        expect(len(data) == len(SENT) + 16, f"{len(data)} bytes")
        expect(encryption.decrypt(io.BytesIO(data), fragment) == SENT, "another file")
        payload, fragment = encryption.encrypt(io.BytesIO(SENT))
        place = await uploads.upload_file("a.bin", input_file=io.BytesIO(payload), size=len(payload))
        link = encryption.format_url(place, fragment)
        await is_got("link", link, verified="Some(Key)")
        told = (await asks(link[:-1] + ("0" if link[-1] != "0" else "1")))["body"]
        expect(told.startswith("failed: ") and "key" in told, told)
    async with check("bits: each way"):
        cid = await bits.set_bob(PICTURE, "image/png", max_age=60)
        told = (await asks(f"ask {cid}"))["body"]
        expect(told == f"bits 500 {sum(PICTURE)}", told)
        told = (await asks(f"ask sha1+{'0' * 40}@bob.xmpp.org"))["body"]
        expect(told.startswith("none: ") and "does not have" in told, told)
        forged = await bits.set_bob(b"other", "image/png", cid=f"sha1+{'1' * 40}@bob.xmpp.org")
        told = (await asks(f"ask {forged}"))["body"]
        expect(told.startswith("none: ") and "not what its name says" in told, told)
        try:
            await bits.get_bob(ours, f"sha1+{'0' * 40}@bob.xmpp.org", cached=False)
            expect(False, "it has what nobody has")
        except IqError as error:
            expect(error.iq["error"]["condition"] == "item-not-found", str(error))
    client.send_message(mto=ours, mbody="stop", mtype="chat")
    await asyncio.wait_for(program.wait(), checks.TIMEOUT)
    await client.disconnect()


checks.main(run)
