"""An installed wscengine, as a stranger gets it: `cmake --install` into an empty folder, and nothing of our tree in sight."""
import os
import pathlib
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
HERE = TOP / "tests" / "packaging"


def run(*command, cwd=None, env=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def build_dir():
    path = os.environ.get("WSC_BUILD_DIR")
    assert path, "WSC_BUILD_DIR names the build whose installation is tested (ci/test sets it)"
    return pathlib.Path(path).resolve()


@pytest.fixture(scope="session")
def installed(build_dir, tmp_path_factory):
    """Installed in one place and then moved to another: nothing in it may remember where it was put."""
    first = tmp_path_factory.mktemp("staged") / "first"
    run("cmake", "--install", build_dir, "--prefix", first)
    final = tmp_path_factory.mktemp("moved") / "usr"
    shutil.move(first, final)
    return final


@pytest.fixture(scope="session")
def libdir(installed):
    found = list(installed.rglob("libwscengine.a"))
    assert len(found) == 1, f"libwscengine.a: {found}"
    return found[0].parent
