"""WebSocket client engine: connects, calls back, notices a lost connection, reconnects, stops.

    import wscengine

    class Feed(wscengine.Client):
        def on_open(self, session, response, restarting):
            session.send('{"op": "subscribe"}')

        def on_message(self, session, message):
            print(message)

    with wscengine.Engine("wss://feed.example/", Feed(), ping_interval=10) as engine:
        engine.wait()

`wscengine.Engine` for threads, `wscengine.errors` for what is raised, `wscengine.options.describe()` for the options."""

import sysconfig

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise ImportError("wscengine: free-threaded builds of Python are not supported yet; use a build with the GIL")

from . import errors, options
from ._abi import CloseCode, GiveUp, Initiator, LogLevel, State, StopReason, Timer
from ._base import Stats
from ._core import lib as _lib
from ._native import text as _text
from .cancellation import Cancellation
from .client import Client
from .connection import Connection
from .engine import Engine, run
from .errors import *  # noqa: F403
from .session import Attempt, Close, Message, Response, Session

__version__ = _text(_lib.wsc_version())
__all__ = [
    "Attempt",
    "Cancellation",
    "Client",
    "Close",
    "CloseCode",
    "Connection",
    "Engine",
    "GiveUp",
    "Initiator",
    "LogLevel",
    "Message",
    "Response",
    "Session",
    "State",
    "Stats",
    "StopReason",
    "Timer",
    "errors",
    "options",
    "run",
    *errors.__all__,
]
