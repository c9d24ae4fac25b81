"""The Python driver's commands, for wscengine.Engine and wscengine.aio.Engine. They and the callbacks are written once, as coroutines: with threads
they never wait for a loop, and are driven to their end at once."""

import asyncio
import contextlib
import gc
import inspect
import json
import os
import sys
import threading
import time
import traceback

import wscengine
import wscengine.aio
from driver_python_callbacks import Script, ThreadedScript
from driver_python_events import emit, error_fields, message_fields, response_fields, status_of
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
    "connection",
    "cancel",
    "latches",
    "tracer",
    *([] if AIO else ["threads", "readers", "fork"]),
]
PATTERN = bytes(range(ord("a"), ord("a") + 23))
KEYWORDS = {o.name: o for o in _abi.OPTIONS}
spans = set()  # that have not ended


async def done(result):
    """What a verb of either engine gives."""
    return await result if inspect.isawaitable(result) else result


# ---- each gives the fields of its result; what it raises becomes status and error ----

current = None
own = None  # of `connect`: a connection without an engine
kept = {}
latches, cancellations = {}, {}
names = threading.Lock()


def latch(name):
    with names:
        return latches.setdefault(name, threading.Event())


def cancellation(name):
    with names:
        return cancellations.setdefault(name, wscengine.Cancellation())


async def obeying(name, command, c, scope):
    """Carries a command out, which ends early when the cancellation of that name fires: a thread is inside it, a task is cancelled."""
    if not AIO:
        with cancellation(name):
            return await done(command(c, scope))
    fired = cancellations.setdefault(name, asyncio.get_running_loop().create_future())
    task = asyncio.create_task(done(command(c, scope)))
    fired.add_done_callback(lambda _: task.cancel())
    if fired.done():
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
        return {"status": "ERR_CANCELED"}


async def run_cancel(c, scope):
    if AIO:
        cancellations.setdefault(c["name"], asyncio.get_running_loop().create_future()).set_result(None)
    else:
        cancellation(c["name"]).cancel()


def engine_of(scope):
    return scope.engine or current


def timeout_of(c):
    return c["timeout_ms"] / 1000 if "timeout_ms" in c else None


def session_of(c, scope):
    via = c.get("via", "")
    if via == "own":
        return own
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
    script = (Script if AIO else ThreadedScript)(c.get("on", {}), carry_out)
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
    for name in stats._fields:
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
    session = needed(session_of(c, scope))
    message = await done(session.read(timeout_of(c)))
    return {**message_fields(message), "stamped": session.received_ns > 0}


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


async def run_connect(c, scope):
    global own
    options = {name: value for name, value in c.get("options", {}).items() if KEYWORDS[name].scope == "CONNECTION"}
    own = (wscengine.aio.Connection if AIO else wscengine.Connection)(c["url"], **keywords(options))
    return {"response": response_fields(await done(own.connect(timeout_of(c))))}


async def run_disconnect(c, scope):
    global own
    own = None
    gc.collect()


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
    own = 1 + sum(thread.name.startswith("driver-") for thread in threading.enumerate())
    threads = len(names) - kernels - own
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
    "connect": run_connect,
    "disconnect": run_disconnect,
    "cork": run_cork,
    "uncork": run_uncork,
    "attempt": run_attempt,
    "refuse": run_refuse,
    "reply": run_reply,
    "cancel": run_cancel,
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
        cancel = c.get("cancel")
        fields = await (obeying(cancel, command, c, scope) if cancel else done(command(c, scope))) or {}
    except (wscengine.Error, MemoryError, TypeError, ValueError) as error:
        if not isinstance(error, wscengine.Error):
            traceback.print_exception(error, file=sys.stderr)
        fields = {"status": status_of(error), "error": error_fields(error)}
        if c["cmd"] == "wait":
            fields["reason"] = engine_of(scope).stop_reason.name.lower().removeprefix("by_").removeprefix("by_")
        if c["cmd"] == "engine":
            fields["made"] = False
    return {"status": "OK", **fields}
