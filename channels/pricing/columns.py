"""Arguments of array functions: numbers and arrays brought to one shape, and cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from channels.errors import InvalidValueError
from channels.pricing.array_mills import CHUNK, Floats
from channels.pricing.kinds import Kind

__all__ = [
    "Column",
    "Kinds",
    "columns",
    "cut",
    "cut_kinds",
    "kinds_of",
    "pieces",
    "result_array",
]

Column = float | Floats
"""One argument: one number for all elements, or one for each."""

Kinds = int | NDArray[np.int64]
"""The kind of all elements, or of each."""

_KINDS: Final = len(Kind)


def kinds_of(kind: ArrayLike) -> NDArray[np.int64]:
    """Return kinds as integers.

    Raises:
        InvalidValueError: a kind that is none of the five.
    """
    kinds = np.asarray(kind)
    if kinds.dtype.kind not in "iu" or (
        kinds.size and not 0 <= kinds.min() <= kinds.max() < _KINDS
    ):
        raise InvalidValueError("kinds are the integers of channels.pricing.Kind")
    return kinds.astype(np.int64, copy=False)


def columns(
    kind: ArrayLike, *numbers: ArrayLike
) -> tuple[tuple[int, ...], Kinds, tuple[Column, ...]]:
    """Return the common shape, the kinds and the other arguments, arrays flat and contiguous.

    Raises:
        InvalidValueError: an unknown kind, or shapes that do not broadcast together.
    """
    kinds = kinds_of(kind)
    arrays = [np.asarray(number, dtype=np.float64) for number in numbers]
    try:
        shape = np.broadcast_shapes(kinds.shape, *(array.shape for array in arrays))
    except ValueError as error:
        raise InvalidValueError(f"the arguments' shapes do not fit together: {error}") from error
    same = kinds.size and kinds.min() == kinds.max()
    return (
        shape,
        int(kinds.flat[0]) if same else np.broadcast_to(kinds, shape).reshape(-1),
        tuple(
            float(array.flat[0]) if array.size == 1 else np.broadcast_to(array, shape).reshape(-1)
            for array in arrays
        ),
    )


def result_array(out: Floats | None, shape: tuple[int, ...]) -> Floats:
    """Return ``out`` if it can hold the result, or a new array.

    Raises:
        InvalidValueError: ``out`` is not contiguous float64 of that shape.
    """
    if out is None:
        return np.empty(shape)
    if out.shape != shape or out.dtype != np.float64 or not out.flags.c_contiguous:
        raise InvalidValueError(f"out must be a contiguous float64 array of shape {shape}")
    return out


def pieces(size: int) -> Iterator[slice]:
    """Cut ``size`` elements into pieces of at most `CHUNK`."""
    return (slice(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))


def cut(column: Column, piece: slice | NDArray[np.intp]) -> Column:
    """Return a piece, or chosen elements, of a column."""
    return column if isinstance(column, float) else column[piece]


def cut_kinds(kinds: Kinds, piece: slice | NDArray[np.intp]) -> Kinds:
    """Return a piece, or chosen elements, of the kinds."""
    return kinds if isinstance(kinds, int) else kinds[piece]
