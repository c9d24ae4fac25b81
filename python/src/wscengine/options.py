"""Keyword arguments become options of the C library; which there are, their defaults and limits are in the table of _abi."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._abi import OPTIONS, OPTIONS_BY_KEYWORD, Option
from ._core import ffi, lib
from ._native import NULL, call
from .errors import InvalidError

if TYPE_CHECKING:
    from ._core import CData

__all__ = ["describe"]


def describe() -> str:
    """Every keyword argument: type, default, unit and meaning."""
    lines = []
    for o in OPTIONS:
        if o.keyword:
            default: bool | float | None = None
            if o.kind == "BOOL":
                default = bool(o.default)
            elif o.kind == "INT":
                default = o.default if o.scale == 1 else o.default / o.scale
            lines.append(f"{o.keyword}={default!r}: {o.doc}" + (f" [{o.unit}]" if o.unit else ""))
    return "\n".join(lines)


def _items(option: Option, value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        between = ": " if option.name == "HEADER" else "="
        return [f"{name}{between}{item}" for name, item in value.items()]
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(
            f"{option.keyword} is a list of str{' or a dict' if option.name in ('HEADER', 'COOKIE') else ''}, not {value!r}"
        )
    return value


def _set(made: CData, option: Option, value: Any) -> None:
    """Raises TypeError for a type, says nothing of values: the library judges them all together."""
    if option.kind == "BOOL" or option.kind == "INT":
        if isinstance(value, bool) != (option.kind == "BOOL") or not isinstance(value, (int, float)):
            raise TypeError(f"{option.keyword} is {'a bool' if option.kind == 'BOOL' else 'a number'}, not {value!r}")
        scaled = value * option.scale
        if scaled != scaled or abs(scaled) >= 2**63 or (option.scale == 1 and scaled != int(scaled)):
            raise TypeError(f"{option.keyword} is no number that fits: {value!r}")
        number = round(scaled) or (scaled > 0) - (scaled < 0)  # only 0 becomes 0, which would mean "off"
        lib.wsc_options_set_int(made, option.number, number)
        return
    for item in _items(option, value) if option.kind == "LIST" else [value]:
        if not isinstance(item, (str, os.PathLike)):
            raise TypeError(
                f"{option.keyword} is {'a list of str' if option.kind == 'LIST' else 'a str'}, not {value!r}"
            )
        encoded = os.fsencode(item) if isinstance(item, os.PathLike) else item.encode("utf-8", "surrogatepass")
        if b"\0" in encoded:
            raise InvalidError(f"{option.keyword} has a NUL character: {item!r}")
        if lib.wsc_options_set_str(made, option.number, encoded) == lib.WSC_ERR_NOMEM:
            raise MemoryError


def make_options(keywords: Mapping[str, Any], **internal: int) -> CData:
    """A wsc_options of the keyword arguments, judged: every violation is in the one exception. internal: by the C name."""
    made = ffi.gc(lib.wsc_options_new(), lib.wsc_options_free)
    if made == NULL:
        raise MemoryError
    faults: list[str] = []
    for keyword, value in keywords.items():
        option = OPTIONS_BY_KEYWORD.get(keyword)
        if option is None:
            faults.append(f"there is no option {keyword!r}")
        elif value is not None:
            try:
                _set(made, option, value)
            except TypeError as error:
                faults.append(str(error))
    if faults:
        raise TypeError("\n".join(faults))
    for name, number in internal.items():
        lib.wsc_options_set_int(made, getattr(lib, f"WSC_OPT_{name}"), number)
    try:
        call(lib.wsc_options_validate, made)
    except InvalidError as error:
        raise InvalidError(_in_python(str(error))) from None
    return made


def _in_python(said: str) -> str:
    """The library names options as C does."""
    return re.sub(r"[A-Z][A-Z_]+", lambda word: _KEYWORDS.get(word[0], word[0]), said)


_KEYWORDS = {o.name: o.keyword for o in OPTIONS if o.keyword}
