#!/usr/bin/env python3
"""The append-only rules of bindings/append_only.py: every way to break the ABI is caught, every way to grow it is let through.

First on the committed baseline, mutated in memory; then for real, on a copy of the headers that a compiler reads. Runs under pytest
and as a plain script."""

import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings"))

import append_only  # noqa: E402

BASELINE = json.loads((ROOT / "bindings" / "abi.json").read_text())


def row(abi, table, name):
    return next(r for r in abi[table] if r["name"] == name)


def field(abi, struct, name):
    return next(f for f in abi["structs"][struct]["fields"] if f["name"] == name)


def add_field(abi, struct, offset, size=8):
    abi["structs"][struct]["fields"].append({"name": "added", "type": "uint64_t", "offset": offset, "size": size})


def drop(rows, name):
    rows[:] = [r for r in rows if r["name"] != name]


# name of the case, mutation of a copy of the baseline, words that the complaint must contain
BREAKS = [
    ("a status is removed", lambda a: drop(a["statuses"], "ERR_IO"), "statuses: ERR_IO (-13) was removed or renamed"),
    (
        "a status is renumbered",
        lambda a: row(a, "statuses", "ERR_IO").update(number=-9999),
        "ERR_IO was renumbered from -13 to -9999",
    ),
    (
        "a status gets another exception",
        lambda a: row(a, "statuses", "ERR_IO").update(python="OSError"),
        "python changed",
    ),
    (
        "a close code is renumbered",
        lambda a: row(a, "close_codes", "TLS_HANDSHAKE").update(number=1016),
        "TLS_HANDSHAKE was renumbered",
    ),
    (
        "an option is renamed",
        lambda a: row(a, "options", "ORIGIN").update(name="SOURCE"),
        "ORIGIN (41) was removed or renamed",
    ),
    (
        "an option's number is used twice",
        lambda a: a["options"].append(
            {**row(a, "options", "ORIGIN"), "name": "NEW", "python": "new", "flag": "", "go": ""}
        ),
        "share the number 41",
    ),
    (
        "an option changes its type",
        lambda a: row(a, "options", "HEADER").update(type="STR"),
        "type changed from 'LIST' to 'STR'",
    ),
    ("an option changes its scope", lambda a: row(a, "options", "HEADER").update(scope="LOOP"), "scope changed"),
    (
        "an option changes its unit",
        lambda a: row(a, "options", "CLOSE_TIMEOUT_MS").update(unit="s"),
        "unit changed from 'ms' to 's'",
    ),
    (
        "an option loses its Python name",
        lambda a: row(a, "options", "ORIGIN").update(python=""),
        "its python name changed",
    ),
    (
        "an option's flag is renamed",
        lambda a: row(a, "options", "CA_FILE").update(flag="--cafile"),
        "its flag name changed",
    ),
    (
        "two options share a Go name",
        lambda a: row(a, "options", "HOST_ADAPTER").update(go="Origin"),
        "the go name 'Origin'",
    ),
    (
        "an option's range is narrowed",
        lambda a: row(a, "options", "READER_COUNT").update(max=64),
        "legal no longer are",
    ),
    ("an event is renumbered", lambda a: row(a, "events", "OP_DONE").update(number=77), "OP_DONE was renumbered"),
    (
        "an event is no session event any more",
        lambda a: row(a, "events", "BATCH").update(session=0),
        "session changed from 1 to 0",
    ),
    ("an enumerator is removed", lambda a: a["enums"]["wsc_state"].pop("WSC_STATE_OPEN"), "WSC_STATE_OPEN was removed"),
    ("an enumerator changes its value", lambda a: a["enums"]["wsc_state"].update(WSC_STATE_OPEN=7), "was 2 and is 7"),
    ("an enum is removed", lambda a: a["enums"].pop("wsc_timer"), "enum wsc_timer was removed"),
    ("a struct is removed", lambda a: a["structs"].pop("wsc_stats"), "struct wsc_stats was removed"),
    ("a field moves", lambda a: field(a, "wsc_event", "token").update(offset=8), "field token moved"),
    (
        "a field is renamed",
        lambda a: field(a, "wsc_event", "token").update(name="tag"),
        "field token was removed or renamed",
    ),
    (
        "a field changes its type",
        lambda a: field(a, "wsc_event", "status").update(type="uint32_t"),
        "was int and is uint32_t",
    ),
    ("a struct shrinks", lambda a: a["structs"]["wsc_event"].update(size=8), "shrank"),
    (
        "a frozen struct grows",
        lambda a: (add_field(a, "wsc_record", 16), a["structs"]["wsc_record"].update(size=24)),
        "it is frozen",
    ),
    (
        "a field is squeezed into padding",
        lambda a: add_field(a, "wsc_reply", a["structs"]["wsc_reply"]["size"] - 4, 4),
        "inside",
    ),
    ("a function is removed", lambda a: a["functions"].pop("wsc_loop_wake"), "function wsc_loop_wake was removed"),
    (
        "a function gains a parameter",
        lambda a: a["functions"]["wsc_loop_wake"]["parameters"].append("int"),
        "its signature was",
    ),
    (
        "a function returns something else",
        lambda a: a["functions"]["wsc_loop_fd"].update(returns="int64_t"),
        "its signature was",
    ),
    ("a handle is removed", lambda a: a["handles"].remove("wsc_batch"), "handle wsc_batch was removed"),
    ("the machine is another", lambda a: a.update(pointer_bits=32), "cannot be compared"),
]

