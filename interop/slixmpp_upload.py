#!/usr/bin/env python3
"""slixmpp uploads files (XEP-0363), and curl puts, fetches and removes them at the web server that the slots lead to.

HOST, C2S_PORT, DOMAIN, CA, USER1 and PASSWORD1 come from the environment. HOUSE=ours says that the server is xmppd, of
which more is asked than the document says.
"""
import asyncio
import io
import os
import ssl
import tempfile

# Before aiohttp is loaded, which looks for it once.
os.environ["SSL_CERT_FILE"] = os.environ["CA"]

import slixmpp  # noqa: E402
from slixmpp.exceptions import IqError  # noqa: E402

from checks import DOMAIN, ENV, Lacking, check, expect, main  # noqa: E402

OURS = ENV.get("HOUSE") == "ours"


class Client(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__(f"{ENV['USER1']}@{DOMAIN}/upload", ENV["PASSWORD1"])
        self.ssl_context = ssl.create_default_context(cafile=ENV["CA"])
        self.enable_direct_tls, self.enable_starttls = False, True
        for plugin in ("xep_0363", "xep_0050"):
            self.register_plugin(plugin)
        self.online = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: self.online.done() or self.online.set_result(True))


async def curl(*arguments, body=None):
    """Status, headers and body of what curl gets."""
    with tempfile.NamedTemporaryFile() as file:
        if body is not None:
            file.write(body)
            file.flush()
            arguments = ("--upload-file", file.name, *arguments)
        process = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--show-error", "--cacert", ENV["CA"], "--path-as-is", "--include", "--max-time", "60",
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, error = await process.communicate()
    while out.startswith(b"HTTP/1.1 100 "):
        out = out.partition(b"\r\n\r\n")[2]
    head, _, content = out.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    expect(lines[0].startswith("HTTP/"), f"curl: {error.decode()}")
    headers = dict((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines[1:]))
    return int(lines[0].split(" ")[1]), headers, content


async def slot(client, service, name, size, content_type="application/octet-stream"):
    """The addresses, and the options by which curl says what came with them."""
    answer = (await client.plugin["xep_0363"].request_slot(service, name, size, content_type))["http_upload_slot"]
    options = [part for header in answer["put"] for part in ("-H", f"{header['name']}: {header['value']}")]
    return answer["put"]["url"], answer["get"]["url"], [*options, "-H", f"Content-Type: {content_type}"]


DATA = "{jabber:x:data}"


async def command(client, service, node, **fields):
    """A command's answer, with its form filled in."""
    form = client.plugin["xep_0004"].make_form(ftype="submit")
    for var, value in fields.items():
        form.add_field(var=var, ftype="text-multi" if isinstance(value, list) else None, value=value)
    answer = await client.plugin["xep_0050"].send_command(service, node, action="execute", payload=form)
    return answer["command"]


def rows(answer):
    """The table of a result: a dictionary a row."""
    items = answer.xml.findall(f"{DATA}x[@type='result']/{DATA}item")
    return [{field.get("var"): field.findtext(f"{DATA}value") for field in item} for item in items]


