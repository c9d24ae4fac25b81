"""What must hold in every trace, whatever the scenario is about. Judged from the driver's numbered events alone."""

import re

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SESSION = ("on_open", "on_message", "on_read_error", "on_close", "on_close_error")
CALLBACKS = (*SESSION, "on_restart_error", "before_attempt", "on_stopped")


def numbers(events):
    if [e["seq"] for e in events] != sorted(e["seq"] for e in events):
        yield "line numbers go back"


def sessions(events):
    """Ids are UUIDs of version 4 and new for each connection; epochs count 1, 2, 3; none of an older session comes."""
    ids, last = {}, 0
    for e in events:
        if e["event"] == "result" and e["cmd"] == "engine":
            ids, last = {}, 0
        if e["event"] not in SESSION:
            continue
        if e["event"] == "on_open":
            if not UUID4.fullmatch(e["session"]) or e["session"] in ids:
                yield f"session id {e['session']} is no new UUID v4"
            ids[e["session"]] = e["epoch"]
            if e["epoch"] != last + 1:
                yield f"epoch {e['epoch']} follows {last}"
            last = e["epoch"]
        elif ids.get(e["session"]) != e["epoch"]:
            yield f"{e['event']} of session {e['session']}, epoch {e['epoch']}, which never opened"
        elif e["epoch"] != last:
            yield f"{e['event']} of epoch {e['epoch']} after epoch {last} opened"


def one_close(events):
    """One OnClose for each session whose OnOpen succeeded; none for the others; no message after it."""
    opened, closed, refused = set(), set(), set()
    for e in events:
        if e["event"] == "action" and e["of"] == "on_open" and e["cmd"] == "refuse":
            refused.add(e["call"])
        elif e["event"] == "leave" and e["of"] == "on_open" and e["call"] not in refused:
            opened.add(e["epoch"])
        elif e["event"] == "on_message" and e["epoch"] not in opened:
            yield f"on_message of epoch {e['epoch']} before its on_open succeeded"
        elif e["event"] == "on_message" and e["epoch"] in closed:
            yield f"on_message of epoch {e['epoch']} after its on_close"
        elif e["event"] == "on_close":
            if e["epoch"] not in opened or e["epoch"] in closed:
                yield f"on_close of epoch {e['epoch']} twice, or without a successful on_open"
            closed.add(e["epoch"])
    if opened - closed:
        yield f"no on_close of epochs {sorted(opened - closed)}"


def alone(events):
    """Every callback but on_message runs alone; on_close waits for running ones."""
    running = set()
    for e in events:
        if e["event"] in CALLBACKS:
            if running and (e["event"] != "on_message" or any(of != "on_message" for of, _ in running)):
                yield f"{e['event']} began while {sorted(running)} ran"
            running.add((e["event"], e["call"]))
        elif e["event"] == "leave":
            running.discard((e["of"], e["call"]))
    if running:
        yield f"callbacks that never returned: {sorted(running)}"


def silence(events):
    """After stop or wait said so, and after free, no callback runs until the next start."""
    quiet, running, words = False, set(), ""
    for e in events:
        if e["event"] in CALLBACKS:
            if quiet:
                yield f"{e['event']} after {words}"
            running.add((e["event"], e["call"]))
        elif e["event"] == "leave":
            if quiet:
                yield f"{e['of']} returned after {words}"
            running.discard((e["of"], e["call"]))
        elif e["event"] == "result" and e.get("freed") is not False and (e["cmd"], e["status"]) in (
            ("stop", "OK"),
            ("wait", "STOPPED"),
            ("free", "OK"),
        ):
            quiet, words = True, e["cmd"]
            if running:
                yield f"{words} came back while {sorted(running)} ran"
        elif e["event"] == "started":
            quiet = False


RULES = {"numbers": numbers, "sessions": sessions, "one_close": one_close, "alone": alone, "silence": silence}


def broken_invariants(events, unchecked):
    return [text for name, rule in RULES.items() if name not in unchecked for text in rule(events)]