GROWTH = [
    ("nothing changes", lambda a: None),
    (
        "a status is added",
        lambda a: a["statuses"].append({"name": "ERR_NEW", "number": -99, "python": "NewError", "text": "new"}),
    ),
    (
        "an option is added",
        lambda a: a["options"].append(
            {**row(a, "options", "ORIGIN"), "name": "NEW", "number": 9999, "python": "new", "flag": "", "go": "New"}
        ),
    ),
    ("an option gets a Go name", lambda a: row(a, "options", "HOST_ADAPTER").update(go="HostAdapter")),
    ("an option's range is widened", lambda a: row(a, "options", "READER_COUNT").update(max=4096)),
    (
        "texts and defaults are improved",
        lambda a: (
            row(a, "options", "ORIGIN").update(doc="better"),
            row(a, "statuses", "ERR_IO").update(text="better"),
            row(a, "options", "READER_COUNT").update(default=2),
        ),
    ),
    ("an enumerator is added", lambda a: a["enums"]["wsc_state"].update(WSC_STATE_NEW=9)),
    (
        "a struct with struct_size grows",
        lambda a: (
            add_field(a, "wsc_event", a["structs"]["wsc_event"]["size"]),
            a["structs"]["wsc_event"].update(size=a["structs"]["wsc_event"]["size"] + 8),
        ),
    ),
    ("a function is added", lambda a: a["functions"].update(wsc_new={"returns": "int", "parameters": []})),
    ("a handle is added", lambda a: a["handles"].append("wsc_new")),
]


def mutate(mutation):
    abi = copy.deepcopy(BASELINE)
    mutation(abi)
    return append_only.violations(BASELINE, abi)


def test_every_break_is_caught():
    for case, mutation, words in BREAKS:
        found = mutate(mutation)
        assert any(words in f for f in found), f"{case}: no complaint has {words!r}: {found}"


def test_growth_is_let_through():
    for case, mutation in GROWTH:
        assert mutate(mutation) == [], case


class Copy:
    """A copy of the headers with a baseline of its own; what bindings/generate.py says of it."""

    def __init__(self, scratch):
        self.include, self.baseline = Path(scratch) / "include", Path(scratch) / "abi.json"
        shutil.copytree(ROOT / "core" / "include", self.include)

    def generate(self, *arguments):
        at = ("--headers", self.include, "--baseline", self.baseline)
        command = [sys.executable, ROOT / "bindings" / "generate.py", *arguments, *at]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        return done.returncode, done.stderr

    def edited(self, name, pattern, replacement):
        """(what a check, what an update says) of a header in which one place was changed; both are undone afterwards."""
        path = self.include / "wscengine" / name
        kept = path.read_text()
        changed, count = re.subn(pattern, replacement, kept, count=1)
        assert count == 1, f"{name} has no {pattern!r}: mend this test"
        path.write_text(changed)
        said = self.generate(), self.generate("--update")
        path.write_text(kept)
        self.generate("--update", "--breaking")
        return said


def test_a_compiler_reads_the_edited_headers():
    with tempfile.TemporaryDirectory() as scratch:
        c = Copy(scratch)
        assert c.generate("--update")[0] == 0
        assert c.generate() == (0, "")

        check, update = c.edited("loop.h", r"uint64_t token;", "")
        assert check[0] == 1 and "struct wsc_event: field token was removed" in check[1], check
        assert update[0] == 1 and "not written" in update[1], update

        check, update = c.edited("loop.h", r"wsc_loop_wake\(wsc_loop \*l\)", "wsc_loop_wake(wsc_loop *l, int n)")
        assert "function wsc_loop_wake: its signature was" in check[1], check

        check, update = c.edited("loop.h", r"void \*core;", "void *core, *added;")
        assert check[0] == 1 and "stale" in check[1] and "struct" not in check[1], check
        assert update == (0, ""), update


def test_stale_and_hand_edited_files_are_noticed():
    with tempfile.TemporaryDirectory() as scratch:
        c = Copy(scratch)
        c.generate("--update")
        kept = c.baseline.read_text()
        c.baseline.write_text(kept.replace('"ERR_IO", "number": -13', '"ERR_IO", "number": -33'))
        assert "edited by hand" in c.generate()[1]
        c.baseline.write_text(kept)
        (Path(scratch) / "generated" / "abi.py").write_text("stale")
        assert "generated/abi.py is stale" in c.generate()[1]


if __name__ == "__main__":
    test_every_break_is_caught()
    test_growth_is_let_through()
    test_a_compiler_reads_the_edited_headers()
    test_stale_and_hand_edited_files_are_noticed()
    print(f"append-only: {len(BREAKS)} breaks caught, {len(GROWTH)} ways to grow let through")
