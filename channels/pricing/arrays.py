"""Black-76 in floats on NumPy arrays: prices and Greeks of whole columns of options.

Meaning, units and accuracy are those of `channels.pricing.scalar`. Arguments are numbers or arrays
that broadcast together; results are float64 of the common shape. Nothing aborts: where an argument
makes no sense the result is NaN, whatever its neighbours are. The work is done in pieces that fit
the processor's cache, in buffers that are kept, on one thread.
"""

from __future__ import annotations

from channels.pricing.array_greeks import greeks
from channels.pricing.array_price import price
from channels.pricing.array_vol import ImpliedVols, implied_vol

__all__ = ["ImpliedVols", "greeks", "implied_vol", "price"]
