"""Writes the C source of wscengine._core: usage: build_core.py CDEF OUTPUT"""

import sys
from pathlib import Path

import cffi

cdef, output = sys.argv[1:]
ffi = cffi.FFI()
ffi.cdef(Path(cdef).read_text())
ffi.set_source("wscengine._core", '#include "wscengine.h"', py_limited_api=True)
ffi.emit_c_code(output)
