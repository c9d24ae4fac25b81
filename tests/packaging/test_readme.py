"""README and DESIGN show what is really there."""
import re

from conftest import TOP


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (TOP / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_c_program_is_the_example_byte_by_byte():
    example = (TOP / "core/examples/feed.c").read_text(encoding="utf-8")
    assert example in blocks("c")
    assert len(example.splitlines()) < 40


def test_every_wsc_option_shown_is_in_the_tables():
    """Flags come from the option table or from the tool's own source, never from wishful writing."""
    known = (TOP / "core/include/wscengine/options.h").read_text(encoding="utf-8")
    known += "".join(p.read_text(encoding="utf-8") for p in (TOP / "core/tools").glob("*.c"))
    lines = [line for block in blocks("sh") for line in block.splitlines() if re.match(r"(\S+\| *)?wsc ", line)]
    assert lines, "README shows no wsc line"
    for line in lines:
        for flag in re.findall(r"(--[a-z-]+)", line.split("#")[0]):
            assert f'"{flag}"' in known or f"{flag}" in known, f"{flag} in: {line}"


def test_links_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "core/DESIGN.md"):
        page = TOP / name
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{name}: {target}"


def test_the_design_names_every_room():
    """A row of section 3's table for each source file; `engine*` stands for engine.c, engine_start.c, ..."""
    text = (TOP / "core/DESIGN.md").read_text(encoding="utf-8")
    table = text[text.index("| layer | room"):text.index("## 4.")]
    rooms = [name.removesuffix(".h") for row in table.splitlines()[2:] if row.startswith("|")
             for name in re.findall(r"`([\w.*]+)`", row.split("|")[2])]
    files = {p.stem for p in (TOP / "core/src").glob("*.[ch]")}
    for name in files:
        assert any(name == room or room.endswith("*") and name.startswith(room[:-1]) for room in rooms), f"{name} is not in DESIGN"
    for room in rooms:
        assert any(name == room or room.endswith("*") and name.startswith(room[:-1]) for name in files), f"{room} is not in core/src"
