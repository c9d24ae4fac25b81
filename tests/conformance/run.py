#!/usr/bin/env python3
"""Runs the conformance scenarios against a driver: run.py --driver CMD [--only PATTERN] [--jobs N] [--slack X] [-v].

Each scenario gets a fresh driver process and a scripted server of its own. README.md describes scenarios, trace and
line protocol."""

import argparse
import concurrent.futures
import fnmatch
import pathlib
import shlex
import sys
import tempfile
import threading
import time

import tomllib

import certificates
from client import CALLBACKS, COMMANDS, Client, rules_of
from invariants import broken_invariants
from script import Failed, parse
from server import Server
from server_deflate import DeflateSteps
from server_network import NetworkSteps, unix_path
from server_proxy import ProxySteps

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = 30.0  # seconds a scenario may take

# What every scenario starts from: no chance, no long delays. `options` of a scenario come on top.
BASELINE = {
    "JITTER_PERCENT": 0,
    "STABLE_AFTER_MS": 0,
    "RECONNECT_BASE_S": 1,
    "CLOSE_TIMEOUT_MS": 3000,
    "ON_OPEN_TIMEOUT_MS": 10000,
    "STOP_TIMEOUT_MS": 10000,
    "KEEPALIVE_INTERVAL_MS": 0,
}
KEYS = {
    "name",
    "proves",
    "faults",
    "needs",
    "tls",
    "unix",
    "options",
    "on",
    "server",
    "client",
    "limit",
    "ignore",
    "url",
    "unchecked",
    "trace",
}


class Peer(NetworkSteps, DeflateSteps, ProxySteps, Server):
    """The scripted server with all its steps."""


def load(only):
    """All scenarios, in the order of the files; names are unique in the suite."""
    scenarios, seen = [], set()
    for path in sorted((HERE / "scenarios").glob("*.toml")):
        room = tomllib.loads(path.read_text("utf-8"))
        for s in room["scenario"]:
            s["needs"] = [*room.get("needs", ()), *s.get("needs", ())]
            unknown = set(s) - KEYS
            if unknown or "name" not in s or "proves" not in s or "client" not in s:
                sys.exit(
                    f"{path.name}: {s.get('name')}: unknown keys {sorted(unknown)}, or name, proves or client missing"
                )
            s["full"] = f"{path.stem}/{s['name']}"
            if s["full"] in seen:
                sys.exit(f"{s['full']} is there twice")
            seen.add(s["full"])
            check_words(s)
            if not only or any(fnmatch.fnmatch(s["full"], f"*{p}*") for p in only):
                scenarios.append(s)
    return scenarios


def check_words(scenario):
    """Every step of both scripts is one there is: a typing error is found before anything runs."""

    def walk(steps, known):
        for step in steps:
            if not known(step.verb):
                sys.exit(f"{scenario['full']}: unknown step: {step.line}")
            walk(step.block, known)

    walk(parse(scenario.get("server", "")), lambda verb: verb == "repeat" or hasattr(Peer, "do_" + verb))
    walk(parse(scenario["client"]), lambda verb: verb in COMMANDS or hasattr(Client, "do_" + verb))
    for callback, rules in rules_of(scenario.get("on", ())).items():
        for command in (c["cmd"] for rule in rules for c in rule["do"]):
            if callback not in CALLBACKS or command not in COMMANDS:
                sys.exit(f"{scenario['full']}: unknown callback or step: {callback}: {command}")


class Trace:
    """Both sides' story in one list; lines are added from any thread."""

    def __init__(self):
        self.begun, self.lock, self.lines = time.monotonic(), threading.Lock(), []

    def add(self, side, text):
        with self.lock:
            self.lines.append((time.monotonic() - self.begun, side, text))

    def text(self, most=400):
        lines = (
            self.lines
            if len(self.lines) <= most
            else self.lines[: most // 2] + [(0, "...", "")] + self.lines[-most // 2 :]
        )
        return "\n".join(
            f"    {t:8.3f} {side:<7} {text if len(text) < 600 else text[:600] + '...'}" for t, side, text in lines
        )


def filled(value, places):
    """{port} and the like, in any nested value."""
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, list):
        return [filled(v, places) for v in value]
    if isinstance(value, dict):
        return {k: filled(v, places) for k, v in value.items()}
    return value


