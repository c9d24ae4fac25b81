import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from peer import Certificates, Program, build_dir  # noqa: E402


@pytest.fixture
def run():
    """Starts a program of the build; what still runs at the end of the test is ended."""
    programs = []

    def start(name, *words, **options):
        programs.append(Program(build_dir() / "bin" / name, *words, **options))
        return programs[-1]

    yield start
    for program in programs:
        program.__exit__()


@pytest.fixture
def wsc(run):
    return lambda *words, **options: run("wsc", *words, **options)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))
