#!/usr/bin/env python3
"""The ABI of the public headers, written down: abi.json (the baseline) and everything that bindings generate from it.

    generate.py            check: fails when a generated file is stale or the ABI changed other than by growing
    generate.py --update   writes the files again; refuses a change that is not append-only
    generate.py --update --breaking   writes them all the same (before 1.0; say so in CHANGELOG.md)
    --library FILE         also compares the functions with the symbols this shared library exports
    --headers DIR --baseline FILE     other headers, another baseline (the tests use them)

Needs a C compiler ($CC or cc) and nothing else."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import append_only  # noqa: E402
import emit  # noqa: E402
import headers  # noqa: E402

GENERATED = HERE / "generated"


def dump(include: Path, parsed: headers.Headers) -> dict:
    """What the compiler says: tables, values and layouts, by compiling and running dump_abi.c."""
    lines = ["#define WSC_ABI_CONSTANTS(C) \\"]
    lines += [f"  C({constant}) \\" for _, _, constants in parsed.enums for constant, _ in constants]
    lines += ["", "#define WSC_ABI_STRUCTS(S, F, E) \\"]
    for struct in parsed.structs:
        lines += (
            [f"  S({struct.name}) \\"] + [f"  F({struct.name}, {name}) \\" for name, _ in struct.fields] + ["  E() \\"]
        )
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "abi_lists.h").write_text("\n".join(lines) + "\n\n")
        program = Path(scratch) / "dump_abi"
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-std=c11", f"-I{include}", f"-I{scratch}", str(HERE / "dump_abi.c"), "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise headers.HeaderError(f"{' '.join(command)} failed:\n{done.stderr}")
        return json.loads(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout)


def describe(include: Path) -> tuple:
    """(abi.json's content, the parsed headers)"""
    parsed = headers.parse(headers.preprocess(include, os.environ.get("CC", "cc")))
    known = dump(include, parsed)
    abi = {
        "generated_by": "bindings/generate.py from core/include; do not edit",
        "version": known["version"],
        "pointer_bits": known["pointer_bits"],
        "hash": "",
        "statuses": known["statuses"],
        "close_codes": known["close_codes"],
        "options": known["options"],
        "events": known["events"],
        "enums": {name: {c: known["constants"][c] for c, _ in constants} for name, _, constants in parsed.enums},
        "handles": parsed.handles,
        "structs": {},
        "functions": {name: {"returns": returns, "parameters": types} for name, returns, types, _ in parsed.functions},
    }
    for struct in parsed.structs:
        layout = known["structs"][struct.name]
        fields = [
            {"name": name, "type": kind, "offset": layout["fields"][name][0], "size": layout["fields"][name][1]}
            for name, kind in struct.fields
        ]
        grows = fields[0]["name"] == "struct_size"
        abi["structs"][struct.name] = {"size": layout["size"], "grows": grows, "fields": fields}
    abi["hash"] = digest(abi)
    return abi, parsed


def digest(abi: dict) -> str:
    """Of everything but the version: the same hash is the same ABI, documentation included."""
    body = {k: v for k, v in abi.items() if k not in ("hash", "version", "generated_by")}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def render(abi: dict, parsed: headers.Headers, folder: Path) -> dict:
    """-> path: text. folder: the baseline's; Go's files lie where its packages are, so they are this tree's only."""
    files = {
        folder / "generated" / "wscengine.cdef.h": emit.cdef(abi, parsed),
        folder / "generated" / "abi.py": emit.python(abi),
    }
    if folder == HERE:
        go = HERE.parent / "go"
        files[go / "internal" / "abi" / "abi.go"] = emit.go(abi)
        files[go / "options_generated.go"] = emit.go_engine_options(abi)
        files[go / "wsadapters" / "wslay" / "options_generated.go"] = emit.go_wslay_options(abi)
    return files


def exported(library: Path) -> set:
    listing = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True)
    if listing.returncode:
        raise headers.HeaderError(f"{library}: {listing.stderr.strip()}")
    return {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines() if line.split()[-2] in "TDBRVW"}


def library_faults(abi: dict, library: str, symbols: set) -> list:
    declared = set(abi["functions"])
    faults = [f"{library} does not export {name}, which the headers declare" for name in sorted(declared - symbols)]
    return faults + [f"{library} exports {name}, which no header declares" for name in sorted(symbols - declared)]


def committed(reference: str) -> dict:
    """abi.json as git has it at `reference`; None where there is no git, no such commit or no such file."""
    done = subprocess.run(["git", "-C", str(HERE), "show", f"{reference}:./abi.json"], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


def last_release() -> str:
    command = ["git", "-C", str(HERE), "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def check(abi: dict, files: dict, baseline: Path) -> list:
    if not baseline.exists():
        return [f"{baseline.name} is missing: run ci/abi --update"]
    old = json.loads(baseline.read_text())
    faults = []
    if digest(old) != old["hash"]:
        faults.append(f"{baseline.name} was edited by hand: its hash does not match its content")
    faults += append_only.violations(old, abi)
    release = last_release() if baseline.parent == HERE else ""
    if release and committed(release):
        faults += [f"{fault} (since {release})" for fault in append_only.violations(committed(release), abi)]
    stale = [] if old == abi else [baseline.name]
    for path, text in files.items():
        if not path.exists() or path.read_text() != text:
            stale.append(os.path.relpath(path, baseline.parent))
    return faults + [f"{name} is stale: run ci/abi --update and commit it" for name in stale]


def update(abi: dict, files: dict, baseline: Path, breaking: bool) -> list:
    old = json.loads(baseline.read_text()) if baseline.exists() else None
    faults = append_only.violations(old, abi) if old else []
    if faults and not breaking:
        return faults + ["not written: an ABI only grows (--breaking, before 1.0 only, writes it all the same)"]
    if faults and int(abi["version"].split(".")[0]) >= 1:
        return faults + [f"not written: version {abi['version']} promises a stable ABI"]
    for fault in faults:
        print(f"ABI broken: {fault}", file=sys.stderr)
    (baseline.parent / "generated").mkdir(exist_ok=True)
    baseline.write_text(emit.json_text(abi))
    for path, text in files.items():
        path.write_text(text)
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write abi.json and the generated files")
    parser.add_argument(
        "--breaking", action="store_true", help="with --update: also when the change is not append-only"
    )
    parser.add_argument(
        "--library", type=Path, help="shared library whose exported symbols must be the headers' functions"
    )
    parser.add_argument("--headers", type=Path, default=HERE.parent / "core" / "include", help=argparse.SUPPRESS)
    parser.add_argument("--baseline", type=Path, default=HERE / "abi.json", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        abi, parsed = describe(arguments.headers.resolve())
        symbols = exported(arguments.library) if arguments.library else None
    except headers.HeaderError as error:
        print(f"abi: {error}", file=sys.stderr)
        return 1
    files = render(abi, parsed, arguments.baseline.resolve().parent)
    if arguments.update:
        faults = update(abi, files, arguments.baseline, arguments.breaking)
    else:
        faults = check(abi, files, arguments.baseline)
    if symbols is not None:
        faults += library_faults(abi, arguments.library.name, symbols)
    for fault in faults:
        print(f"abi: {fault}", file=sys.stderr)
    if not faults:
        counted = f"{len(abi['functions'])} functions, {len(abi['structs'])} structs, {len(abi['options'])} options"
        print(f"abi: {counted}, hash {abi['hash'][:12]}: {'written' if arguments.update else 'as the baseline says'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