class Run:
    """One scenario, once."""

    def __init__(self, scenario, args, tls, folder):
        self.scenario, self.args, self.trace = scenario, args, Trace()
        self.signals, self.failure = {}, ""
        self.server = Peer(
            "",
            path=unix_path(folder) if scenario.get("unix") else None,
            tls=tls if scenario.get("tls") else None,
            signals=self.signals,
            note=lambda text: self.trace.add("server", text),
            slack=args.slack,
        )
        scheme = "wss" if scenario.get("tls") else "ws"
        url = f"{scheme}://127.0.0.1:{self.server.port}/" if not self.server.path else f"{scheme}://localhost/"
        self.scenario = filled(
            scenario,
            {
                "port": str(self.server.port),
                "url": url,
                "ca": f"{folder}/server.pem",
                "stranger": f"{folder}/stranger.pem",
                "root": f"{folder}/root.pem",
                "folder": folder,
                "unix": self.server.path or "",
            },
        )
        self.url = self.scenario.get("url", url)
        self.server.steps = parse(self.scenario.get("server", ""))

    def fail(self, text):
        """The first failure counts: the other side's is mostly its echo."""
        if not self.failure:
            self.failure = text
            self.trace.add("runner", f"FAILED: {text}")
        self.server.halted.set()

    def play_server(self):
        try:
            self.server.play()
        except Failed as e:
            self.fail(f"server: {e}")
        except Exception as e:  # a broken script must not look like a hang
            self.fail(f"server: {type(e).__name__}: {e}")

    def play(self):
        """-> "" or why it failed; "skipped: ..." when the driver lacks what it needs."""
        server = threading.Thread(target=self.play_server, daemon=True)
        client = Client(self)
        try:
            missing = client.begin(self.args.driver)
            if missing:
                return f"skipped: the driver has no {', '.join(missing)}"
            client.warm_up()
            server.start()
            client.play()
            server.join(float(self.scenario.get("limit", LIMIT)) * self.args.slack)
            if server.is_alive():
                raise Failed("the server's script has not come to its end")
            if not self.failure:
                client.end()
                for text in broken_invariants(client.events, self.scenario.get("unchecked", ())):
                    self.fail(f"invariant: {text}")
        except Failed as e:
            self.fail(f"client: {e}")
        except Exception as e:
            self.fail(f"runner: {type(e).__name__}: {e}")
        finally:
            self.server.halted.set()
            client.kill()
            if server.ident:
                server.join(5)
            self.server.close()
        return self.failure


def play_one(scenario, args, tls, folder):
    begun = time.monotonic()
    if scenario.get("tls") and not tls:
        return scenario, "the openssl command is missing: no certificate can be made", "", 0.0
    run = Run(scenario, args, tls, folder)
    outcome = run.play()
    return scenario, outcome, run.trace.text(), time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", help="command that starts a driver")
    parser.add_argument("--only", action="append", help="part of a scenario's name, wildcards allowed; may be repeated")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--slack", type=float, default=1.0, help="multiplies every upper bound: for sanitizers and slow machines"
    )
    parser.add_argument("--repeat", type=int, default=1, help="run each scenario so often")
    parser.add_argument(
        "--adapter", action="store_true", help="the driver puts a user's blocking adapter under its engines"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and what they prove")
    parser.add_argument("-v", "--verbose", action="store_true", help="the trace of every scenario")
    args = parser.parse_args()
    scenarios = load(args.only)
    if args.list:
        for s in scenarios:
            print(
                f"{s['full']}\n    {s['proves']}"
                + (f" [seed's fault {', '.join(map(str, s['faults']))}]" if s.get("faults") else "")
            )
        return 0
    if not args.driver:
        parser.error("--driver is missing")
    if not scenarios:
        parser.error("no scenario has such a name")
    args.driver = shlex.split(args.driver) + (["--adapter"] if args.adapter else [])

    begun, failed, skipped = time.monotonic(), [], []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        tls = certificates.contexts(folder) if any(s.get("tls") for s in scenarios) else None
        jobs = [pool.submit(play_one, s, args, tls, folder) for s in scenarios for _ in range(args.repeat)]
        for job in jobs:
            scenario, outcome, trace, seconds = job.result()
            word = "ok" if not outcome else "skip" if outcome.startswith("skipped") else "FAIL"
            print(f"{word:<4} {seconds:6.2f} s  {scenario['full']}" + (f"  {outcome}" if outcome else ""), flush=True)
            if word == "FAIL":
                failed.append((scenario, outcome, trace))
            elif word == "skip":
                skipped.append(scenario)
            if args.verbose:
                print(trace)
    for scenario, outcome, trace in failed:
        print(f"\n---- {scenario['full']}\n    proves: {scenario['proves']}\n    failed: {outcome}\n{trace}")
    print(
        f"\nconformance: {len(jobs)} run, {len(jobs) - len(failed) - len(skipped)} ok, {len(failed)} failed, "
        f"{len(skipped)} skipped, "
        f"{time.monotonic() - begun:.1f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