async def run():
    client = Client()
    client.connect(ENV["HOST"], int(ENV["C2S_PORT"]))
    await asyncio.wait_for(client.online, 60)
    service = url = None

    async with check("slixmpp finds the service") as note:
        info = await client.plugin["xep_0363"].find_upload_service()
        service = info["from"]
        note.append(str(service))

    async with check("slixmpp uploads a file"):
        url = await client.plugin["xep_0363"].upload_file("toto.txt", input_file=io.BytesIO(b"tototo"), size=6,
                                                   content_type="text/plain")
        status, _, body = await curl(url)
        expect((status, body) == (200, b"tototo"), f"{status} {body}")

    async with check("slixmpp is told what is too large"):
        try:
            await client.plugin["xep_0363"].request_slot(service, "large.bin", 10**15)
            expect(False, "it got a slot")
        except IqError as error:
            expect(error.iq["error"]["condition"] == "not-acceptable", str(error))

    content = bytes(range(256)) * 40
    async with check("curl puts, fetches and asks for parts") as note:
        put, get, own = await slot(client, service, "très cool.png", len(content), "image/png")
        status, _, _ = await curl(put, *own, body=content)
        expect(status == 201, f"PUT: {status}")
        status, headers, body = await curl(get)
        expect(status == 200 and body == content, f"GET: {status}, {len(body)} bytes")
        note.append(headers.get("content-disposition", "without a Content-Disposition"))
        status, headers, body = await curl(get, "--head")
        expect(status == 200 and body == b"" and headers["content-length"] == str(len(content)), f"HEAD: {status} {headers}")
        status, headers, body = await curl(get, "--range", "100-199")
        # Prosody knows no parts, and gives the whole.
        if OURS or status != 200:
            expect(status == 206 and body == content[100:200], f"Range: {status}")
            expect(headers["content-range"] == f"bytes 100-199/{len(content)}", str(headers))
        if OURS:
            status, headers, _ = await curl(get, "--range", "99999-")
            expect(status == 416 and headers["content-range"] == f"bytes */{len(content)}", f"beyond: {status}")
            status, _, body = await curl(get, "-H", f"If-None-Match: {headers.get('etag', '*')}")
            expect((status, body) == (304, b""), f"If-None-Match: {status}")

    async with check("a second file for one slot is refused"):
        status, _, _ = await curl(put, *own, body=content)
        expect(status in (403, 409), f"{status}")
        status, _, body = await curl(get)
        expect(body == content, "the first is gone")

    async with check("another size than that of the slot is refused"):
        for other in (content + b"x", content[:-1]):
            put, get, own = await slot(client, service, "a.png", len(content), "image/png")
            status, _, _ = await curl(put, *own, body=other)
            expect(400 <= status < 500, f"{len(other)} bytes: {status}")
            status, _, _ = await curl(get)
            expect(status >= 400, f"and yet: {status}")

    async with check("what could hold a script is saved and not shown"):
        if not OURS:
            raise Lacking("servers do this as they like")
        put, get, own = await slot(client, service, "a.html", 6, "text/html")
        status, _, _ = await curl(put, *own, body=b"<html>")
        expect(status == 201, f"PUT: {status}")
        _, headers, _ = await curl(get)
        expect(headers["content-disposition"].startswith("attachment;"), str(headers))
        expect(headers["x-content-type-options"] == "nosniff" and "sandbox" in headers["content-security-policy"], str(headers))

    async with check("chunks, wrong types and strangers"):
        if not OURS:
            raise Lacking("servers do this as they like")
        put, get, own = await slot(client, service, "a.png", len(content), "image/png")
        for options, body, wanted in [
            (own[2:], content, 403),
            (["-H", "Authorization: Bearer guessed"], content, 403),
            ([*own[:2], "-H", "Content-Type: text/html"], content, 415),
            ([*own, "-H", "Transfer-Encoding: chunked"], content + b"x" * 100_000, 413),
            ([*own, "-H", "Transfer-Encoding: chunked"], content[:5], 400),
            ([*own, "-H", "Transfer-Encoding: chunked"], content, 201),
        ]:
            status, _, _ = await curl(put, *options, body=body)
            expect(status == wanted, f"{status}, not {wanted}")
        status, _, _ = await curl(put, "-X", "DELETE")
        expect(status == 403, f"DELETE by a stranger: {status}")
        status, _, _ = await curl(put, "-X", "DELETE", *own)
        expect(status == 204, f"DELETE: {status}")
        status, _, _ = await curl(get)
        expect(status == 404, f"deleted, and yet: {status}")

    async with check("odd paths lead nowhere"):
        if not OURS:
            raise Lacking("servers do this as they like")
        host, _, rest = url.partition("/upload/")
        ident, _, name = rest.partition("/")
        ident = ident.partition("?")[0]
        for path in (f"/upload/../upload/{ident}/{name}", f"//upload/{ident}/{name}", f"/upload/{ident}//{name}",
                     f"/upload/{ident}/{name};x=y", f"/upload/%2e%2e/{ident}/{name}", f"/upload/{ident.upper()}/{name}",
                     "/upload/../../etc/passwd", "/upload/%2e%2e%2f%2e%2e%2fetc%2fpasswd/x", f"/upload/{ident}/", "/upload/"):
            status, _, _ = await curl(host + path)
            expect(status == 404, f"{path}: {status}")

    async with check("browsers may use it"):
        status, headers, _ = await curl(put, "-X", "OPTIONS", "-H", "Origin: https://chat.example",
                                        "-H", "Access-Control-Request-Method: PUT",
                                        "-H", "Access-Control-Request-Headers: authorization, content-type")
        expect(status in (200, 204), f"{status}")
        expect(headers["access-control-allow-origin"] in ("*", "https://chat.example"), str(headers))
        expect("PUT" in headers["access-control-allow-methods"], str(headers))

    async with check("a changed slot is refused"):
        if not OURS:
            raise Lacking("servers do this as they like")
        put, get, own = await slot(client, service, "a.png", len(content), "image/png")
        for one, other in (("size=", "size=1"), ("until=", "until=9"), ("image", "text"), ("sign=", "sign=a"), (put, get)):
            status, _, _ = await curl(put.replace(one, other), *own, body=content)
            expect(status == 403, f"{other}: {status}")
        status, _, _ = await curl(put.replace("a.png", "b.png"), *own, body=content)
        expect(status == 404, f"another name: {status}")

    async with check("slixmpp lists and deletes its files by commands") as note:
        if not OURS:
            raise Lacking("servers do this as they like")
        offered = await client.plugin["xep_0050"].get_commands(service)
        nodes = [item[1] for item in offered["disco_items"]["items"]]
        expect(sorted(nodes) == ["delete-files", "list-files", "usage"], str(nodes))
        listed = rows(await command(client, service, "list-files", max_items="100"))
        names = [row["name"] for row in listed]
        expect("toto.txt" in names and url in [row["url"] for row in listed], str(names))
        before = await command(client, service, "usage", any="x")
        note.append(before.xml.findtext("{http://jabber.org/protocol/commands}note"))
        for wrong in (url.replace("toto", "tata"), "a" * 26):
            try:
                await command(client, service, "delete-files", links=[url, wrong])
                expect(False, f"{wrong} is deleted")
            except IqError as error:
                expect(error.condition == "item-not-found", error.condition)
        expect((await curl(url))[0] == 200, "deleted all the same")
        await command(client, service, "delete-files", links=[url])
        expect((await curl(url))[0] == 404, "it is still there")
        listed = rows(await command(client, service, "list-files", max_items="100"))
        expect("toto.txt" not in [row["name"] for row in listed], str(listed))
        try:
            await command(client, service, "delete-anyones-files", links=[url])
            expect(False, "it may delete what others have")
        except IqError as error:
            expect(error.condition == "forbidden", error.condition)

    client.disconnect()


if __name__ == "__main__":
    main(run)
