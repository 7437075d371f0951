"""What a channel may be opened under, and by whose word.

Source: design, adjudication.md rule 11 and its table.
"""

from __future__ import annotations

from typing import Final

from channels.protocol.terms import Terms
from channels.testing.oracle import ModelOracle
from channels.testing.refusals import Refusals
from channels.units import DAY, HOUR

__all__ = ["check_terms"]

_BOUNDS: Final = {
    "dispute_window": (HOUR, 30 * DAY, "DisputeWindowOutOfBounds"),
    "cure_window": (HOUR, 7 * DAY, "CureWindowOutOfBounds"),
    "max_price_age": (60, DAY, "MaxPriceAgeOutOfBounds"),
    "max_mark_age": (HOUR, 14 * DAY, "MaxMarkAgeOutOfBounds"),
    "max_tenor": (DAY, 3_650 * DAY, "MaxTenorOutOfBounds"),
    "max_in_flight": (8, 64, "MaxInFlightOutOfBounds"),
    "default_penalty_bps": (0, 5_000, "DefaultPenaltyOutOfBounds"),
}


def check_terms(refusals: Refusals, terms: Terms, oracle: ModelOracle | None) -> None:
    """Note what speaks against these terms; ``oracle`` is theirs, None if there is none."""
    addresses = (
        *(terms.party_a, terms.party_b, terms.signer_a, terms.signer_b),
        *(terms.collateral, terms.oracle),
    )
    refusals.when(bytes(20) in addresses, "ZeroAddress")
    side_a, side_b = {terms.party_a, terms.signer_a}, {terms.party_b, terms.signer_b}
    refusals.when(bool(side_a & side_b), "SidesNotDistinct")
    refusals.when(terms.unit == 0, "ZeroUnit")
    refusals.when(terms.risk_hash == bytes(32), "ZeroRiskHash")
    for name, (least, most, reason) in _BOUNDS.items():
        value = getattr(terms, name)
        refusals.when(not least <= value <= most, reason, value=value)
    grace = None if oracle is None else oracle.grace
    if grace is None:
        refusals.when(True, "OracleGraceUnknown", oracle=terms.oracle)
        return
    value, least = terms.settlement_grace, grace + 2 * DAY
    inside = least <= value <= 30 * DAY
    refusals.when(not inside, "SettlementGraceOutOfBounds", value=value, least=least)
