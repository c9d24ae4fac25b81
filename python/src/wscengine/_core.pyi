"""The CFFI extension: ffi and lib are untyped, what wraps them is typed."""

from typing import Any

CData = Any
ffi: Any
lib: Any
