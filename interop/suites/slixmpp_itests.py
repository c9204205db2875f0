#!/usr/bin/env python3
"""slixmpp's own integration tests, against the server that the environment describes.

    slixmpp_itests.py SDIST [MODULE...]

SDIST is slixmpp's unpacked source distribution. Its tests have the names and ports of their authors' server written
into them: these are exchanged while the modules are loaded, and name resolution is pinned. SSL_CERT_FILE must trust the
server. With modules named only these run, and the outcome is printed without judgement.
"""
import ast
import asyncio
import functools
import logging
import os
import pathlib
import sys
import types
import unittest

ENV = os.environ
HOST, DOMAIN = ENV["HOST"], ENV["DOMAIN"]
C2S, TLS, COMPONENT = (int(ENV[name]) for name in ("C2S_PORT", "TLS_PORT", "COMPONENT_PORT"))
# Seconds for one step of one test; a busy machine needs some. What nobody is expected to answer gets less.
PATIENCE, DOUBT = 30, 5
THEIRS = {
    5222: C2S,
    5223: TLS,
    5347: COMPONENT,
    "prosody": DOMAIN,
    "slixmpp.prosody": ENV["COMPONENT_DOMAIN"],
    "secret": ENV["COMPONENT_SECRET"],
}
for number in (1, 2):
    ENV[f"CI_ACCOUNT{number}"] = f"{ENV[f'USER{number}']}@{DOMAIN}"
    ENV[f"CI_ACCOUNT{number}_PASSWORD"] = ENV[f"PASSWORD{number}"]
ENV["CI_MUC_SERVER"] = ENV.get("MUC_DOMAIN", f"muc.{DOMAIN}")
# Without it the test of components does not run.
ENV["CI"] = "woodpecker"

from slixmpp.xmlstream.xmlstream import XMLStream  # noqa: E402

from judge import judge, known  # noqa: E402


class Ours(ast.NodeTransformer):
    """Exchanges the constants."""

    def visit_Constant(self, node):
        known = isinstance(node.value, (int, str)) and not isinstance(node.value, bool)
        return ast.copy_location(ast.Constant(THEIRS.get(node.value, node.value)), node) if known else node


class Outcomes(unittest.TestResult):
    """None for each test that passed, else what it said."""

    def __init__(self):
        super().__init__()
        self.said = {}

    def note(self, test, said):
        self.said[name(test)] = said

    def addSuccess(self, test):
        self.note(test, None)

    def addSkip(self, test, reason):
        self.note(test, f"skipped: {reason}")

    def addError(self, test, error):
        self.note(test, f"{error[0].__name__}: {error[1]}")

    addFailure = addError


def pin_names():
    """Everything is at HOST, whatever DNS says."""
    async def records(self, domain, _port=None):
        return ([(name, domain, HOST, TLS) for name in self.tls_services if self.enable_direct_tls] +
                [(name, domain, HOST, C2S) for name in self.starttls_services if self.enable_starttls])

    connect = XMLStream.connect

    @functools.wraps(connect)
    def there(self, host=None, port=None, **others):
        return connect(self, host=host and HOST, port=port, **others)

    XMLStream.get_dns_records, XMLStream.connect = records, there


def patient(step, seconds):
    """Ends what would wait for ever."""
    @functools.wraps(step)
    async def bounded(*args):
        async with asyncio.timeout(seconds):
            return await step(*args)
    return bounded


def name(test):
    return test.id().removeprefix("itests.")


def tests_of(path):
    tree = ast.fix_missing_locations(Ours().visit(ast.parse(path.read_text(), str(path))))
    module = types.ModuleType(f"itests.{path.stem}")
    sys.modules[module.__name__] = module
    exec(compile(tree, str(path), "exec"), module.__dict__)
    _, unmet = known("slixmpp")
    for test in module.suite:
        for step in ("asyncSetUp", test._testMethodName):
            setattr(test, step, patient(getattr(test, step), DOUBT if name(test) in unmet else PATIENCE))
    return module.suite


def main():
    logging.disable(logging.CRITICAL)
    folder, only = pathlib.Path(sys.argv[1]) / "itests", sys.argv[2:]
    # It holds a stand-in for a module that newer Pythons lack.
    sys.path.insert(1, str(folder))
    sys.modules["itests"] = types.ModuleType("itests")
    pin_names()
    outcomes = Outcomes()
    for path in sorted(folder.glob("test_*.py")):
        if not only or path.stem in only:
            tests_of(path).run(outcomes)
    if not only:
        judge("slixmpp", outcomes.said)
    for test, said in outcomes.said.items():
        print(test, said or "passed")


if __name__ == "__main__":
    main()
