"""Probe: are Python threads well served by the event tier? usage: probe_threads.py WSS-URL CA-FILE SILENT-URL

Ugly on purpose, the binding replaces it. Three threads lend themselves to the loop and run the callbacks; the main thread waits in
slices of an operation, so that Ctrl-C is never further away than one slice."""

import json
import ssl
import sys
import threading
import time

from probe_common import Event, Feed, Status, WscError, call, ffi, lib, new_engine, options, shown, sized, taken
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SLICE_NS = 100_000_000


def wait(begin, *arguments):
    """Begin and wait; giving up the wait (an exception of a signal handler) cancels nothing."""
    op, error = ffi.new("wsc_op **"), ffi.new("wsc_error **")
    call(begin, *arguments, 0, op)
    try:
        while True:
            lib.wsc_op_wait(op[0], SLICE_NS, error)
            lib.wsc_error_unref(error[0])  # of the slice, which may be over in the moment in which the operation is
            error[0] = ffi.NULL
            if not lib.wsc_op_pending(op[0]):
                break
        status = lib.wsc_op_status(op[0], error)
        if status < 0:
            raise WscError(status, error[0])
        return status
    finally:
        lib.wsc_op_unref(op[0])


class Crew:
    def __init__(self, feed, threads=3):
        out = ffi.new("wsc_loop **")
        call(lib.wsc_loop_new, ffi.NULL, out)
        self.c, self.feed, self.adapter, self.over, self.refused = out[0], feed, None, False, 0
        self.failures, self.inside = [], threading.Lock()
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def close(self):
        self.over = True
        for _ in self.threads:
            lib.wsc_loop_wake(self.c)
        for thread in self.threads:
            thread.join()
        lib.wsc_loop_free(self.c)

    def work(self):
        while not self.over:
            ev = sized("wsc_event")
            if lib.wsc_loop_next(self.c, -1, ev) == 0:
                try:
                    self.handle(ev)
                except BaseException as failure:
                    self.failures.append(failure)
                    lib.wsc_event_done(ev, ffi.NULL)

    def handle(self, ev):
        if ev.type == Event.BATCH:
            return self.on_batch(ev)
        if ev.type == Event.OPENED:
            self.on_open(ev)
        elif ev.type in (Event.DO_DIAL, Event.DO_CLOSE, Event.DO_STOP_READING):
            self.adapter.answer(ev)
        lib.wsc_event_done(ev, ffi.NULL)

    def on_open(self, ev):
        self.feed.opened += 1
        if self.adapter:
            return self.adapter.read_on(ev.epoch)
        k, text, message = lib.wsc_session_connection(ev.session), self.feed.subscription(), sized("wsc_message")
        call(lib.wsc_connection_write, k, ffi.NULL, lib.WSC_TEXT, text, len(text))
        call(lib.wsc_connection_read, k, ffi.NULL, message)  # blocking: this thread is lent meanwhile
        self.feed.see(json.loads(ffi.buffer(message.data, message.length)[:])["seq"])
        lib.wsc_message_free(message)

    def on_batch(self, ev):
        """The batch is done when its last record is taken, so that the next may come while that record's callback runs."""
        reply, count, entered, done = sized("wsc_reply"), ev.count, lib.wsc_event_enter(ev), False
        self.refused += not entered
        while entered and reply.consumed < count and not lib.wsc_engine_control(ev.engine)[0]:
            record = ev.records[reply.consumed]
            text = ffi.buffer(ev.arena + record.offset, record.length)[:]
            reply.consumed += 1
            if reply.consumed == count:
                lib.wsc_event_done(ev, reply)
                done = True
            self.on_message(ev, text)
        if not done:
            lib.wsc_event_done(ev, reply)
        if entered:
            lib.wsc_event_leave(ev)

    def on_message(self, ev, text):
        assert self.inside.acquire(blocking=False), "two callbacks of a reader_count of 1 at once"
        self.feed.see(json.loads(text)["seq"])
        if self.feed.count == self.feed.stop_at:
            call(lib.wsc_engine_stop_begin, ev.engine, ffi.NULL, 0, ffi.NULL)
        self.inside.release()


