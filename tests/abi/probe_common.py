"""What the two Python probes share: calls with errors, options by the generated table, and the user's part of the feed."""

import json

import abi  # bindings/generated
from _wscengine_probe import ffi, lib

Event, Status = abi.EventType, abi.Status


class WscError(Exception):
    def __init__(self, status, error):
        super().__init__(f"{Status(status).name}: {ffi.string(lib.wsc_error_message(error)).decode()}")
        self.status = status
        lib.wsc_error_unref(error)


def sized(kind, **fields):
    return ffi.new(f"{kind} *", {"struct_size": ffi.sizeof(kind), **fields})


def call(function, *arguments, good=(0,)):
    """A C function whose last parameter is wsc_error **."""
    error = ffi.new("wsc_error **")
    status = function(*arguments, error)
    if status not in good:
        raise WscError(status, error[0])
    lib.wsc_error_unref(error[0])
    return status


def options(host_adapter=False, **keywords):
    made = ffi.gc(lib.wsc_options_new(), lib.wsc_options_free)
    for keyword, value in keywords.items():
        row = abi.OPTIONS_BY_KEYWORD[keyword]
        if row.kind in ("INT", "BOOL"):
            assert lib.wsc_options_set_int(made, row.number, int(value * row.scale)) == 0
        else:
            assert lib.wsc_options_set_str(made, row.number, value.encode()) == 0
    lib.wsc_options_set_int(made, abi.OptionId.HOST_ADAPTER, host_adapter)
    return made


def new_engine(loop, url, **keywords):
    out = ffi.new("wsc_engine **")
    call(lib.wsc_engine_new, url.encode(), ffi.NULL, ffi.NULL, options(**keywords), out)
    assert lib.wsc_loop_add(loop, out[0]) == 0
    return out[0]


def taken(op):
    """Sequence number of the message that a read gave."""
    message = sized("wsc_message")
    assert lib.wsc_op_take_message(op, message) == 0
    seq = json.loads(ffi.buffer(message.data, message.length)[:])["seq"]
    lib.wsc_message_free(message)
    return seq


class Feed:
    """The user's part: what came, and whether anything was missing."""

    def __init__(self):
        self.next, self.count, self.opened, self.stop_at = 1, 0, 0, None

    def see(self, seq):
        assert seq == self.next, f"gap: {seq} came, {self.next} was due"
        self.next, self.count = seq + 1, self.count + 1

    def subscription(self):
        return json.dumps({"from": self.next}).encode()


def shown(what):
    print(f"ok    {what}", flush=True)
