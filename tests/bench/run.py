#!/usr/bin/env python3
"""Builds the library (-O2) and the clients, runs them interleaved and prints what was measured beside what must be.

The server has CPU 0, the client CPU 1; for the round trip both share CPU 0. Every number is the median over the rounds. Ratios come
from one run on one machine; nothing passes or fails by an absolute time, and the exit code only says whether everything ran."""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import report  # noqa: E402
import works  # noqa: E402

CFLAGS = ["-O2", "-Wall", "-Wextra"]
TARGET_S = 0.9  # a run should last about this long


def call(command: list) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def build_library(build: Path, language: str) -> Path:
    configure = [
        "cmake",
        "-S",
        ROOT,
        "-B",
        build / "library",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_C_FLAGS_RELEASE=-O2 -DNDEBUG",
    ]
    targets = ["wscengine", "bench_deflate", "bench_tls"]
    if language == "python":
        configure += ["-DWSC_BUILD_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}"]
        targets += ["_core", "_batch", "python_package"]
    call(configure)
    call(["cmake", "--build", build / "library", "-j2", *(word for t in targets for word in ("--target", t))])
    found = sorted((build / "library").glob("**/libwscengine.so"))
    if not found:
        sys.exit("bench: the build made no libwscengine.so")
    return found[0]


def build_clients(build: Path, library: Path, peers_only: bool) -> None:
    build.mkdir(parents=True, exist_ok=True)
    compile_c = ["cc", *CFLAGS]
    call([*compile_c, HERE / "server.c", "-o", build / "server", "-lcrypto", "-lpthread"])
    call([*compile_c, HERE / "raw.c", "-o", build / "raw"])
    call([*compile_c, HERE / "wslay.c", "-o", build / "wslay", "-lwslay"])
    call([*compile_c, HERE / "lws.c", "-o", build / "lws", "-lwebsockets"])
    beast = ["c++", *CFLAGS, "-std=c++17", HERE / "beast.cpp", "-o", build / "beast", "-lpthread"]
    if not (build / "beast").exists() or (build / "beast").stat().st_mtime < (HERE / "beast.cpp").stat().st_mtime:
        call(beast)
    if peers_only:
        return
    at = library.parent
    ours = [*compile_c, f"-I{ROOT / 'core' / 'include'}", HERE / "ours.c", "-o", build / "ours"]
    call([*ours, f"-L{at}", f"-Wl,-rpath,{at}", "-lwscengine", "-lpthread"])


