"""The Python driver's callbacks: each becomes an event as it begins and another as it ends, and plays its rule between the two."""

import inspect
import threading

import wscengine
from driver_python_events import close_fields, emit, error_fields, message_fields, response_fields


def driven(coroutine):
    """A coroutine that never waits for a loop, to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits")


class Refused(Exception):
    pass


class Scope:
    """What a command is about: inside a callback its engine, session, message …"""

    def __init__(self, engine=None, session=None, message=None, attempt=None):
        self.engine, self.session, self.message, self.attempt = engine, session, message, attempt
        self.refuse, self.reply = False, None


class Script(wscengine.Client):
    """rules: of the `engine` command. carry_out: of a command and a scope."""

    def __init__(self, rules, carry_out):
        self.rules, self.carry_out, self.engine = rules, carry_out, None
        self.calls, self.lock = {}, threading.Lock()
        if "before_attempt" in rules:
            self.before_attempt = self.ask

    async def play(self, of, scope, **fields):
        with self.lock:
            call = self.calls[of] = self.calls.get(of, 0) + 1
        where = {"session": scope.session.id, "epoch": scope.session.epoch} if scope.session else {}
        emit({"event": of, "call": call, **where, **fields})
        for rule in self.rules.get(of, ()):
            if rule.get("call", 0) not in (0, call) or ("text" in rule and rule["text"] != scope.message):
                continue
            for step in rule["do"]:
                result = await self.carry_out(step, scope)
                emit({"event": "action", "of": of, "call": call, "cmd": step["cmd"], **result})
            break
        leave = {"epoch": scope.session.epoch} if scope.session else {}
        emit({"event": "leave", "of": of, "call": call, **leave})
        return scope

    async def on_open(self, session, response, restarting):
        shown = response_fields(response)
        scope = await self.play(
            "on_open",
            Scope(self.engine, session),
            restarting=restarting,
            subprotocol=response.subprotocol if response else "",
            response=shown,
        )
        if scope.refuse:
            raise Refused("refused")

    async def on_message(self, session, message):
        scope = Scope(self.engine, session, message)
        await self.play("on_message", scope, **message_fields(message), stamped=session.received_ns > 0)

    async def on_read_error(self, session, error):
        await self.play("on_read_error", Scope(self.engine, session), error=error_fields(error))

    async def on_close(self, session, close):
        scope = await self.play("on_close", Scope(self.engine, session), **close_fields(close))
        return scope.reply

    async def on_close_error(self, session, error):
        await self.play("on_close_error", Scope(self.engine, session), error=error_fields(error))

    async def on_restart_error(self, engine, error, retry, last):
        await self.play("on_restart_error", Scope(engine), retry=retry, last=last, error=error_fields(error))

    async def ask(self, engine, attempt):
        scope = Scope(engine, attempt=attempt)
        last = error_fields(attempt.last_error)
        await self.play("before_attempt", scope, number=attempt.number, url=attempt.url, last_error=last)
        return not scope.refuse

    async def on_stopped(self, engine, reason, error):
        await self.play(
            "on_stopped", Scope(engine), reason=reason.name.lower().removeprefix("by_"), error=error_fields(error)
        )


class ThreadedScript(Script):
    """The same for callbacks that are plain functions."""

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not inspect.iscoroutinefunction(found) or name in ("play", "carry_out"):
            return found
        return lambda *arguments: driven(found(*arguments))
