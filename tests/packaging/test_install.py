"""C and C++ programs of an outside project, by CMake package and by pkg-config, shared and static."""
import os
import re
import shutil

import pytest

from conftest import HERE, TOP, run

VERSION = re.search(r'WSC_VERSION_STRING "(.*)"', (TOP / "core/include/wscengine/base.h").read_text(encoding="utf-8"))[1]


def check(program, libdir=None):
    """Runs it; with libdir the loader finds the shared library there, without it must need none."""
    env = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    if libdir:
        env["LD_LIBRARY_PATH"] = str(libdir)
    out = run(program, env=env)
    assert VERSION in out.splitlines()


@pytest.mark.parametrize("kind", ["wscengine", "static"])
def test_find_package(kind, installed, tmp_path):
    shutil.copytree(HERE / "consumer", tmp_path / "src")
    run("cmake", "-S", tmp_path / "src", "-B", tmp_path / "build", f"-DKIND={kind}", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")
    for program in ("consumer_c", "consumer_cxx"):
        check(tmp_path / "build" / program)  # CMake gives the shared one an rpath


def test_find_package_refuses_another_major_version(installed, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(x LANGUAGES C)\nfind_package(wscengine 99 QUIET)\n"
        "if(wscengine_FOUND)\n  message(FATAL_ERROR \"accepted\")\nendif()\n")
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={installed}")


@pytest.mark.parametrize("language, compiler", [("c", "cc"), ("cpp", "c++")])
@pytest.mark.parametrize("package", ["wscengine", "wscengine-static"])
def test_pkg_config(package, language, compiler, libdir, tmp_path):
    env = dict(os.environ, PKG_CONFIG_PATH=str(libdir / "pkgconfig"))
    assert run("pkg-config", "--modversion", package, env=env).strip() == VERSION
    flags = run("pkg-config", "--cflags", "--libs", package, env=env).split()
    program = tmp_path / "consumer"
    run(compiler, HERE / "consumer" / f"consumer.{language}", "-o", program, *flags)
    check(program, libdir if package == "wscengine" else None)


def test_the_tool_finds_its_library(installed):
    assert VERSION in run(installed / "bin" / "wsc", "--version")


def test_manual_and_completions_are_installed(installed):
    for name in ("share/man/man1/wsc.1", "share/bash-completion/completions/wsc", "share/zsh/site-functions/_wsc",
                 "share/fish/vendor_completions.d/wsc.fish"):
        assert "proxy" in (installed / name).read_text()


def test_installed_headers_stand_alone(installed, tmp_path):
    """Each compiles as the only include, as C and as C++, with the warnings a user may have on."""
    for header in sorted((installed / "include").rglob("*.h")):
        name = header.relative_to(installed / "include")
        for compiler, suffix in (("cc", "c"), ("c++", "cpp")):
            source = tmp_path / f"only.{suffix}"
            source.write_text(f"#include <{name}>\nint main(void) {{ return 0; }}\n")
            run(compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{installed / 'include'}", source)