class Bench:
    def __init__(self, build: Path):
        self.build = build
        self.environment = {**os.environ, "PYTHONPATH": str(build / "library" / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.counts = {}
        self.failed = []
        self.server = subprocess.Popen(
            ["taskset", "-c", "0", str(build / "server"), "0"], stdout=subprocess.PIPE, text=True
        )
        self.port = self.server.stdout.readline().strip()

    def close(self) -> None:
        self.server.terminate()
        self.server.wait()

    def command(self, client: works.Client, work: works.Work, count: int) -> list:
        path = f"{work.path}&count={count}" if work.mode == "recv" else work.path
        arguments = [work.mode, "127.0.0.1", self.port, path, str(count), str(work.size), client.extra]
        if client.program.endswith(".py"):
            return [sys.executable, str(HERE / "python" / client.program), *arguments]
        return [str(self.build / client.program), *arguments]

    def run(self, client: works.Client, work: works.Work, count: int) -> dict:
        cpu = "0" if work.mode == "rtt" else "1"
        command = ["taskset", "-c", cpu, *self.command(client, work, count)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment)
            result = json.loads(done.stdout.strip().splitlines()[-1])
            if result["messages"] != count:
                raise ValueError(f"{result['messages']} of {count} messages")
            return result
        except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
            said = f"{client.name}, {work.name}: {error} {done.stderr if 'done' in locals() else ''}".strip()
            self.failed.append(said)
            print(f"FAILED {said}", file=sys.stderr)
            return {}

    def count_for(self, client: works.Client, work: works.Work) -> int:
        """So many messages that a run lasts about TARGET_S: two runs to find out."""
        if work.mode in ("rtt", "idle", "pause"):
            return work.most
        if (client.name, work.name) not in self.counts:
            count = work.first
            for _ in range(2):
                result = self.run(client, work, count)
                if result:
                    count = int(min(work.most, max(count, count * TARGET_S / result["wall"])))
            self.counts[client.name, work.name] = count
        return self.counts[client.name, work.name]

    def instructions(self, client: works.Client, work: works.Work) -> float:
        """Instructions a message: callgrind's totals of two counts, so that start and end cancel out."""
        totals = []
        for count in work.instructions:
            tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
            done = subprocess.run(
                [*tool, *self.command(client, work, count)], capture_output=True, text=True, timeout=600
            )
            found = re.search(r"Collected : (\d+)", done.stderr)
            if done.returncode or not found:
                self.failed.append(f"{client.name}, {work.name} under callgrind: {done.stderr[-300:]}")
                return 0
            totals.append(int(found.group(1)))
        return (totals[1] - totals[0]) / (work.instructions[1] - work.instructions[0])


def inside(build: Path, name: str) -> dict:
    """A benchmark of core/tests, which takes turns between what it compares, and medians, itself."""
    program = build / "library" / "bin" / name
    return json.loads(subprocess.run([program], capture_output=True, check=True).stdout)


def starts(bench: Bench) -> dict:
    """How long an interpreter takes to start and end, with and without the import; medians, taking turns."""
    times: dict = {"pass": [], "import wscengine": []}
    environment = {k: v for k, v in bench.environment.items() if k != "PYTHONDONTWRITEBYTECODE"}  # as installed: compiled once
    for _ in range(15):
        for source, runs in times.items():
            began = time.perf_counter()
            subprocess.run(["taskset", "-c", "1", sys.executable, "-c", source], check=True, env=environment)
            runs.append(time.perf_counter() - began)
    empty, imported = (statistics.median(runs) for runs in times.values())
    return {"empty_s": empty, "import_s": imported}


def measure(bench: Bench, cells: list, rounds: int) -> dict:
    results = {}
    for number in range(rounds):
        for client, work in cells:
            if work.mode == "idle" and number >= 3:
                continue
            result = bench.run(client, work, bench.count_for(client, work))
            if not result:
                continue
            results.setdefault((client.name, work.name), []).append(result)
            each = report.time_text(result["cpu"] / result["messages"] * 1e9)
            print(
                f"{number + 1}/{rounds}  {work.name:12s} {client.name:24s} {each:>10s} CPU a message", file=sys.stderr
            )
    return results


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def page(results: dict, counted: dict, rounds: int, language: str) -> str:
    parts = [
        "# What was measured",
        "Written by `ci/bench`; the reasons for what falls short are below the table. "
        f"Machine: {machine()}. Medians of {rounds} rounds, interleaved; server on one CPU, client on the other (round trip: both on "
        "one). CPU is user + system time of the whole process. "
        f"Load average of the last five minutes: {os.getloadavg()[1]:.1f}; the benchmark alone makes about 1.5, more is noise.",
    ]
    if results:
        parts += ["## What must be", report.table(results, language), "## Everyone", report.everyone(results)]
    if counted:
        parts += ["## Instructions", "Counted by callgrind, in user space only.", report.instructions(counted)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ci/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=["c", "python", "go"], default="c", help="which language: c (default), python or go"
    )
    parser.add_argument("--rounds", type=int, default=5, help="5")
    parser.add_argument("--works", help=f"comma-separated, of: {', '.join(works.WORKS)}")
    parser.add_argument("--clients", help="comma-separated parts of client names")
    parser.add_argument("--peers", action="store_true", help="without wscengine itself")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions with callgrind instead of measuring time"
    )
    parser.add_argument("--out", type=Path, help="also write the page to this file (docs/BENCH.md)")
    parser.add_argument("--raw", type=Path, help="also write every single run to this file, as JSON")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench", help="build directory")
    parser.add_argument("--library", type=Path, help="measure this libwscengine.so instead of building one")
    arguments = parser.parse_args()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, hard), hard))
    library = arguments.library or (Path() if arguments.peers else build_library(arguments.build, arguments.only))
    build_clients(arguments.build, library.resolve(), arguments.peers)
    if arguments.only == "go":
        call(["go", "-C", HERE / "go", "build", "-o", arguments.build.resolve() / "go_client", "."])
    cells = [
        (client, work)
        for client, work in works.plan(arguments.only)
        if not (client.ours and arguments.peers)
        and (not arguments.works or work.name in arguments.works.split(","))
        and (not arguments.clients or any(part in client.name for part in arguments.clients.split(",")))
    ]
    bench, results, counted = Bench(arguments.build), {}, {}
    try:
        if arguments.instructions:
            for client, work in cells:
                if work.instructions != (0, 0):
                    counted[client.name, work.name] = bench.instructions(client, work)
        else:
            results = measure(bench, cells, arguments.rounds)
            whole = not (arguments.peers or arguments.works or arguments.library)
            if whole and arguments.only == "python":
                results[works.THREADS, "import"] = [starts(bench)]
            if whole and arguments.only == "c":
                results[works.OURS, "deflated"] = [inside(arguments.build, "bench_deflate")]
                results[works.OURS, "tls"] = [inside(arguments.build, "bench_tls")]
    finally:
        bench.close()
    text = page(results, counted, arguments.rounds, arguments.only)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)
    if arguments.raw:
        rows = [{"client": c, "work": w, **r} for (c, w), runs in results.items() for r in runs]
        arguments.raw.write_text(json.dumps(rows, indent=1))
    for failure in bench.failed:
        print(f"bench: failed: {failure}", file=sys.stderr)
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
