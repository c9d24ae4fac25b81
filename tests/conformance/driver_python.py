"""The Python driver of the conformance suite: wscengine.Engine, with threads; with --aio wscengine.aio.Engine; with --adapter on the adapter of the
`websockets` library. README.md has the line protocol.

Lanes are threads, or tasks. Commands and callbacks are written once, as coroutines: with threads they never wait for a loop, and are driven
to their end at once. What the package has no word for (cancellation tokens, a connection without an engine) is left out of the features."""

import asyncio
import contextlib
import gc
import inspect
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
import zlib

import wscengine
import wscengine.aio
from wscengine import _abi
from wscengine._core import lib

AIO = "--aio" in sys.argv
ADAPTER = "--adapter" in sys.argv
FEATURES = [
    *([] if ADAPTER else ["built_in", "wire"]),
    "pause",
    "pause_verb",
    "url_text",
    "attempt",
    "latches",
    "tracer",
    *([] if AIO else ["threads", "readers", "fork"]),
]
PATTERN = bytes(range(ord("a"), ord("a") + 23))
C_NAMES = {o.keyword: o.name for o in _abi.OPTIONS if o.keyword}
KEYWORDS = {o.name: o for o in _abi.OPTIONS}
CALLBACKS = ("on_open", "on_message", "on_read_error", "on_close", "on_close_error", "on_restart_error", "on_stopped")


async def done(result):
    """What a verb of either engine gives."""
    return await result if inspect.isawaitable(result) else result


