"""The client's half of a scenario: a driver process, its commands and events, and the steps that judge them."""

import collections
import fnmatch
import json
import subprocess
import threading
import time

from script import Failed, find, mismatch, parse, parse_step

BOUND = 5.0  # seconds an event may take unless the step says `within=`
COMMAND = 15.0  # seconds a command's result may take
CALLBACKS = (
    "on_open",
    "on_message",
    "on_read_error",
    "on_close",
    "on_close_error",
    "on_restart_error",
    "before_attempt",
    "on_stopped",
)
# Positional arguments of commands, by name; the rest goes as key=value.
POSITIONS = {
    "write": ("type", "text"),
    "latch": ("name",),
    "release": ("name",),
    "cancel": ("name",),
    "keep": ("name",),
    "reply": ("code", "reason"),
    "close": ("code", "reason"),
}
LISTS = {"write_many": "texts"}
NUMBERS = {"code", "timeout_ms", "size", "count", "delay_ms", "retry_delay_ms", "numbered"}
COMMANDS = """engine free start stop wait exit restart resume pause state is_started session stats write write_many echo
read ping close cork uncork keep forget connect disconnect refuse reply attempt latch release cancel
validate close_codes leaks spans null_handles fork_check""".split()
CONTROL = ("release", "cancel", "leaks")  # never queued behind a command that blocks


def command_of(step):
    """A step -> a command of the line protocol."""
    command = {"cmd": step.verb}
    if step.verb in LISTS:
        command[LISTS[step.verb]] = step.args
    else:
        for name, value in zip(POSITIONS.get(step.verb, ()), step.args, strict=False):
            command[name] = value
    for key, _, value in step.pairs:
        if key != "within":
            command[key] = value
    if "hex" in command or "size" in command:
        command.pop("text", None)
    return {k: int(v) if k in NUMBERS else v for k, v in command.items()}


def options_of(step):
    """The pairs in capitals; `\\r` and `\\n` in a value stand for the bytes."""
    values = {k: v.replace("\\r", "\r").replace("\\n", "\n") for k, _, v in step.pairs if k.isupper()}
    return {k: int(v) if v.lstrip("-").isdigit() else v for k, v in values.items()}


def rules_of(lines):
    """`on_open 2: write text hi; exit` -> the rules of the `engine` command. The first rule that fits is played."""
    rules = {}
    for line in lines:
        head, _, steps = line.partition(":")
        words = parse_step(head)
        rule = {"do": [command_of(parse_step(s)) for s in steps.split(";") if s.strip()]}
        if words.args and words.args[0].isdigit():
            rule["call"] = int(words.args[0])
        if words.get("text") is not None:
            rule["text"] = words.get("text")
        rules.setdefault(words.verb, []).append(rule)
    return rules


def flat_span(event):
    """A `span` event with its attributes, and those of its events, beside its name: `websocket.message.size=5`."""
    flat = {k: v for k, v in event.items() if k not in ("attributes", "events")}
    for inner in event["events"]:
        flat |= {k: v for k, v in inner.items() if k != "name"}
    return flat | event["attributes"] | {"events": [inner["name"] for inner in event["events"]]}


