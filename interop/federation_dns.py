#!/usr/bin/env python3
"""A name server for made-up domains: federation_dns.py ADDRESS DOMAIN:PORT...

Each domain has an SRV record for servers at this port of host.DOMAIN, which is 127.0.0.1. There is nothing else. Prints
`ready` when it answers, over UDP on port 53 of ADDRESS.
"""
import socket
import struct
import sys

A, SRV, IN, NXDOMAIN = 1, 33, 1, 3


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    kind, = struct.unpack("!H", query[at + 1:at + 3])
    return ".".join(labels), kind, query[12:at + 5]


def answer(query, ports):
    asked, kind, raw = question(query)
    data, known = None, False
    for domain, port in ports.items():
        if asked == f"_xmpp-server._tcp.{domain}":
            known = True
            if kind == SRV:
                data = struct.pack("!HHH", 0, 0, port) + name(f"host.{domain}")
        elif asked in (f"host.{domain}", domain):
            known = True
            if kind == A:
                data = bytes([127, 0, 0, 1])
    flags = 0x8580 | (0 if known else NXDOMAIN)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if data else 0, 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", kind, IN, 60, len(data)) + data if data else b""
    return head + raw + record


def main():
    address, *domains = sys.argv[1:]
    ports = {domain: int(port) for domain, port in (pair.split(":") for pair in domains)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 53))
        print("ready", flush=True)
        while True:
            query, peer = sock.recvfrom(4096)
            try:
                sock.sendto(answer(query, ports), peer)
            except (IndexError, struct.error):
                pass  # no question that one could answer


main()
