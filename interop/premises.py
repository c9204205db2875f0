#!/usr/bin/env python3
"""Checks that a started peer is what the tests against it take for granted.

The peer is described by the environment, as written to its `env` file.
A certificate that ought to be refused but would verify makes the test of our refusal worthless,
so each host is looked at here with Python's own TLS. One line a check, non-zero exit on failure.
"""
import os
import re
import socket
import ssl
import sys

TIMEOUT = 60


def context(env, version=None):
    made = ssl.create_default_context(cafile=env["CA"])
    if version:
        made.minimum_version = made.maximum_version = version
    return made


def exchange(sock, text, until):
    """Sends `text` and reads until the pattern `until` is seen."""
    sock.sendall(text.encode())
    seen = b""
    while not re.search(until, seen):
        more = sock.recv(65536)
        if not more:
            raise EOFError(f"stream ended after {seen!r}")
        seen += more
    return seen.decode()


def header(domain):
    return (f"<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>")


def features(env, domain, direct, version=None):
    """The stream features of `domain` inside TLS, with its certificate verified, and the TLS version."""
    sock = socket.create_connection((env["HOST"], int(env["TLS_PORT" if direct else "C2S_PORT"])), TIMEOUT)
    with sock:
        if not direct:
            exchange(sock, header(domain), rb"</stream:features>")
            exchange(sock, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", rb"<proceed")
        with context(env, version).wrap_socket(sock, server_hostname=domain) as tls:
            return exchange(tls, header(domain), rb"</stream:features>"), tls.version()


def mechanisms(text):
    return sorted(re.findall(r"<mechanism>([^<]+)</mechanism>", text))


def bindings(text):
    return sorted(re.findall(r"<channel-binding type=['\"]([^'\"]+)", text))


def main():
    env = os.environ
    peer, failed = env["PEER"], 0

    def report(name, why=None, note=""):
        nonlocal failed
        failed += why is not None
        print(f"ok {name} {note}".rstrip() if why is None else f"FAIL {name} {why}", flush=True)

    good = [env[k] for k in ("DOMAIN", "ANON_DOMAIN", "SHA1_DOMAIN", "SHA512_DOMAIN", "TLS12_DOMAIN") if k in env]
    bad = {env["EXPIRED_DOMAIN"]: "certificate has expired",
           env["WRONGNAME_DOMAIN"]: "Hostname mismatch",
           env["UNTRUSTED_DOMAIN"]: "unable to get local issuer certificate"}
    for direct in (False, True):
        way = "direct-tls" if direct else "starttls"
        for domain in good:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                if domain == env.get("TLS12_DOMAIN") and (direct or version == ssl.TLSVersion.TLSv1_3):
                    continue
                name = f"{peer} {way} {domain} {version.name}"
                try:
                    text, _ = features(env, domain, direct, version)
                except (OSError, EOFError) as error:
                    report(name, repr(error))
                    continue
                offered = mechanisms(text)
                wanted = "ANONYMOUS" if domain == env["ANON_DOMAIN"] else \
                    {env.get("SHA1_DOMAIN"): "SCRAM-SHA-1", env.get("SHA512_DOMAIN"): "SCRAM-SHA-512"}.get(
                        domain, "SCRAM-SHA-256")
                why = None if wanted in offered else f"{wanted} not among {offered}"
                note = " ".join(offered)
                if bindings(text):
                    note += " bindings: " + " ".join(bindings(text))
                report(name, why, note)
        for domain, reason in bad.items():
            name = f"{peer} {way} {domain} refused"
            try:
                features(env, domain, direct)
                report(name, "the certificate verified")
            except ssl.SSLCertVerificationError as error:
                why = None if reason in error.verify_message else f"refused for another reason: {error.verify_message}"
                report(name, why)
            except (OSError, EOFError) as error:
                report(name, repr(error))
    sys.exit(failed != 0)


main()
