"""Probe: is asyncio well served by the event tier? usage: probe_asyncio.py WSS-URL CA-FILE SILENT-URL

Ugly on purpose, the binding replaces it. The loop's fd (a dup) in add_reader, every verb by its begin form, one task an event."""

import asyncio
import itertools
import json
import os
import ssl
import sys

from probe_common import Event, Feed, Status, WscError, call, ffi, lib, new_engine, options, shown, sized, taken
from websockets.asyncio.client import connect


class Loop:
    """A wsc_loop in asyncio: one add_reader, one future an operation, one task an event."""

    def __init__(self, feed):
        out = ffi.new("wsc_loop **")
        call(lib.wsc_loop_new, ffi.NULL, out)
        self.c, self.feed, self.tokens, self.pending, self.tasks = out[0], feed, itertools.count(1), {}, set()
        self.fd = os.dup(lib.wsc_loop_fd(self.c))
        self.adapter = None
        asyncio.get_running_loop().add_reader(self.fd, self.ready)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)
        lib.wsc_loop_free(self.c)

    def ready(self):
        while True:
            ev = sized("wsc_event")
            if lib.wsc_loop_next(self.c, 0, ev) != 0:
                return
            if ev.type == Event.OP_DONE:
                future, finish = self.pending.pop(ev.token)
                if not future.done():
                    bad = ev.status < 0
                    future.set_exception(
                        WscError(ev.status, lib.wsc_error_ref(ev.error))
                    ) if bad else future.set_result(finish(ev))
                lib.wsc_event_done(ev, ffi.NULL)
            else:
                task = asyncio.ensure_future(self.handle(ev))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    def begin(self, function, *arguments, finish=lambda ev: ev.status, op=ffi.NULL):
        token, future = next(self.tokens), asyncio.get_running_loop().create_future()
        self.pending[token] = future, finish
        try:
            call(function, *arguments, token, op)
        except WscError:
            del self.pending[token]  # a begin that fails posts nothing
            raise
        return future

    def read(self, connection):
        return self.begin(lib.wsc_connection_read_begin, connection, ffi.NULL, finish=lambda ev: taken(ev.op))

    async def handle(self, ev):
        reply, entered = sized("wsc_reply"), False
        if ev.type == Event.OPENED:
            await self.on_open(ev)
        elif ev.type == Event.BATCH:
            entered = lib.wsc_event_enter(ev)
            reply.consumed = await self.on_batch(ev) if entered else 0
        elif self.adapter and ev.type in (Event.DO_DIAL, Event.DO_CLOSE, Event.DO_STOP_READING):
            await self.adapter.answer(ev)
        lib.wsc_event_done(ev, reply)
        if entered:
            lib.wsc_event_leave(ev)

    async def on_open(self, ev):
        self.feed.opened += 1
        if self.adapter:
            return self.adapter.read_on(ev.epoch)
        k, text = lib.wsc_session_connection(ev.session), self.feed.subscription()
        await self.begin(lib.wsc_connection_write_begin, k, ffi.NULL, lib.WSC_TEXT, text, len(text))
        self.feed.see(await self.read(k))

    async def on_batch(self, ev):
        control, count = lib.wsc_engine_control(ev.engine), 0
        while count < ev.count and not control[0]:
            r = ev.records[count]
            count += 1
            self.feed.see(json.loads(ffi.buffer(ev.arena + r.offset, r.length)[:])["seq"])
            if self.feed.count == self.feed.stop_at:
                self.stopped = self.begin(lib.wsc_engine_stop_begin, ev.engine, ffi.NULL)  # begun inside the callback
            await asyncio.sleep(0)  # as an `async def on_message` would
        return count


