"""A table as few bytes that a browser can sort and filter.

The bytes are the deflated (zlib, RFC 1950) form of

    uint32 length of the head, the head in UTF-8, the columns one after another,

all little-endian. The head is JSON: `rows`, and for every column its `name`, its `kind` and what
`page.js` needs to read it:

- `words` and `numbers`: `values`, each distinct value once in order of appearance (null where it
  is undefined), and `width` in bytes of the codes that follow, one a row; `filter` where rows can
  be chosen by its value, `missing`, the word for an undefined one;
- `floats`: float32 with 17 bits of mantissa (a relative error of at most 4e-6), all first bytes,
  then all second bytes and so on, which deflates to about half.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

MANTISSA = 17  # bits kept of 23
DISTINCT = 4096  # a column of numbers with more distinct values is no key


def encode(
    table: pd.DataFrame, filters: Collection[str] = (), missing: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a table; see the module.

    Args:
        table: Any table of words and numbers.
        filters: Columns by whose values rows can be chosen.
        missing: Column -> word for an undefined value; nothing is written by default.
    """
    columns, parts = [], []
    for name in table:
        head, content = _column(table[name])
        if name in filters and head["kind"] != "floats":
            head["filter"] = True
        if name in (missing or {}):
            head["missing"] = (missing or {})[name]
        columns.append({"name": str(name), **head})
        parts.append(content)
    head_text = json.dumps({"rows": len(table), "columns": columns}, ensure_ascii=False)
    head_bytes = head_text.encode()
    length = np.array(len(head_bytes), "<u4").tobytes()
    return zlib.compress(b"".join([length, head_bytes, *parts]), 9)


def _column(column: pd.Series) -> tuple[dict[str, Any], bytes]:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and pd.api.types.is_float_dtype(column) and column.nunique() > DISTINCT:
        return {"kind": "floats"}, byte_planes(rounded(column.to_numpy(np.float32)))
    # Float keys (depths, wavelengths) and everything short.
    codes, values = pd.factorize(column, use_na_sentinel=False)
    plain = [_plain(value, numeric) for value in values]
    width = next(n for n in (1, 2, 4) if len(plain) <= 256**n)
    return (
        {"kind": "numbers" if numeric else "words", "values": plain, "width": width},
        codes.astype(f"<u{width}").tobytes(),
    )


def _plain(value: Any, numeric: bool) -> float | int | str | None:
    """A value for JSON; None where it is undefined."""
    if pd.isna(value):
        return None
    if not numeric:
        return str(value)
    number = value.item() if isinstance(value, np.generic) else value
    return number if isinstance(number, int) or np.isfinite(number) else None


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values, rounded to `MANTISSA` bits; NaN and infinities stay."""
    drop = 23 - MANTISSA
    bits = values.astype(np.float32).view(np.uint32)
    near = ((bits + np.uint32(1 << (drop - 1))) >> np.uint32(drop)) << np.uint32(drop)
    return np.where(np.isfinite(values), near, bits).astype(np.uint32).view(np.float32)


def byte_planes(values: np.ndarray) -> bytes:
    """All first bytes of float32 values, then all second bytes, and so on."""
    return np.ascontiguousarray(values.astype("<f4").view(np.uint8).reshape(-1, 4).T).tobytes()
