"""Signals, the end of the interpreter, fork: each in a process of its own."""

import signal
import time

import pytest
from conftest import PATIENCE

HEAD = """
import os, signal, sys, threading, time
import wscengine
url = sys.argv[1]
def say(*words): print(*words, flush=True)
def freeze(pid):
    os.kill(pid, signal.SIGSTOP)  # which its threads heed one after another
    state = lambda task: open(f"/proc/{pid}/task/{task}/stat").read().rpartition(")")[2].split()[0]
    while any(state(task) != "T" for task in os.listdir(f"/proc/{pid}/task")): time.sleep(0.001)
"""

INTERRUPTED = {
    "wait": "engine.wait()",
    "iteration": "list(engine)",
    "read": "with engine.paused(): engine.session.read()",
    "ping": "freeze(int(sys.argv[2])); engine.ping()",
    "send": "freeze(int(sys.argv[2]))\n    while True: engine.send(b'x' * 1_000_000)",
    "send_many": "freeze(int(sys.argv[2])); engine.send_many([b'x' * 10_000] * 10_000)",
    "connection": "with wscengine.Connection(url, close_timeout=1) as connection: connection.read()",
    "request": "engine.request('x', lambda m: False)",
}

SERVER = """
from websockets.sync.server import serve
def handle(connection):
    for message in connection: connection.send(message)
with serve(handle, "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


@pytest.fixture
def peer(program):
    process = program(SERVER)
    return process.pid, f"ws://127.0.0.1:{process.stdout.readline().strip()}/"


@pytest.mark.parametrize("verb", INTERRUPTED)
def test_ctrl_c_interrupts_every_blocking_call_and_leaves_the_engine_usable(program, peer, verb):
    pid, url = peer
    source = f"""{HEAD}
engine = wscengine.Engine(url, send_queue_bytes=1 << 20, ping_interval=0, stop_timeout=10, close_timeout=1)
engine.start()
try:
    say("ready")
    {INTERRUPTED[verb]}
except KeyboardInterrupt:
    say("interrupted", engine.state.name)
os.kill(int(sys.argv[2]), signal.SIGCONT)
engine.stop()
engine.start()
engine.stop()
say("done")
"""
    process = program(source, url, pid, all_ends=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted OPEN\n"
    took = time.monotonic() - sent
    assert process.stdout.readline() == "done\n", process.stderr.read()
    assert process.wait(PATIENCE) == 0
    assert took < 2


def test_ctrl_c_ends_a_start_that_hangs(program):
    source = f"""{HEAD}
import socket
with socket.create_server(("127.0.0.1", 0)) as silent:
    engine = wscengine.Engine(f"ws://127.0.0.1:{{silent.getsockname()[1]}}/")
    try:
        say("ready")
        engine.start()
    except KeyboardInterrupt:
        say("interrupted", engine.state.name)
"""
    process = program(source, "")
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted STOPPED\n"
    assert process.wait(PATIENCE) == 0


def ends_well(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out, err


def test_the_interpreter_ends_with_an_engine_that_runs(program, peer):
    source = f"""{HEAD}
class Client(wscengine.Client):
    def on_message(self, session, message): session.send(message)
    def on_stopped(self, engine, reason, error): say("stopped", reason.name)
engine = wscengine.Engine(url, Client())
engine.start()
engine.send("x")
time.sleep(0.1)
"""
    assert ends_well(program(source, peer[1])) == ("stopped BY_STOP\n", "")


def test_the_interpreter_ends_with_an_adapter_where_it_gives_no_threads_then(program, peer):
    source = f"""{HEAD}
import atexit, threading
from wscengine.adapters.websockets import WebsocketsAdapter
class Client(wscengine.Client):
    def on_close_error(self, session, error): say(error)
    def on_stopped(self, engine, reason, error): say("stopped", reason.name)
engine = wscengine.Engine(url, Client(), adapter=WebsocketsAdapter())
engine.start()
@atexit.register
def as_from_python_3_12_on():
    def refuse(thread): raise RuntimeError("can't create new thread at interpreter shutdown")
    threading.Thread.start = refuse
"""
    assert ends_well(program(source, peer[1])) == ("stopped BY_STOP\n", "")


def test_the_interpreter_ends_although_a_callback_never_returns(program, peer):
    source = f"""{HEAD}
class Client(wscengine.Client):
    def on_message(self, session, message):
        say("in")
        time.sleep(3600)
