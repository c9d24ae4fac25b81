"""What wsc says about itself: help, versions, counters, log lines, and what it says to wrong usage."""
import re
import shutil
import subprocess

import pytest
from peer import Server, free_port


def echoes(session):
    for message in session.connection:
        session.send(message)


def says_x(session):
    session.send("x")
    session.read_on()


def test_stats_at_the_end(wsc):
    with Server(echoes) as server:
        program = wsc("--stats", "--count", 2, server.url)
        program.type(b"abc\nde\n")
        assert program.status() == 0
        assert "received 2 messages, 5 bytes; sent 2 messages, 5 bytes" in program.errors
        assert "1 session, 0 reconnects" in program.errors
        assert "RTT " in program.errors and " ms" in program.errors


def test_log_lines_on_request(wsc):
    with Server(says_x) as server:
        program = wsc("-v", "--count", 1, server.url)
        assert program.status() == 0
        assert program.rest() == b"x\n"
        lines = program.errors.splitlines()
        assert lines and all(line.startswith("wsc: ") for line in lines)
        more = wsc("-vv", "--count", 1, server.url)
        assert more.status() == 0
        assert len(more.errors.splitlines()) >= len(lines)


def test_version_and_help(wsc):
    program = wsc("--version")
    assert program.status() == 0
    words = program.rest().decode()
    assert words.startswith("wsc 0.") and "OpenSSL 3" in words and "wslay" in words
    program = wsc("--help")
    assert program.status() == 0
    words = program.rest().decode()
    for flag in ("--header", "--subprotocol", "--ca", "--cert", "--key", "--insecure", "--count N", "--connect-timeout S", "--timeout S",
                 "--ping-interval S", "--ping-timeout S", "--no-reconnect", "--exit-on-eof", "--binary", "--json", "--stats",
                 "-v", "--version", "(default 20)"):
        assert flag in words, flag


def printed(wsc, *words):
    program = wsc(*words)
    assert program.status() == 0
    return program.rest().decode()


def test_manual_and_completions_know_every_option(wsc, tmp_path):
    """All of them come from one table; bash is asked for real, the manual page is judged by groff where there is one."""
    flags = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", printed(wsc, "--help"), re.M))
    assert len(flags) > 30
    manual = printed(wsc, "--manual").replace("\\-", "-")
    assert [f for f in flags if f"\\fB{f}\\fR" not in manual] == []
    if shutil.which("groff"):
        judged = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=printed(wsc, "--manual"), text=True, capture_output=True)
        assert judged.returncode == 0 and judged.stderr == ""
    bash = tmp_path / "wsc.bash"
    bash.write_text(printed(wsc, "--completion", "bash"))
    ask = f"source {bash}; COMP_WORDS=(wsc --); COMP_CWORD=1; _wsc; echo ${{COMPREPLY[@]}}"
    assert flags <= set(subprocess.run(["bash", "-c", ask], text=True, capture_output=True, check=True).stdout.split())
    ask = f"source {bash}; COMP_WORDS=(wsc --count 1); COMP_CWORD=2; _wsc; echo [${{COMPREPLY[@]}}]"
    assert subprocess.run(["bash", "-c", ask], text=True, capture_output=True, check=True).stdout == "[]\n"
    zsh, fish = printed(wsc, "--completion", "zsh"), printed(wsc, "--completion", "fish")
    assert [f for f in flags if f"{f}[" not in zsh and f"{f}=[" not in zsh] == []
    assert [f for f in flags if f" -l {f[2:]} " not in fish] == []
    assert wsc("--completion", "tcsh").status() == 2


@pytest.mark.parametrize("words, complaint", [
    ([], "URL"),
    (["ws://a/", "ws://b/"], "one URL"),
    (["--frobnicate", "ws://a/"], "--frobnicate"),
    (["-x", "ws://a/"], "-x"),
    (["ws://a/", "--count"], "--count: needs a value"),
    (["--count", "0", "ws://a/"], "--count 0"),
    (["--count", "many", "ws://a/"], "--count many"),
    (["--count", "1x", "ws://a/"], "--count 1x"),
    (["--timeout", "-1", "ws://a/"], "--timeout -1"),
    (["--timeout", "nan", "ws://a/"], "--timeout nan"),
    (["--json=yes", "ws://a/"], "--json: takes no value"),
    (["--ping-interval", "-1", "ws://a/"], "--ping-interval -1"),
    (["--ping-timeout", "0", "ws://a/"], "--ping-timeout 0: must be a time of 0.001 to 86400 seconds"),
    (["--ping-interval", "-0.0001", "ws://a/"], "--ping-interval -0.0001: must be a time of 0 to 86400 seconds"),
    (["--connect-timeout", "1e9", "ws://a/"], "--connect-timeout 1e9"),
    (["--ca", "/no/such/file", "wss://a/"], "--ca /no/such/file: No such file"),
    (["--header", "no colon", "ws://a/"], "header"),
    (["--header", "A: b\r\nC: d", "ws://a/"], "header"),
    (["http://a/"], "http"),
    (["a"], "a"),
    (["ws://a:99999/"], "99999"),
    (["ws://"], "host"),
])
def test_wrong_usage_ends_with_2_and_names_the_word(wsc, words, complaint):
    program = wsc(*words, stdin=None)
    assert program.status() == 2, program.errors
    assert program.errors.startswith("wsc: ")
    assert complaint.lower() in program.errors.lower()
    assert program.rest() == b""


def test_a_password_is_never_shown(wsc):
    program = wsc("-vv", "--no-reconnect", f"ws://user:hunter2@127.0.0.1:{free_port()}/")
    assert program.status() == 1
    assert "hunter2" not in program.errors
    assert wsc("http://user:hunter2@127.0.0.1/").status() == 2
