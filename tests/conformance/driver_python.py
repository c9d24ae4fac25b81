"""The Python driver of the conformance suite: wscengine.Engine, with threads; with --aio wscengine.aio.Engine; with --adapter on the adapter of the
`websockets` library. README.md has the line protocol.

Lanes are threads, or tasks; a cancellation is a wscengine.Cancellation, or the task's own."""

import asyncio
import json
import logging
import os
import sys
import threading
import time

import wscengine
from driver_python_callbacks import Scope, driven
from driver_python_commands import AIO, FEATURES, carry_out, run_free
from driver_python_events import emit

lanes = {}


class Lane:
    def __init__(self):
        self.commands, self.changed, self.busy, self.over = [], threading.Condition(), False, False
        self.thread = threading.Thread(target=self.work, name="driver-lane", daemon=True)
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

    listener = threading.Thread(target=listen, name="driver-listener", daemon=True)
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