engine = wscengine.Engine(url, Client())
engine.start()
engine.send("x")
time.sleep(0.2)
"""
    assert ends_well(program(source, peer[1]))[0] == "in\n"


@pytest.mark.parametrize("raised, status", [("sys.exit(7)", 7), ("raise KeyboardInterrupt", -signal.SIGINT)])
def test_exits_raised_in_callbacks_come_out_of_wait(program, peer, raised, status):
    source = f"""{HEAD}
class Client(wscengine.Client):
    def on_open(self, session, response, restarting): session.send("x")
    def on_message(self, session, message): {raised}
with wscengine.Engine(url, Client()) as engine:
    engine.wait()
"""
    process = program(source, peer[1])
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (status, 130 if status < 0 else status)


def test_a_forked_child_is_told_and_the_parent_lives_on(program, peer):
    source = f"""{HEAD}
engine = wscengine.Engine(url)
with engine:
    child = os.fork()
    if child == 0:
        try: engine.send("x")
        except wscengine.ForkedError: say("forked")
        with wscengine.Engine(url) as mine:
            mine.send("child")
            for message in mine:
                say(message)
                break
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine.send("parent")
    for message in engine:
        say(message)
        break
"""
    out, err = ends_well(program(source, peer[1]))
    assert out == "forked\nchild\nparent\n", err


def test_a_start_in_a_forked_child_is_refused_and_leaves_no_thread(program, peer):
    source = f"""{HEAD}
engine = wscengine.Engine(url)
pid = os.fork()
if pid == 0:
    try: engine.start()
    except wscengine.ForkedError: say("refused")
    for thread in threading.enumerate():
        if thread is not threading.main_thread(): thread.join(5)
    say(threading.active_count())
    os._exit(0)
os.waitpid(pid, 0)
"""
    process = program(source, peer[1])
    assert process.communicate(timeout=PATIENCE)[0].split() == ["refused", "1"]


def test_views_outlive_engine_and_parent(program, peer):
    source = f"""{HEAD}
import gc
sent = [b"x" * 20, b"y" * 20_000, b"z" * 500_000]
views = []
with wscengine.Engine(url, memoryviews=True) as engine:
    engine.send_many(sent)
    for view in engine:
        views.append(view)
        if len(views) == len(sent): break
    child = os.fork()
    if child == 0:
        assert views == sent
        views.clear()
        gc.collect()
        say("child")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
del engine
gc.collect()
assert views == sent
views.clear()
say("parent")
"""
    out, err = ends_well(program(source, peer[1]))
    assert out == "child\nparent\n", err


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(program, peer, tmp_path, method):
    script = tmp_path / "main.py"
    script.write_text(f"""{HEAD}
import multiprocessing
def work(url):
    with wscengine.Engine(url) as engine:
        engine.send("worker")
        for message in engine:
            say(message)
            break
if __name__ == "__main__":
    with wscengine.Engine(url) as engine:
        engine.send("first")
        process = multiprocessing.get_context("{method}").Process(target=work, args=(url,))
        process.start()
        process.join()
        assert process.exitcode == 0
""")
    source = f"import runpy, sys; sys.argv = ['main', sys.argv[1]]; exec(open({str(script)!r}).read())"
    if method == "spawn":
        source = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(script)!r}, sys.argv[1]]))"
    assert ends_well(program(source, peer[1]))[0] == "worker\n"


def test_a_running_engine_that_nobody_holds_goes_on_until_the_end(program, peer):
    source = f"""{HEAD}
import gc
class Client(wscengine.Client):
    def on_open(self, session, response, restarting): session.send("x")
    def on_message(self, session, message): say("message")
wscengine.Engine(url, Client()).start()
gc.collect()
time.sleep(0.5)
"""
    assert ends_well(program(source, peer[1]))[0] == "message\n"


def test_import_starts_no_thread(program):
    source = "import os, wscengine; print(len(os.listdir('/proc/self/task')))"
    assert ends_well(program(source))[0] == "1\n"


@pytest.mark.parametrize("order", ["import ssl, wscengine", "import wscengine, ssl"])
def test_ssl_may_be_imported_before_or_after(program, order):
    source = f"""{order}
context = ssl.create_default_context()
try: wscengine.Engine("wss://127.0.0.1:1/").start()
except wscengine.StartError: print("ok")
"""
    assert ends_well(program(source))[0] == "ok\n"