def driven(coroutine):
    """A coroutine that never waits for a loop, to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits")


output = threading.Lock()
numbered = 0


def emit(fields):
    global numbered
    with output:
        numbered += 1
        line = {"seq": numbered, "t": time.monotonic_ns(), **fields}
        os.write(1, (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))


spans = set()  # that have not ended


# ---- how things look in an event ----


def response_fields(response):
    if response is None:
        return None
    return {
        "status": response.status,
        "reason": response.reason,
        "subprotocol": response.subprotocol,
        "headers": dict(response.headers.pairs),
        "body_length": len(response.body),
        "body": response.body[:1024].decode("utf-8", "replace"),
    }


def in_c(said):
    """The scenarios name options as C does."""
    return re.sub(r"\b[a-z]+_[a-z_]+", lambda word: C_NAMES.get(word[0], word[0]), said)


def status_of(error):
    if isinstance(error, wscengine.Error):
        return _abi.Status(error.status).name
    if isinstance(error, MemoryError):
        return "ERR_NOMEM"
    return "ERR_INVALID" if isinstance(error, (TypeError, ValueError)) else "ERR_HOST"


def error_fields(error):
    if error is None:
        return None
    links, link = [], error
    while link is not None:
        links.append(link)
        link = link.__cause__
    response = next((e.response for e in links if isinstance(e, wscengine.Error) and e.response), None)
    return {
        "status": status_of(error),
        "message": in_c(str(error)),
        "close_code": getattr(error, "close_code", 0),
        "os_error": getattr(error, "os_error", 0),
        "http_status": getattr(error, "http_status", 0),
        "chain": [status_of(e) for e in links],
        "messages": [in_c(str(e)) for e in links],
        "response": response_fields(response),
    }


def message_fields(message):
    data = message.encode() if isinstance(message, str) else message
    out = {"type": "text" if isinstance(message, str) else "binary", "length": len(data)}
    if len(data) > 256:
        out["crc"] = zlib.crc32(data)
        if isinstance(message, str):
            out["head"] = data[:32].decode()
    elif isinstance(message, str):
        out["text"] = message
    else:
        out["hex"] = data.hex()
    return out


def close_fields(close):
    if close is None:
        return {"by": "user"}
    return {
        "by": close.initiator.name.lower(),
        "code": close.code,
        "code_sent": close.code_sent,
        "code_received": close.code_received,
        "os_error": close.os_error,
        "timer": close.timer.name.lower(),
        "unsent_bytes": close.unsent_bytes,
        "reason": close.reason,
    }


# ---- callbacks ----


class Refused(Exception):
    pass


class Scope:
    """What a command is about: inside a callback its engine, session, message …"""

    def __init__(self, engine=None, session=None, message=None, attempt=None):
        self.engine, self.session, self.message, self.attempt = engine, session, message, attempt
        self.refuse, self.reply = False, None


class Script(wscengine.Client):
    def __init__(self, rules):
        self.rules, self.calls, self.lock, self.engine = rules, {}, threading.Lock(), None
        if "before_attempt" in rules:
            self.before_attempt = self.ask

    async def play(self, of, scope, **fields):
        with self.lock:
            call = self.calls[of] = self.calls.get(of, 0) + 1
        where = {"session": scope.session.id, "epoch": scope.session.epoch} if scope.session else {}
        emit({"event": of, "call": call, **where, **fields})
        for rule in self.rules.get(of, ()):
            if rule.get("call", 0) not in (0, call) or ("text" in rule and rule["text"] != scope.message):
                continue
            for step in rule["do"]:
                emit({"event": "action", "of": of, "call": call, "cmd": step["cmd"], **await carry_out(step, scope)})
            break
        leave = {"epoch": scope.session.epoch} if scope.session else {}
        emit({"event": "leave", "of": of, "call": call, **leave})
        return scope

    async def on_open(self, session, response, restarting):
        shown = response_fields(response)
        scope = await self.play(
            "on_open",
            Scope(self.engine, session),
            restarting=restarting,
            subprotocol=response.subprotocol if response else "",
            response=shown,
        )
        if scope.refuse:
            raise Refused("refused")

    async def on_message(self, session, message):
        scope = Scope(self.engine, session, message)
        await self.play("on_message", scope, **message_fields(message), stamped=session.received_ns > 0)

    async def on_read_error(self, session, error):
        await self.play("on_read_error", Scope(self.engine, session), error=error_fields(error))

    async def on_close(self, session, close):
        scope = await self.play("on_close", Scope(self.engine, session), **close_fields(close))
        return scope.reply

    async def on_close_error(self, session, error):
        await self.play("on_close_error", Scope(self.engine, session), error=error_fields(error))

    async def on_restart_error(self, engine, error, retry, last):
        await self.play("on_restart_error", Scope(engine), retry=retry, last=last, error=error_fields(error))

    async def ask(self, engine, attempt):
        scope = Scope(engine, attempt=attempt)
        last = error_fields(attempt.last_error)
        await self.play("before_attempt", scope, number=attempt.number, url=attempt.url, last_error=last)
        return not scope.refuse

    async def on_stopped(self, engine, reason, error):
        await self.play(
            "on_stopped", Scope(engine), reason=reason.name.lower().removeprefix("by_"), error=error_fields(error)
        )


class ThreadedScript(Script):
    """The same for callbacks that are plain functions."""

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not inspect.iscoroutinefunction(found) or name == "play":
            return found
        return lambda *arguments: driven(found(*arguments))


# ---- commands: each gives the fields of its result; what it raises becomes status and error ----

current = None
kept = {}
latches = {}
latch_lock = threading.Lock()


def latch(name):
    with latch_lock:
        return latches.setdefault(name, threading.Event())


def engine_of(scope):
    return scope.engine or current


def timeout_of(c):
    return c["timeout_ms"] / 1000 if "timeout_ms" in c else None


def session_of(c, scope):
    via = c.get("via", "")
    if via and via != "engine":
        return kept.get(via)
    if not via and scope.session:
        return scope.session
    return engine_of(scope).session


def needed(session):
    if session is None:
        raise wscengine.InvalidError("no session")
    return session


def keywords(options):
    out = {}
    for name, value in (options or {}).items():
        row = KEYWORDS[name]
        if row.kind == "BOOL":
            value = bool(value) if value in (0, 1) else value
        elif row.kind == "INT" and isinstance(value, (int, float)):
            value = value / row.scale if row.scale > 1 else value
        elif row.kind == "LIST" and not isinstance(value, list):
            value = [value]
        out[row.keyword or name] = value
    return out


def adapter():
    """None: the built-in connection."""
    if not ADAPTER:
        return None
    from wscengine.adapters.websockets import AsyncWebsocketsAdapter, WebsocketsAdapter

    return (AsyncWebsocketsAdapter if AIO else WebsocketsAdapter)(compression=None, proxy=None)


async def run_engine(c, scope):
    global current
    if c.get("trace"):
        from driver_python_trace import trace_engines  # only where it is wanted: the SDK takes long to import

        trace_engines(emit, spans)
    script = (Script if AIO else ThreadedScript)(c.get("on", {}))
    current = script.engine = (wscengine.aio.Engine if AIO else wscengine.Engine)(
        c["url"], script, adapter=adapter(), **keywords(c.get("options"))
    )
    return {"made": True}


async def run_free(c, scope):
    global current
    freed, engine = current is not None, engine_of(scope)
    if engine is current:
        current = None
    if engine is not None:
        engine.client.engine = None
        with contextlib.suppress(wscengine.StateError, wscengine.ForkedError):
            await done(engine.stop())
    scope.engine = engine = None
    gc.collect()
    return {"freed": freed}


async def run_wait(c, scope):
    engine = engine_of(scope)
    try:
        await done(engine.wait(timeout_of(c)))
    except (wscengine.TimeoutError, wscengine.InCallbackError, wscengine.StateError):
        raise
    except wscengine.Error as error:
        if engine.state != wscengine.State.STOPPED:
            raise
        return {
            "reason": engine.stop_reason.name.lower().removeprefix("by_").removeprefix("by_"),
            "status": "STOPPED",
            "error": error_fields(error),
        }
    reason = engine.stop_reason
    status = "OK" if reason == wscengine.StopReason.NEVER_RAN else "STOPPED"
    return {"reason": reason.name.lower().removeprefix("by_"), "status": status}


pauses = threading.local()


async def run_pause(c, scope):
    engine = engine_of(scope)
    pause = engine.paused(timeout_of(c))
    await done(pause.__aenter__() if AIO else pause.__enter__())
    if not hasattr(engine, "driver_pauses"):
        engine.driver_pauses = []
    engine.driver_pauses.append(pause)


async def run_resume(c, scope):
    engine = engine_of(scope)
    held = getattr(engine, "driver_pauses", None)
    if not held:
        status = lib.wsc_engine_resume(engine._c)
        if status < 0:
            raise wscengine.StateError("resume: not paused")
        return
    last = held.pop()
    await done(last.__aexit__(None, None, None) if AIO else last.__exit__(None, None, None))


def exits_session(c, scope):
    session = session_of(c, scope) if scope.session or "via" in c else None
    return session if c.get("via") != "engine" else None


async def run_exit(c, scope):
    (exits_session(c, scope) or engine_of(scope)).exit()


async def run_restart(c, scope):
    (exits_session(c, scope) or engine_of(scope)).restart()


async def run_state(c, scope):
    engine = engine_of(scope)
    return {
        "value": engine.state.name.lower(),
        "reason": engine.stop_reason.name.lower().removeprefix("by_").removeprefix("by_"),
    }


async def run_is_started(c, scope):
    return {"value": await done(engine_of(scope).is_started())}


async def run_stats(c, scope):
    stats = engine_of(scope).stats
    out = {}
    for name in stats.__dataclass_fields__:
        value = getattr(stats, name)
        seconds = name in ("rtt_last", "rtt_smoothed", "last_byte_age")
        out[f"{name}_ns" if seconds else name] = (-1 if value is None else round(value * 1e9)) if seconds else value
    return out


async def run_session(c, scope):
    session = session_of(c, scope)
    return {"session": session.id, "epoch": session.epoch} if session else {"session": None}


async def run_keep(c, scope):
    session = session_of(c, scope)
    if session is None:
        raise wscengine.StateError("no session to keep")
    kept[c["name"]] = session


def payload_of(c):
    if "hex" in c:
        data = bytes.fromhex(c["hex"])
    elif "text" in c:
        data = c["text"].encode("utf-8", "surrogateescape")
    else:
        data = (PATTERN * (c.get("size", 0) // len(PATTERN) + 1))[: c.get("size", 0)]
    if c.get("type", "text") == "binary":
        return data
    if c.get("type", "text") != "text":
        raise wscengine.InvalidError("unknown type")
    return data.decode("utf-8", "surrogateescape")


async def run_write(c, scope):
    via = c.get("via", "" if scope.session else "engine")
    written, count = 0, c.get("count", 1)
    try:
        target = engine_of(scope) if via == "engine" else needed(session_of(c, scope))
        data = payload_of(c)
        for i in range(count):
            await done(target.send(str(i) if c.get("numbered") else data, timeout_of(c)))
            written += 1
    except Exception as error:
        return {"written": written, "status": status_of(error), "error": error_fields(error)}
    return {"written": written}


async def run_read(c, scope):
    message = await done(needed(session_of(c, scope)).read(timeout_of(c)))
    return {**message_fields(message), "stamped": True}


async def run_ping(c, scope):
    session = needed(session_of(c, scope))
    try:
        rtt = round(await done(session.ping(timeout_of(c))) * 1e9)
    except wscengine.Error as error:
        last = session.rtt
        rest = {"status": status_of(error), "error": error_fields(error)}
        return {"rtt_ns": -1, "last_rtt_ns": -1 if last is None else round(last * 1e9), **rest}
    return {"rtt_ns": rtt, "last_rtt_ns": round(session.rtt * 1e9)}


async def run_cork(c, scope):
    lib.wsc_connection_cork(needed(session_of(c, scope))._connection)


async def run_uncork(c, scope):
    wscengine._native.call(lib.wsc_connection_uncork, needed(session_of(c, scope))._connection)


async def run_attempt(c, scope):
    attempt = scope.attempt
    if attempt is None:
        raise wscengine.StateError("no attempt")
    for key, value in c.items():
        if key == "header":
            attempt.add_header(*value.split(": ", 1))
        elif key == "url":
            attempt.set_url(value)
        elif key == "subprotocol":
            attempt.add_subprotocol(value)
        elif key == "delay_ms":
            attempt.set_delay(value / 1000)
        elif key == "retry_delay_ms":
            attempt.set_retry_delay(value / 1000)
        elif key in ("clear_headers", "clear_subprotocols", "reset"):
            getattr(attempt, key)()


async def run_refuse(c, scope):
    scope.refuse = True


async def run_reply(c, scope):
    scope.reply = (c.get("code", 1000), c.get("reason", ""))


async def run_latch(c, scope):
    opened, until = latch(c["name"]), time.monotonic() + c.get("timeout_ms", 20000) / 1000
    while AIO and not opened.is_set() and time.monotonic() < until:
        await asyncio.sleep(0.002)
    if not opened.wait(max(0, until - time.monotonic())):
        raise wscengine.TimeoutError("latch")


async def run_leaks(c, scope):
    gc.collect()  # an exception's traceback may have led back to its engine while its last thread still ran
    names = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/comm") as comm:
            names.append(comm.read().strip())
    kernels = sum(name.startswith("iou-wrk") for name in names)  # io_uring's workers, which come and go with libuv
    threads = len(names) - kernels - 1 - (1 if AIO else len(lanes))
    return {"names": names, "threads": threads, "fds": len(os.listdir("/proc/self/fd")) - 1}


def forked(engine):
    """In the child: what each verb says, and whether the engine can be let go of."""
    verbs = {
        "write": lambda: engine.send("x"),
        "start": engine.start,
        "stop": engine.stop,
        "wait": engine.wait,
        "pause": lambda: engine.paused().__enter__(),
    }
    said = {"text": True}
    for name, verb in verbs.items():
        try:
            verb()
            said[name] = "OK"
        except Exception as error:
            said[name] = status_of(error)
            said["text"] = said["text"] and bool(str(error))
    engine.__exit__(None, None, None)
    return {**said, "freed": True}


async def run_fork_check(c, scope):
    engine, ends = engine_of(scope), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ends[1], json.dumps(forked(engine)).encode())
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0], "rb") as answers:
        said = json.loads(answers.read() or "{}")
    return {**said, "exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


COMMANDS = {
    "engine": run_engine,
    "free": run_free,
    "start": lambda c, s: engine_of(s).start(timeout_of(c)),
    "stop": lambda c, s: engine_of(s).stop(timeout_of(c)),
    "wait": run_wait,
    "pause": run_pause,
    "resume": run_resume,
    "exit": run_exit,
    "restart": run_restart,
    "is_started": run_is_started,
    "state": run_state,
    "stats": run_stats,
    "session": run_session,
    "keep": run_keep,
    "forget": lambda c, s: kept.clear(),
    "write": run_write,
    "write_many": lambda c, s: needed(session_of(c, s)).send_many(c.get("texts", []), timeout_of(c)),
    "echo": lambda c, s: s.session.send(s.message),
    "read": run_read,
    "ping": run_ping,
    "close": lambda c, s: needed(session_of(c, s)).close(c.get("code", 1000), c.get("reason", ""), timeout_of(c)),
    "cork": run_cork,
    "uncork": run_uncork,
    "attempt": run_attempt,
    "refuse": run_refuse,
    "reply": run_reply,
    "latch": run_latch,
    "release": lambda c, s: latch(c["name"]).set(),
    "leaks": run_leaks,
    "validate": lambda c, s: wscengine.options.make_options(keywords(c.get("options"))) and None,
    "close_codes": lambda c, s: {code.name: code.value for code in wscengine.CloseCode},
    "fork_check": run_fork_check,
    "spans": lambda c, s: {"open": len(spans)},
}


async def carry_out(c, scope):
    command = COMMANDS.get(c["cmd"])
    if command is None:
        return {"status": "UNKNOWN_COMMAND"}
    try:
        fields = await done(command(c, scope)) or {}
    except (wscengine.Error, MemoryError, TypeError, ValueError) as error:
        if not isinstance(error, wscengine.Error):
            traceback.print_exception(error, file=sys.stderr)
        fields = {"status": status_of(error), "error": error_fields(error)}
        if c["cmd"] == "wait":
            fields["reason"] = engine_of(scope).stop_reason.name.lower().removeprefix("by_").removeprefix("by_")
        if c["cmd"] == "engine":
            fields["made"] = False
    return {"status": "OK", **fields}


# ---- lanes ----

lanes = {}


class Lane:
    def __init__(self):
        self.commands, self.changed, self.busy, self.over = [], threading.Condition(), False, False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while True:
            with self.changed:
                self.busy = False
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.commands or self.over)
                if not self.commands:
                    return
                command, self.busy = self.commands.pop(0), True
            result = driven(carry_out(command, Scope()))
            emit({"event": "result", "id": command["id"], "cmd": command["cmd"], **result})

    def add(self, command):
        with self.changed:
            self.commands.append(command)
            self.changed.notify_all()

    def end(self):
        with self.changed:
            idle = self.changed.wait_for(lambda: not self.busy and not self.commands, 1)
            self.over = True
            self.changed.notify_all()
        return idle


class TaskLane:
    """The same as a task."""

    def __init__(self):
        self.commands, self.busy = asyncio.Queue(), False
        self.task = asyncio.create_task(self.work())

    async def work(self):
        while True:
            command = await self.commands.get()
            self.busy = True
            result = await carry_out(command, Scope())
            emit({"event": "result", "id": command["id"], "cmd": command["cmd"], **result})
            self.busy = False

    def add(self, command):
        self.commands.put_nowait(command)


def hello():
    logging.getLogger("wscengine").addHandler(logging.NullHandler())
    logging.getLogger("wscengine").propagate = False
    name = "python-aio" if AIO else "python"
    emit({"event": "hello", "driver": name, "version": wscengine.__version__, "features": FEATURES})


def commands():
    """Those of stdin until it ends, or quit."""
    for line in sys.stdin.buffer:
        command = json.loads(line.decode("utf-8", "surrogateescape"))
        if command["cmd"] == "quit":
            return
        yield command


def lane_of(command, kind):
    name = command.get("lane", "main")
    if name not in lanes:
        lanes[name] = kind()
    return lanes[name]


def still_busy(name):
    print(f"driver: lane {name} is still busy at the end", file=sys.stderr)
    os._exit(3)


def main():
    hello()
    for command in commands():
        lane_of(command, Lane).add(command)
    for name, lane in lanes.items():
        if not lane.end():
            still_busy(name)
    driven(run_free({}, Scope()))


async def main_aio():
    hello()
    home, came = asyncio.get_running_loop(), asyncio.Queue()

    def listen():
        for command in commands():
            home.call_soon_threadsafe(came.put_nowait, command)
        home.call_soon_threadsafe(came.put_nowait, None)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while (command := await came.get()) is not None:
        lane_of(command, TaskLane).add(command)
    until = time.monotonic() + 1
    for name, lane in lanes.items():
        while (lane.busy or not lane.commands.empty()) and time.monotonic() < until:
            await asyncio.sleep(0.005)
        if lane.busy:
            still_busy(name)
        lane.task.cancel()
    await run_free({}, Scope())


if AIO:
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main_aio())
    else:
        asyncio.run(main_aio())
else:
    main()
