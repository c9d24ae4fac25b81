"""The Python package from its sdist, in an environment that has nothing else: import, a session, the command-line client, type hints."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from websockets.sync.server import serve

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, wscengine
with wscengine.Engine(sys.argv[1]) as engine:
    engine.send("there and back")
    print(next(iter(engine)), wscengine.__version__)
"""


def run(*words, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=environment, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def echo(connection):
    for message in connection:
        connection.send(message)


def test_from_the_sdist_into_an_empty_environment(tmp_path):
    run(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, ROOT)
    (sdist,) = tmp_path.glob("wscengine-*.tar.gz")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", sdist)
    version = run(python, "-m", "wscengine", "--version", cwd=tmp_path).split()[1]
    assert sdist.name == f"wscengine-{version}.tar.gz"
    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        assert run(python, "-c", SCRIPT, url, cwd=tmp_path) == f"there and back {version}\n"
        assert run(python, "-m", "wscengine", "--exit-on-eof", url, input="", cwd=tmp_path) == ""
        server.shutdown()
        thread.join()
    (package,) = (tmp_path / "venv").glob("lib/python*/site-packages/wscengine")
    assert (package / "py.typed").exists() and sorted(p.suffixes for p in package.glob("_*.so")) == [[".abi3", ".so"]] * 2
