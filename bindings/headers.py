"""Reads the public headers: the compiler preprocesses them, this file splits the result into declarations.

Only what the house style of those headers allows is understood (design rule 5: plain enough for CFFI); anything else is an
error that names the declaration, never a guess."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

WORD = re.compile(r"[A-Za-z_]\w*|\d\w*|[^\s\w]")
QUALIFIERS = {"const", "volatile", "struct", "enum", "unsigned", "signed"}


class HeaderError(Exception):
    pass


@dataclass
class Struct:
    name: str
    fields: list = field(default_factory=list)  # (name, type)


@dataclass
class Headers:
    handles: list = field(default_factory=list)
    structs: list = field(default_factory=list)
    enums: list = field(default_factory=list)  # (name, typedef'd, [(constant, value text)])
    functions: list = field(default_factory=list)  # (name, returns, [parameter types], parameters as written)


def preprocess(include: Path, compiler: str = "cc") -> str:
    """The text of our own headers alone: system headers, comments and attributes are gone, macros are expanded."""
    command = [compiler, "-E", "-std=c11", f"-I{include}", str(include / "wscengine.h")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise HeaderError(f"{' '.join(command)} failed:\n{done.stderr}")
    ours, lines = False, []
    for line in done.stdout.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            ours = marker.group(1).startswith(str(include))
        elif ours and line.strip():
            lines.append(line)
    return re.sub(r"__attribute__\s*\(\(.*?\)\)\)?", "", "\n".join(lines))


def declarations(text: str) -> list:
    """Each declaration as a list of tokens, without its semicolon."""
    found, current, depth = [], [], 0
    for token in WORD.findall(text):
        depth += (token in "{(") - (token in "})")
        if token == ";" and depth == 0:
            found.append(current)
            current = []
        else:
            current.append(token)
    if current:
        raise HeaderError(f"unfinished declaration: {spell(current)}")
    return found


def spell(tokens: list) -> str:
    """Tokens in the house's spelling: `const char *name`, `void (*drop)(void *)`."""
    out = ""
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else ""
        glued = (
            token in ",;)"
            or before in ("", "(", "*")
            or (token == "(" and (before == ")" or tokens[i + 1 : i + 2] != ["*"]))
        )
        if token == "*" and before == "*":
            glued = True
        if token == "*" and before == "(":
            glued = True
        out += token if glued else " " + token
    return out


def split_commas(tokens: list) -> list:
    parts, depth = [[]], 0
    for token in tokens:
        depth += (token in "({") - (token in ")}")
        if token == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [p for p in parts if p]


def is_word(token: str) -> bool:
    return bool(re.match(r"[A-Za-z_]", token))


def unname(tokens: list) -> tuple:
    """(name, tokens of the type): `const char *p` -> p, `const char *`; a bare type has no name."""
    if "(" in tokens:  # a pointer to a function: type (*name)(parameters)
        at = tokens.index("(")
        if tokens[at + 1] != "*" or not is_word(tokens[at + 2]):
            raise HeaderError(f"not understood: {spell(tokens)}")
        inner = split_commas(tokens[at + 5 : -1])
        types = [unname(p)[1] for p in inner]
        flat = []
        for i, t in enumerate(types):
            flat += ([","] if i else []) + t
        return tokens[at + 2], tokens[: at + 2] + [")", "("] + flat + [")"]
    words = [t for t in tokens if is_word(t) and t not in QUALIFIERS]
    if len(words) > 1 and is_word(tokens[-1]):
        return tokens[-1], tokens[:-1]
    return "", tokens


def parse_fields(name: str, tokens: list) -> Struct:
    struct = Struct(name)
    for member in declarations(spell(tokens).replace("}", "")):
        parts = split_commas(member)
        first, first_type = unname(parts[0])
        struct.fields.append((first, spell(first_type)))
        base = [t for t in first_type if t != "*"]
        for part in parts[1:]:
            if not is_word(part[-1]) or any(t != "*" for t in part[:-1]):
                raise HeaderError(f"struct {name}: not understood: {spell(part)}")
            struct.fields.append((part[-1], spell(base + part[:-1])))
    return struct


def parse(text: str) -> Headers:
    h = Headers()
    for d in declarations(text):
        typedef = d[0] == "typedef"
        body = d[1:] if typedef else d
        if body[0] == "struct" and typedef and "{" not in body:
            h.handles.append(body[-1])
        elif body[0] == "struct" and typedef:
            h.structs.append(parse_fields(body[1], body[body.index("{") + 1 : len(body) - 1 - body[::-1].index("}")]))
        elif body[0] == "enum" and "{" in body:
            inside = body[body.index("{") + 1 : body.index("}")]
            constants = [(c[0], spell(c[2:]).replace("- ", "-")) for c in split_commas(inside)]
            h.enums.append((body[1], typedef, constants))
        elif not typedef and "(" in d and d[-1] == ")":
            at = d.index("(")
            parameters = split_commas(d[at + 1 : -1])
            types = [] if parameters == [["void"]] else [spell(unname(p)[1]) for p in parameters]
            h.functions.append((d[at - 1], spell(d[: at - 1]), types, [spell(p) for p in parameters]))
        else:
            raise HeaderError(f"not understood: {spell(d)}")
    return h
