#!/usr/bin/env python3
"""Runs the Autobahn suite's fuzzing server against the C core: run.py --client PROGRAM --suite DIR [--groups 1,2,...] [--table FILE]

The suite (PyPI autobahntestsuite, made to run on Python 3 by port_py3.py) is installed into DIR by install.sh. The cases are dealt out
to several servers, since each of them is one thread. Exit status 1 when a case FAILED, and 2 when one did not run."""

import argparse
import collections
import concurrent.futures
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
AGENT = "wscengine"
GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "close handshake",
    "9": "limits and performance",
    "10": "auto-fragmentation",
    "12": "compression, 18 shapes of data",
    "13": "compression, 7 sets of parameters",
}
QUICK = [["1.*", "2.*", "3.*", "4.*", "5.*", "7.*", "10.*"], ["6.*"], ["9.*"]]
WAIT_S = 30


def shards(groups: list) -> list:
    """Lists of case patterns, the long ones first."""
    slow = [[f"{g}.{i}.*"] for g, n in (("13", 7), ("12", 5)) for i in range(1, n + 1) if g in groups]
    quick = [[p for p in patterns if p.split(".")[0] in groups] for patterns in QUICK]
    return slow + [patterns for patterns in quick if patterns]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until_listening(port: int, server: subprocess.Popen) -> None:
    until = time.monotonic() + WAIT_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the fuzzing server does not listen") from None
            time.sleep(0.1)


def run_shard(client: str, suite: Path, patterns: list) -> dict:
    """Case -> its verdict, of one server."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        spec = {
            "url": f"ws://127.0.0.1:{port}",
            "outdir": folder,
            "cases": patterns,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        spec_file = Path(folder) / "spec.json"
        spec_file.write_text(json.dumps(spec))
        wstest = [suite / "venv/bin/wstest", "-m", "fuzzingserver", "-s", spec_file, "-u", "0"]
        server = subprocess.Popen(wstest, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until_listening(port, server)
            subprocess.run([client, f"ws://127.0.0.1:{port}", AGENT], check=True, stdout=subprocess.DEVNULL)
        finally:
            server.terminate()
            server.wait()
        return json.loads((Path(folder) / "index.json").read_text())[AGENT]


def run_all(arguments: argparse.Namespace, groups: list) -> dict:
    cases, todo = {}, shards(groups)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        futures = {pool.submit(run_shard, arguments.client, arguments.suite, p): p for p in todo}
        for done in concurrent.futures.as_completed(futures):
            found = done.result()
            cases.update(found)
            bad = sum(c["behavior"] == "FAILED" for c in found.values())
            print(f"{' '.join(futures[done])}: {len(found)} cases, {bad} failed", flush=True)
    return cases


def order(case: str) -> list:
    return [int(number) for number in case.split(".")]


def verdict(case: dict) -> str:
    """The worse of what was answered and how it was closed."""
    for word in ("FAILED", "WRONG CODE", "UNCLEAN", "NON-STRICT", "INFORMATIONAL"):
        if word in (case["behavior"], case["behaviorClose"]):
            return "FAILED" if word in ("WRONG CODE", "UNCLEAN") else word
    return case["behavior"]


def table(cases: dict, groups: list) -> str:
    rows = ["| group | cases | OK | NON-STRICT | INFORMATIONAL | FAILED |", "|---|---|---|---|---|---|"]
    for group in groups:
        of = [verdict(c) for name, c in cases.items() if name.split(".")[0] == group]
        n = collections.Counter(of)
        counts = " | ".join(str(n[w]) for w in ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED"))
        rows.append(f"| {group} {GROUPS[group]} | {len(of)} | {counts} |")
    return "\n".join(rows)


def names(cases: dict, word: str) -> str:
    return ", ".join(name for name in sorted(cases, key=order) if verdict(cases[name]) == word) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", required=True, help="autobahn_client")
    parser.add_argument("--suite", required=True, type=Path, help="where install.sh put the suite")
    parser.add_argument("--groups", default=",".join(GROUPS), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="servers at a time; default: %(default)s")
    parser.add_argument("--table", type=Path, help="write the result here")
    arguments = parser.parse_args()
    groups = arguments.groups.split(",")
    unknown = [g for g in groups if g not in GROUPS]
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}")
    cases = run_all(arguments, groups)
    result = table(cases, groups)
    print(f"\n{result}\n\nNON-STRICT: {names(cases, 'NON-STRICT')}\nFAILED: {names(cases, 'FAILED')}")
    if arguments.table:
        template = (HERE / "page.md").read_text("utf-8")
        arguments.table.write_text(template.replace("{table}", result).replace("{non-strict}", names(cases, "NON-STRICT")), "utf-8")
    missing = [g for g in groups if not any(name.split(".")[0] == g for name in cases)]
    if missing or any("UNIMPLEMENTED" == c["behavior"] for c in cases.values()):
        print(f"did not run: {', '.join(missing) or 'some cases are UNIMPLEMENTED'}", file=sys.stderr)
        return 2
    return int(any(verdict(c) == "FAILED" for c in cases.values()))


if __name__ == "__main__":
    sys.exit(main())
