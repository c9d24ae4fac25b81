"""Only wsc_ symbols are visible, and every function of the public headers is there."""
import re

from conftest import TOP, run


def symbols(text):
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if len(line.split()) >= 3}


def declared():
    text = "".join(p.read_text(encoding="utf-8") for p in (TOP / "core/include").rglob("*.h"))
    return set(re.findall(r"^WSC_API[^;]*?\b(wsc_\w+)\(", text, re.MULTILINE))


def test_shared(libdir):
    seen = symbols(run("nm", "-D", "--defined-only", libdir / "libwscengine.so"))
    assert [s for s in seen if not s.startswith("wsc_")] == []
    assert seen == declared()


def test_static(libdir):
    seen = symbols(run("nm", "-g", "--defined-only", libdir / "libwscengine.a"))
    assert [s for s in seen if not s.startswith("wsc_")] == []
    assert seen == declared()


def test_shared_needs_only_what_it_says(libdir):
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\]", run("readelf", "-d", libdir / "libwscengine.so")))
    allowed = r"(libwslay|libssl|libcrypto|libz|libc|libpthread|ld-linux.*)\.so.*"
    assert [n for n in needed if not re.fullmatch(allowed, n)] == []


def test_soname(libdir):
    assert "[libwscengine.so.0]" in run("readelf", "-d", libdir / "libwscengine.so")
