"""Writes the C source of wscengine._core: usage: build_core.py CDEF OUTPUT"""

import sys
from pathlib import Path

import cffi

cdef, output = sys.argv[1:]
ffi = cffi.FFI()
ffi.cdef(Path(cdef).read_text())
ffi.cdef(
    """extern "Python" {
    void *wscengine_span_start(void *, void *, const char *, int, int64_t, const wsc_attribute *, size_t);
    void wscengine_span_event(void *, void *, const char *, int64_t, const wsc_attribute *, size_t);
    void wscengine_span_attributes(void *, void *, const wsc_attribute *, size_t);
    void wscengine_span_end(void *, void *, int64_t, int, const wsc_error *);
}"""
)  # wscengine.otel
ffi.set_source("wscengine._core", '#include "wscengine.h"', py_limited_api=True)
ffi.emit_c_code(output)
