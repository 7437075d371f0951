"""The kinds of series a channel carries."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Kind"]


class Kind(IntEnum):
    """Payoff of a series, by the number that is signed and that the contract reads.

    All are European and cash settled. A digital pays 1.0 per unit; at a price equal to the strike
    the digital call pays and the digital put does not, so the two always sum to 1.0.

    Source: design, adjudication.md "Types".
    """

    CALL = 0
    PUT = 1
    DIGITAL_CALL = 2
    DIGITAL_PUT = 3
    FORWARD = 4