class Client:
    def __init__(self, run):
        self.run, self.scenario, self.slack = run, run.scenario, run.args.slack
        self.process = None
        self.changed = threading.Condition()
        self.events, self.story, self.actions = (
            [],
            collections.deque(),
            [],
        )  # all; callbacks not yet expected; actions likewise
        self.results, self.pending = {}, collections.defaultdict(collections.deque)
        self.spans = []  # not yet expected
        self.next_id, self.closed, self.marked = 1, False, time.monotonic()
        self.baseline = None
        self.ignore = set(self.scenario.get("ignore", ()))

    # ---- the driver ----

    def begin(self, driver):
        """Starts it; -> what the scenario needs and this driver has not."""
        self.process = subprocess.Popen(
            driver,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
        )
        for target in (self.read_events, self.read_errors):
            threading.Thread(target=target, daemon=True).start()
        hello = self.until(
            lambda: next((e for e in self.events if e["event"] == "hello"), None), 10, "hello of the driver"
        )
        return sorted(set(self.scenario.get("needs", ())) - set(hello["features"]))

    def read_errors(self):
        for line in self.process.stderr:
            self.run.trace.add("stderr", line.rstrip())

    def read_events(self):
        for line in self.process.stdout:
            self.run.trace.add("client", line.rstrip())
            try:
                event = json.loads(line)
            except ValueError:
                self.run.fail(f"the driver's line is no JSON: {line!r}")
                break
            with self.changed:
                self.sort(event)
                self.changed.notify_all()
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def sort(self, event):
        self.events.append(event)
        kind = event["event"]
        if kind == "result":
            event["arrived"] = time.monotonic()
            self.results[event["id"]] = event
        elif kind == "action":
            self.actions.append(event)
        elif kind == "span":
            self.spans.append(flat_span(event))
        elif kind in CALLBACKS and kind not in self.ignore:
            self.story.append(event)

    def until(self, ready, seconds, what):
        """Waits for ready() to give something that is not None."""
        end = time.monotonic() + seconds * self.slack
        with self.changed:
            while True:
                got = ready()
                if got is not None:
                    return got
                if self.run.failure:
                    raise Failed("halted")
                if self.closed:
                    raise Failed(f"the driver ended while waiting for: {what}")
                left = end - time.monotonic()
                if left <= 0:
                    raise Failed(f"did not come in {seconds * self.slack:g} s: {what}")
                self.changed.wait(min(left, 0.2))

    def send(self, command, lane="main"):
        command = {"id": self.next_id, "lane": lane, **command}
        self.next_id += 1
        self.run.trace.add("runner", json.dumps(command, ensure_ascii=False))
        try:
            self.process.stdin.write(json.dumps(command, ensure_ascii=False) + "\n")
            self.process.stdin.flush()
        except OSError as e:
            raise Failed(f"the driver is gone: {e}") from e
        return command["id"], time.monotonic()

    def result(self, number, sent, what, seconds=COMMAND):
        event = self.until(lambda: self.results.get(number), seconds, f"result of {what}")
        event["took"] = event["arrived"] - sent
        return event

    def call(self, command, lane="main"):
        return self.result(*self.send(command, lane), command["cmd"])

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    # ---- one scenario ----

    def engine_command(self, url=None, options=None):
        from run import BASELINE

        return {
            "cmd": "engine",
            "url": self.run.url if url is None else url,
            "options": BASELINE | self.scenario.get("options", {}) | (options or {}),
            "on": rules_of(self.scenario.get("on", ())),
            "trace": self.scenario.get("trace", False),
        }

    def play(self):
        steps = parse(self.scenario["client"])
        if not steps or steps[0].verb not in ("engine", "no_engine", "connect"):
            self.check(self.call(self.engine_command()), "OK", (), "engine")
        self.run_steps(steps)

    def warm_up(self):
        """A first engine that fails to start: what the library keeps for the life of the process is no leak."""
        self.call({"cmd": "engine", "url": "ws://127.0.0.1:1/", "options": {}, "on": {}})
        self.call({"cmd": "start"})
        self.call({"cmd": "free"})
        self.baseline = self.settled(None)
        with self.changed:
            self.story.clear()
            self.events[:] = [e for e in self.events if e["event"] not in (*CALLBACKS, "leave")]

    def settled(self, most):
        """Leak counters once they are at most `most`, or stand still."""
        end, last, same = time.monotonic() + 5 * self.slack, None, 0
        while True:
            now = self.call({"cmd": "leaks"}, "control")
            now = (now["threads"], now["fds"])
            same = same + 1 if now == last else 0
            if most and now[0] <= most[0] and now[1] <= most[1] or not most and same >= 2 or time.monotonic() > end:
                return now
            last = now
            time.sleep(0.02)

    def end(self):
        """What must hold after every scenario: nothing unexpected happened, nothing is left, the driver ends well."""
        with self.changed:
            left = list(self.story)
        if left:
            raise Failed(f"events nobody expected: {left[:3]}")
        bad = [a for a in self.actions if a["status"] != "OK" and not a.get("expected")]
        if bad:
            raise Failed(f"a callback's step failed: {bad[0]}")
        waiting = [lane for lane, queue in self.pending.items() if queue]
        if waiting:
            raise Failed(f"commands without an expected result in lanes {waiting}")
        self.call({"cmd": "forget"})
        self.call({"cmd": "disconnect"})
        self.call({"cmd": "free"})
        after = self.settled(self.baseline)
        if after[0] > self.baseline[0] or after[1] > self.baseline[1]:
            raise Failed(f"left behind: (threads, fds) were {self.baseline} before the engine and are {after} after it")
        self.send({"cmd": "quit"})
        try:
            code = self.process.wait(10 * self.slack)
        except subprocess.TimeoutExpired:
            raise Failed("the driver does not end") from None
        if code:
            raise Failed(f"the driver's exit code is {code}")

    # ---- steps ----

    def run_steps(self, steps):
        for step in steps:
            self.run.trace.add("runner", f"> {step.line}")
            method = getattr(self, "do_" + step.verb, None)
            try:
                if method:
                    method(step)
                else:
                    self.do_command(step)
            except Failed as e:
                raise Failed(f"{e} (at: {step.line})") from None

    def check(self, event, status, pairs, what):
        if not fnmatch.fnmatchcase(event["status"], status):
            raise Failed(f"{what} gave {event['status']}, not {status}: {find(event, 'error.message') or ''}")
        wrong = mismatch(
            event,
            [(k, "<=", str(float(v) * self.slack)) if k == "took" and o == "<=" else (k, o, v) for k, o, v in pairs],
        )
        if wrong:
            raise Failed(f"{what}: {wrong}")

    def do_command(self, step):
        lane = step.lane or ("control" if step.verb in CONTROL else "main")
        if step.verb == "start":
            with self.changed:
                self.events.append(
                    {"event": "started", "seq": self.events[-1]["seq"]}
                )  # for invariants: callbacks may come again
        number, sent = self.send(command_of(step), lane)
        if step.lane and not step.status:
            self.pending[step.lane].append((number, sent, step.verb))
            return
        self.check(self.result(number, sent, step.verb), step.status or "OK", step.results, step.verb)

    def do_result(self, step):
        """@lane result -> STATUS ...: of the oldest command that was sent into this lane without waiting for it."""
        if not self.pending[step.lane]:
            raise Failed("no command is under way in this lane")
        number, sent, verb = self.pending[step.lane].popleft()
        self.check(self.result(number, sent, verb), step.status or "OK", step.results, verb)

    def do_result_any(self, step):
        """@lane result_any: the command has come back; how is not this scenario's business."""
        number, sent, verb = self.pending[step.lane].popleft()
        self.result(number, sent, verb)

    def do_engine(self, step):
        """engine [url=...] [OPTION=value ...]: also where the scenario judges what new says."""
        options = options_of(step)
        self.check(
            self.call(self.engine_command(step.get("url"), options)), step.status or "OK", step.results, "engine"
        )

    def do_no_engine(self, step):
        pass

    def do_connect(self, step):
        self.do_options_command(step, {"url": step.get("url", self.run.url)})

    def do_validate(self, step):
        self.do_options_command(step, {})

    def do_options_command(self, step, command):
        command |= {"cmd": step.verb, "options": options_of(step)} | (
            {"timeout_ms": int(step.get("timeout_ms"))} if step.get("timeout_ms") else {}
        )
        lane = step.lane or "main"
        self.check(self.call(command, lane), step.status or "OK", step.results, step.verb)

    def do_expect(self, step):
        """The next callback that no step has expected yet must be this one."""
        within = step.number("within", BOUND)
        event = self.until(lambda: self.story.popleft() if self.story else None, within, step.line)
        pairs = [p for p in step.pairs if p[0] != "within"]
        wrong = f"it is {event['event']}" if event["event"] != step.args[0] else mismatch(event, pairs)
        if wrong:
            raise Failed(f"the next event is not as expected: {wrong}: {event}")

    def do_unordered(self, step):
        """The next callbacks are these, in any order: one `expect` each."""
        wanted = list(step.block)
        while wanted:
            event = self.until(
                lambda: self.story.popleft() if self.story else None, BOUND, f"{len(wanted)} more of a block"
            )
            fit = next(
                (
                    w
                    for w in wanted
                    if w.args[0] == event["event"] and not mismatch(event, [p for p in w.pairs if p[0] != "within"])
                ),
                None,
            )
            if not fit:
                raise Failed(f"none of the expected is this: {event}")
            wanted.remove(fit)

    def do_repeat(self, step):
        for _ in range(int(step.args[0])):
            self.run_steps(step.block)

    def do_numbered(self, step):
        """numbered N, or numbered until=WORD: messages whose first word counts from 0; several readers: any_order."""
        most, word, seen = int(step.args[0]) if step.args and step.args[0].isdigit() else None, step.get("until"), []
        while len(seen) != most:
            event = self.until(
                lambda: self.story.popleft() if self.story else None,
                step.number("within", BOUND),
                f"message {len(seen)}",
            )
            text = (event.get("text") or event.get("head") or "").split(" ")
            if event["event"] == "on_message" and word and text[0] == word:
                if int(text[1]) != len(seen):
                    raise Failed(f"{text[1]} messages were sent, {len(seen)} came")
                break
            if event["event"] != "on_message" or not text[0].isdigit():
                raise Failed(f"wanted message {len(seen)}, got {event}")
            seen.append(int(text[0]))
        wanted = sorted(seen) if "any_order" in step.args else seen
        if wanted != list(range(len(seen))):
            raise Failed(f"messages are not in order without gaps: {seen[:50]}")

    def do_action(self, step):
        """A step of a callback's script has come out so; the oldest of that verb nobody has asked for."""

        def found():
            return next((a for a in self.actions if a["cmd"] == step.args[0] and not a.get("expected")), None)

        event = self.until(found, step.number("within", BOUND), step.line)
        event["expected"] = True
        self.check(event, step.status or "OK", step.results, step.args[0])

    def do_span(self, step):
        """span NAME key=value ...: the oldest span of that name which no step has asked for has ended so."""

        def found():
            return next((s for s in self.spans if s["name"] == step.args[0]), None)

        span = self.until(found, step.number("within", BOUND), step.line)
        self.spans.remove(span)
        if wrong := mismatch(span, [p for p in step.pairs if p[0] != "within"]):
            raise Failed(f"the span is not as expected: {wrong}: {span}")

    def do_no_more_spans(self, step):
        """Every span has ended, and a step has asked for each."""
        self.check(self.call({"cmd": "spans"}, "control"), "OK", [("open", "=", "0")], "spans")
        if self.spans:
            raise Failed(f"spans nobody expected: {[(s['name'], s['parent']) for s in self.spans]}")

    def do_leave(self, step):
        """A callback has returned."""

        def found():
            return next(
                (
                    e
                    for e in self.events
                    if e["event"] == "leave" and e["of"] == step.args[0] and not mismatch(e, step.pairs)
                ),
                None,
            )

        self.until(found, BOUND, step.line)

    def do_not_left(self, step):
        """A callback has not returned."""
        with self.changed:
            if any(
                e["event"] == "leave" and e["of"] == step.args[0] and not mismatch(e, step.pairs) for e in self.events
            ):
                raise Failed("it has returned")

    def do_no_event(self, step):
        end = time.monotonic() + float(step.args[0])
        while time.monotonic() < end and not self.story:
            time.sleep(0.01)
        if self.story:
            raise Failed(f"an event came: {self.story[0]}")

    def do_pending(self, step):
        """@lane pending S: its oldest command has not come back after so many seconds."""
        number = self.pending[step.lane][0][0]
        end = time.monotonic() + float(step.args[0])
        while time.monotonic() < end:
            if number in self.results:
                raise Failed(f"it has come back: {self.results[number]}")
            time.sleep(0.01)

    def do_mark(self, step):
        self.marked = time.monotonic()

    def do_since(self, step):
        low, high = step.args[0].split("..", 1)
        past = time.monotonic() - self.marked
        if not float(low) <= past <= float(high) * self.slack:
            raise Failed(f"{past:.3f} s have passed since the mark")

    def do_sleep(self, step):
        time.sleep(float(step.args[0]))

    def do_signal(self, step):
        self.run.signals.setdefault(step.args[0], threading.Event()).set()

    def do_await(self, step):
        event = self.run.signals.setdefault(step.args[0], threading.Event())
        end = time.monotonic() + step.number("within", 10) * self.slack
        while not event.wait(0.05):
            if self.run.failure or time.monotonic() > end:
                raise Failed(f"signal {step.args[0]} did not come")
