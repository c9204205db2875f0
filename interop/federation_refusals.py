#!/usr/bin/env python3
"""What a federating xmppd refuses, spoken by hand: federation_refusals.py PORT DOMAIN.

One line a check, `ok NAME` or `FAIL NAME why`; non-zero exit if any failed.
"""
import re
import socket
import ssl
import sys

TIMEOUT = 20
PORT, DOMAIN = int(sys.argv[1]), sys.argv[2]
OPEN = ("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
        "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='{}' to='{}'>")
FAILED = 0


def until(sock, pattern):
    seen = b""
    while not re.search(pattern, seen):
        more = sock.recv(65536)
        if not more:
            raise EOFError(f"ended after {seen!r}")
        seen += more
    return seen.decode()


def rest(sock):
    seen = b""
    while more := sock.recv(65536):
        seen += more
    return seen.decode()


def secured(claim, to=DOMAIN):
    sock = socket.create_connection(("127.0.0.1", PORT), TIMEOUT)
    sock.sendall(OPEN.format(claim, to).encode())
    until(sock, rb"</stream:features>|</stream:stream>")
    sock.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    until(sock, rb"<proceed")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = context.wrap_socket(sock, server_hostname=to)
    tls.sendall(OPEN.format(claim, to).encode())
    return tls


def expect(name, text, wanted):
    global FAILED
    if re.search(wanted, text):
        print("ok", name, flush=True)
    else:
        FAILED += 1
        print("FAIL", name, repr(text), flush=True)


def main():
    with socket.create_connection(("127.0.0.1", PORT), TIMEOUT) as sock:
        sock.sendall(OPEN.format("stranger.test", "nowhere.test").encode())
        expect("a host that is not served", rest(sock), "<host-unknown")
    with socket.create_connection(("127.0.0.1", PORT), TIMEOUT) as sock:
        sock.sendall(OPEN.format(DOMAIN, DOMAIN).encode())
        expect("our own domain as the sender", rest(sock), "<invalid-from")
    with socket.create_connection(("127.0.0.1", PORT), TIMEOUT) as sock:
        sock.sendall(OPEN.format("stranger.test", DOMAIN).encode())
        until(sock, rb"</stream:features>")
        sock.sendall(f"<db:result from='stranger.test' to='{DOMAIN}'>key</db:result>".encode())
        expect("dialback without TLS", until(sock, rb"</db:result>"), "<policy-violation")
    with secured("stranger.test") as tls:
        until(tls, rb"</stream:features>")
        tls.sendall(f"<message from='a@stranger.test' to='user1@{DOMAIN}'><body>x</body></message>".encode())
        expect("a stanza before authentication", rest(tls), "<not-authorized")
    with secured("stranger.test") as tls:
        text = until(tls, rb"</stream:features>")
        expect("no EXTERNAL without a certificate", text, "<dialback(?!.*EXTERNAL)")
        tls.sendall(f"<db:verify from='stranger.test' to='{DOMAIN}' id='x'>key</db:verify>".encode())
        expect("a key that is not ours", until(tls, rb"<db:verify[^>]*>"), "type='invalid'")
        tls.sendall(f"<db:result from='stranger.test' to='{DOMAIN}'>key</db:result>".encode())
        expect("a domain that is not there", until(tls, rb"</db:result>"), "<remote-server-not-found")
    for theirs in sys.argv[3:]:
        with secured(theirs) as tls:
            until(tls, rb"</stream:features>")
            tls.sendall(f"<db:result from='{theirs}' to='{DOMAIN}'>{'0' * 64}</db:result>".encode())
            expect(f"a forged key in the name of {theirs}", rest(tls), "type='(invalid|error)'")
    sys.exit(FAILED != 0)


main()