class HostAdapter:
    """An adapter made of the third-party package `websockets`; its messages never enter C."""

    def __init__(self, crew, ca):
        self.crew, self.tls, self.enough = crew, ssl.create_default_context(cafile=ca), False

    def answer(self, ev):
        if ev.type == Event.DO_DIAL:
            url, self.engine = ffi.string(ev.text).decode(), ev.engine
            self.socket = connect(url, ssl=self.tls).__enter__()
        elif ev.type == Event.DO_CLOSE:
            self.socket.close(ev.close_code, ffi.string(ev.text).decode() if ev.text else "")
        else:
            self.enough = True
            self.reader.join()
        assert lib.wsc_engine_report(ev.engine, ev.token, 0, ffi.NULL, ffi.NULL) == 0

    def read_on(self, epoch):
        self.reader = threading.Thread(target=self.read, args=(epoch,))
        self.reader.start()

    def read(self, epoch):
        self.socket.send(self.crew.feed.subscription().decode())
        while not self.enough:
            try:
                text = self.socket.recv(timeout=0.05)
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                error = ffi.new("wsc_error **")
                code = closed.rcvd.code if closed.rcvd else 1006
                lib.wsc_error_new(Status.ERR_CLOSED, code, b"closed", ffi.NULL, ffi.NULL, ffi.NULL, error)
                lib.wsc_engine_report_read(self.engine, epoch, error[0])
                return lib.wsc_error_unref(error[0])
            self.crew.feed.see(json.loads(text)["seq"])
            lib.wsc_engine_report_alive(self.engine, epoch, 1, len(text))


def until(condition):
    while not condition():
        time.sleep(0.005)


def cancel_a_dial(crew, silent):
    k, cancel, outcome = ffi.new("wsc_connection **"), ffi.new("wsc_cancel **"), []
    assert lib.wsc_cancel_new(cancel) == 0
    call(lib.wsc_connection_new, crew.c, silent.encode(), options(), k)

    def dial():
        try:
            outcome.append(wait(lib.wsc_connection_dial_begin, k[0], sized("wsc_context", cancel=cancel[0])))
        except WscError as error:
            outcome.append(error.status)

    dialer = threading.Thread(target=dial)
    dialer.start()
    time.sleep(0.1)
    assert outcome == []
    lib.wsc_cancel_fire(cancel[0])
    dialer.join()
    assert outcome == [Status.ERR_CANCELED], outcome
    lib.wsc_connection_unref(k[0])
    lib.wsc_cancel_free(cancel[0])
    shown("cancel of a dial, by a wsc_cancel from another thread")


def run(crew, url, ca, silent):
    feed = crew.feed
    cancel_a_dial(crew, silent)
    e = new_engine(crew.c, url, ca_file=ca, ping_interval=2.0)
    wait(lib.wsc_engine_start_begin, e, ffi.NULL)
    assert feed.opened == 1 and feed.next >= 2
    shown("start, with a blocking read inside on_open")
    until(lambda: feed.count > 100)
    call(lib.wsc_engine_pause, e, ffi.NULL)
    held, session = feed.count, lib.wsc_engine_session(e)
    for _ in range(200):
        op = ffi.new("wsc_op **")
        call(lib.wsc_connection_read_begin, lib.wsc_session_connection(session), ffi.NULL, 0, op)
        assert call(lib.wsc_op_wait, op[0], -1) == 0
        feed.see(taken(op[0]))
        lib.wsc_op_unref(op[0])
    assert feed.count == held + 200
    lib.wsc_session_unref(session)
    assert lib.wsc_engine_resume(e) == 0
    shown("pause, 200 reads while it is held, resume: nothing lost, nothing twice")
    feed.stop_at = feed.count + 100
    assert wait(lib.wsc_engine_wait_begin, e, ffi.NULL) == Status.STOPPED
    assert feed.count == feed.stop_at, f"{feed.count - feed.stop_at} messages after the stop"
    shown("stop inside a callback")

    crew.adapter = HostAdapter(crew, ca)
    h = new_engine(crew.c, url, host_adapter=True, ping_interval=0)
    wait(lib.wsc_engine_start_begin, h, ffi.NULL)
    before = feed.count
    until(lambda: feed.count > before + 100)
    wait(lib.wsc_engine_stop_begin, h, ffi.NULL)
    lib.wsc_engine_free(h)
    crew.adapter = None
    shown("a host-driven adapter")

    wait(lib.wsc_engine_start_begin, e, ffi.NULL)
    try:
        print("ready for Ctrl-C", flush=True)
        wait(lib.wsc_engine_wait_begin, e, ffi.NULL)
    except KeyboardInterrupt:
        wait(lib.wsc_engine_stop_begin, e, ffi.NULL)
        shown("Ctrl-C during a wait, then a clean stop")
    lib.wsc_engine_free(e)


if __name__ == "__main__":
    everyone = Crew(Feed())
    try:
        run(everyone, *sys.argv[1:])
    finally:
        everyone.close()
    assert not everyone.failures, everyone.failures
    print(f"done ({everyone.refused} batches refused)", flush=True)