class HostAdapter:
    """An adapter made of the third-party package `websockets`; its messages never enter C."""

    def __init__(self, loop, ca):
        self.loop, self.tls = loop, ssl.create_default_context(cafile=ca)

    async def answer(self, ev):
        engine, token, status = ev.engine, ev.token, 0
        response = ffi.gc(lib.wsc_response_new(), lib.wsc_response_free)
        if ev.type == Event.DO_DIAL:
            self.socket = await connect(ffi.string(ev.text).decode(), ssl=self.tls)
            lib.wsc_response_set(response, self.socket.response.status_code, b"")
            for name, value in self.socket.response.headers.raw_items():
                lib.wsc_response_add_header(response, name.encode(), value.encode())
            self.engine = engine
        elif ev.type == Event.DO_CLOSE:
            await self.socket.close(ev.close_code, ffi.string(ev.text).decode() if ev.text else "")
        else:
            self.reader.cancel()
            await asyncio.wait([self.reader])
        assert lib.wsc_engine_report(engine, token, status, response, ffi.NULL) == 0

    def read_on(self, epoch):
        async def read():
            await self.socket.send(self.loop.feed.subscription().decode())
            async for text in self.socket:
                self.loop.feed.see(json.loads(text)["seq"])
                lib.wsc_engine_report_alive(self.engine, epoch, 1, len(text))

        self.reader = asyncio.ensure_future(read())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


async def run_asyncio(url, ca, silent):
    feed = Feed()
    loop = Loop(feed)
    out, op = ffi.new("wsc_connection **"), ffi.new("wsc_op **")
    call(lib.wsc_connection_new, loop.c, silent.encode(), options(), out)
    dialing = loop.begin(lib.wsc_connection_dial_begin, out[0], ffi.NULL, op=op)
    await asyncio.sleep(0.1)
    assert not dialing.done()
    lib.wsc_op_cancel(op[0])
    try:
        await dialing
        raise AssertionError("the dial was not cancelled")
    except WscError as error:
        assert error.status == Status.ERR_CANCELED, error
    lib.wsc_op_unref(op[0])
    lib.wsc_connection_unref(out[0])
    shown("cancel of a dial")

    e = new_engine(loop.c, url, ca_file=ca, ping_interval=2.0)
    await loop.begin(lib.wsc_engine_start_begin, e, ffi.NULL)
    assert (feed.opened, feed.next) == (1, 2)
    shown("start, with a read inside on_open")
    await until(lambda: feed.count > 100)
    await loop.begin(lib.wsc_engine_pause_begin, e, ffi.NULL)
    held, session = feed.count, lib.wsc_engine_session(e)
    for _ in range(200):
        feed.see(await loop.read(lib.wsc_session_connection(session)))
    assert feed.count == held + 200
    lib.wsc_session_unref(session)
    assert lib.wsc_engine_resume(e) == 0
    shown("pause, 200 reads while it is held, resume: nothing lost, nothing twice")
    feed.stop_at = feed.count + 100
    assert await loop.begin(lib.wsc_engine_wait_begin, e, ffi.NULL) == Status.STOPPED
    await loop.stopped
    assert feed.count == feed.stop_at, f"{feed.count - feed.stop_at} messages after the stop"
    shown("stop inside a callback")

    loop.adapter = HostAdapter(loop, ca)
    h = new_engine(loop.c, url, host_adapter=True, ping_interval=0)
    await loop.begin(lib.wsc_engine_start_begin, h, ffi.NULL)
    before = feed.count
    await until(lambda: feed.count > before + 100)
    await loop.begin(lib.wsc_engine_stop_begin, h, ffi.NULL)
    lib.wsc_engine_free(h)
    loop.adapter = None
    shown("a host-driven adapter")

    await loop.begin(lib.wsc_engine_start_begin, e, ffi.NULL)
    try:
        print("ready for Ctrl-C", flush=True)
        await loop.begin(lib.wsc_engine_wait_begin, e, ffi.NULL)
    finally:
        await loop.begin(lib.wsc_engine_stop_begin, e, ffi.NULL)
        lib.wsc_engine_free(e)
        await until(lambda: not loop.tasks)
        loop.close()
        shown("Ctrl-C during a wait, then a clean stop")


if __name__ == "__main__":
    try:
        asyncio.run(run_asyncio(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("done", flush=True)
