#!/usr/bin/env python3
"""aioxmpp's own end-to-end tests, against the server that the environment describes.

    aioxmpp_e2e.py SOURCE FOLDER [PYTEST ARGUMENT...]

SOURCE is aioxmpp's unpacked source, FOLDER takes what the run leaves. Each connection logs in as a new anonymous user of
ANONYMOUS_DOMAIN: accounts would carry state from one test to the next. Where arguments are given, the outcome is not judged.
"""
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ET

from judge import judge

ENV = os.environ
PROVISIONER = "aioxmpp.e2etest.provision.AnonymousProvisioner"


def outcome(case):
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return f"{kind}: {found.get('message') or found.text or ''}"
    return None


def main():
    source, folder, arguments = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    config, report = folder / "e2etest.ini", folder / "junit.xml"
    report.unlink(missing_ok=True)
    config.write_text(f"""[global]
provisioner={PROVISIONER}
timeout=20

[{PROVISIONER}]
host={ENV["HOST"]}
port={ENV["C2S_PORT"]}
domain={ENV["ANONYMOUS_DOMAIN"]}
no_verify=true
quirks={ENV.get("AIOXMPP_QUIRKS", "[]")}
""")
    files = sorted(str(path.relative_to(source)) for path in source.glob("tests/**/test_e2e.py"))
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "aioxmpp.e2etest", f"--e2etest-config={config.resolve()}",
         "--e2etest-only", "-p", "no:cacheprovider", "--timeout=60", "-q", "-W", "ignore",
         f"--junitxml={report.resolve()}", *arguments, *files],
        cwd=source, stdout=sys.stderr, check=False)
    cases = ET.parse(report).iter("testcase")
    outcomes = {f"{case.get('classname')}.{case.get('name')}".removeprefix("tests."): outcome(case) for case in cases}
    if not arguments:
        judge("aioxmpp", outcomes)
    for test, said in outcomes.items():
        print(test, said or "passed")


if __name__ == "__main__":
    main()
