"""Holds what an outside suite came to against what is known of it.

`SUITE.unmet` beside this file pins the number of tests and names each that does not pass, with the reason: lines
`total N` and `TEST reason`. One line a test: `ok`, `FAIL` or `skip`.
"""
import pathlib
import sys


def known(suite):
    """How many tests there are, and why which do not pass."""
    total, unmet = None, {}
    for line in (pathlib.Path(__file__).parent / f"{suite}.unmet").read_text().splitlines():
        name, _, reason = line.partition(" ")
        if name == "total":
            total = int(reason)
        elif name:
            unmet[name] = reason
    return total, unmet


def judge(suite, outcomes):
    """`outcomes`: test → None when it passed, else what it said. Exits; not with zero if anything is not as pinned."""
    total, unmet = known(suite)
    failed = 0
    for test, said in sorted(outcomes.items()):
        reason = unmet.pop(test, None)
        if said is None and reason is None:
            print("ok", test)
        elif said is not None and reason is not None:
            print("skip", test, reason)
        else:
            failed += 1
            print("FAIL", test, " ".join(said.split())[:300] if said is not None else f"passes now; unmet: {reason}")
    for test in unmet:
        failed += 1
        print("FAIL", test, "did not run")
    if len(outcomes) != total:
        failed += 1
        print(f"FAIL {suite} ran {len(outcomes)} tests, not {total}")
    sys.exit(failed != 0)
