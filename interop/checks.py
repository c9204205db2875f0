"""What the scripts of slixmpp have in common: checks with a time limit, one line each, and the end by their outcome."""
import asyncio
import contextlib
import logging
import os
import sys

# Seconds a check may take: xmppd holds back the answer to a wrong password, the longer the more there were.
TIMEOUT = 90
ENV = os.environ
DOMAIN = ENV["DOMAIN"]
_failed = []


class Expected(Exception):
    """What was seen is not what the protocol asks for."""


def expect(condition, why):
    if not condition:
        raise Expected(why)


@contextlib.asynccontextmanager
async def check(name):
    """Runs one check within the time limit and prints its outcome; yields a list for a note."""
    note = []
    try:
        async with asyncio.timeout(TIMEOUT):
            yield note
        print("ok", name, *note, flush=True)
    except Exception as error:  # any failure of a check is that check's FAIL line
        _failed.append(name)
        print("FAIL", name, " ".join(repr(error).split())[:500], flush=True)


def skip(name, reason):
    print("skip", name, reason, flush=True)


def main(run):
    """Runs the checks of a script; the process ends with 1 if any failed. SLIXMPP_LOG names a file for slixmpp's log."""
    logging.disable(logging.CRITICAL)
    if log := ENV.get("SLIXMPP_LOG"):
        logging.disable(logging.NOTSET)
        logging.basicConfig(filename=log, level=logging.DEBUG)
    asyncio.run(run())
    sys.exit(bool(_failed))
