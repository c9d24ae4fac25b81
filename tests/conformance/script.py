"""The little language of the scenario files: one step a line, `verb argument ... key=value ... -> STATUS key=value`.

Shared by the server's and the client's scripts. `repeat N` and `unordered` open a block that `end` closes. Quotes as
in a shell, `#` begins a comment."""

import re
import shlex
from dataclasses import dataclass, field

# key=value, key!=value, key~part, key>=number, key<=number, key=low..high
PAIR = re.compile(r"([A-Za-z_][\w.-]*)(>=|<=|!=|~|=)(.*)", re.S)
BLOCKS = ("repeat", "unordered")


class Failed(AssertionError):
    """A scenario was not met; the text says what was wanted and what came."""


@dataclass
class Step:
    line: str
    verb: str
    args: list = field(default_factory=list)
    pairs: list = field(default_factory=list)  # (key, operator, value)
    lane: str = ""
    status: str = ""  # what stands behind the arrow
    results: list = field(default_factory=list)  # the pairs behind it
    block: list = field(default_factory=list)

    def get(self, key, otherwise=None):
        return next((v for k, _, v in self.pairs if k == key), otherwise)

    def all(self, key):
        return [v for k, _, v in self.pairs if k == key]

    def number(self, key, otherwise):
        return float(self.get(key, otherwise))

    def arg(self, index, otherwise=""):
        return self.args[index] if index < len(self.args) else otherwise


def split(words):
    """Words -> (positional arguments, pairs)."""
    args, pairs = [], []
    for word in words:
        m = PAIR.fullmatch(word)
        if m:
            pairs.append(m.groups())
        else:
            args.append(word)
    return args, pairs


def parse_step(line):
    words = shlex.split(line, comments=True)
    lane = words.pop(0)[1:] if words[0].startswith("@") else ""
    step = Step(line.strip(), words[0], lane=lane)
    rest = words[1:]
    if "->" in rest:
        at = rest.index("->")
        step.status = rest[at + 1]
        _, step.results = split(rest[at + 2 :])
        rest = rest[:at]
    step.args, step.pairs = split(rest)
    return step


def parse(text):
    """A script -> its steps, blocks nested."""
    stack = [[]]
    for line in text.splitlines():
        if not shlex.split(line, comments=True):
            continue
        step = parse_step(line)
        if step.verb == "end":
            stack.pop()
            continue
        stack[-1].append(step)
        if step.verb in BLOCKS:
            stack.append(step.block)
    if len(stack) != 1:
        raise ValueError("a block is not closed by `end`, or closed twice")
    return stack[0]


def shown(value):
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def find(event, key):
    """`error.chain` looks into nested objects; header names are matched without case. Lists look like `a,b`."""
    if key in event:
        value = event[key]
        return ",".join(map(shown, value)) if isinstance(value, list) else value
    head, dot, tail = key.partition(".")
    for name, value in event.items():
        if name.lower() == head.lower():
            if not dot:
                return value
            return find(value, tail) if isinstance(value, dict) else None
    return None


def mismatch(event, pairs):
    """The first pair an event does not fit, in words; "" when it fits."""
    for key, operator, wanted in pairs:
        got = shown(find(event, key))
        if operator == "~":
            good = wanted.lower() in got.lower()
        elif operator in (">=", "<="):
            try:
                good = float(got) >= float(wanted) if operator == ">=" else float(got) <= float(wanted)
            except ValueError:
                good = False
        elif re.fullmatch(r"-?[\d.]+?\.\.-?[\d.]+", wanted):
            low, high = wanted.split("..", 1)
            try:
                good = float(low) <= float(got) <= float(high)
            except ValueError:
                good = False
        else:
            good = (got == wanted) == (operator == "=")
        if not good:
            return f"{key}{operator}{wanted}, but it is {got!r}"
    return ""
