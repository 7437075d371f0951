"""A tower's configuration: one TOML file, read whole or refused.

Source: `docs/how-to/run-a-tower.md` shows one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from socket import gethostname
from typing import Any, Final

import attrs

from channels.chain.heads import Finality
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address, address
from channels.tower.intake import IntakePolicy
from channels.tower.policy import TowerPolicy
from channels.tower.reading import is_address

__all__ = ["TowerConfig", "read_config"]

_KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "rpc": (list,),
    "adjudicator": (str,),
    "finality": (str, int),
    "signer": (str,),
    "gas_account": (str,),
    "lanes": (list,),
    "book": (str,),
    "jobs": (str,),
    "database": (str,),
    "replica": (str,),
    "lease": (int,),
    "canary": (str,),
    "listen": (str,),
    "certificate": (str,),
    "key": (str,),
    "webhook": (str,),
    "deployment": (str,),
    "attesters": (list,),
    "policy": (dict,),
    "intake": (dict,),
    "prepaid": (dict,),
    "value": (dict,),
}
_LEAST_LEASE: Final = 3
_NEEDED: Final = ("rpc", "adjudicator", "signer", "gas_account")
_POLICY: Final = ("beat_every", "rank", "stagger", "least_reserve")
_INTAKE: Final = (
    "least_window",
    "slot",
    "quota",
    "prepaid",
    "receipt_term",
    "longest_response",
    "longest_authorisation",
)


@attrs.frozen(kw_only=True)
class TowerConfig:
    """What `option-channels tower run` needs to know; paths are absolute.

    ``signer`` and ``gas_account`` are addresses of keys as `channels.signers.open_signer` takes
    them; the latter ``keystore:`` or ``env:``, as are ``lanes``, more gas accounts beside it. A
    ``database``, the address of a PostgreSQL, stands in for ``book`` and ``jobs``, for as many
    processes as there are. ``replica`` is what this one is called, and ``lease`` how many seconds
    after its last sign of life another takes over.
    """

    rpc: tuple[str, ...]
    adjudicator: Address
    signer: str
    gas_account: str
    book: Path
    jobs: Path
    database: str | None = None
    replica: str = attrs.field(factory=gethostname)
    lease: int = 15
    finality: Finality = attrs.field(factory=Finality.tag)
    listen: str = "127.0.0.1:8700"
    certificate: Path | None = None
    key: Path | None = None
    webhook: str | None = None
    deployment: Path | None = None
    attesters: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    policy: TowerPolicy = attrs.field(factory=TowerPolicy)


def read_config(path: Path) -> TowerConfig:
    """Read a configuration; paths in it are relative to its folder.

    Raises:
        InvalidValueError: no such file, or something in it is unknown, missing or wrong.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidValueError(f"{path} cannot be read: {error}") from error
    for name, value in raw.items():
        if name not in _KEYS or type(value) not in _KEYS[name]:
            raise InvalidValueError(f"{path}: {name} is unknown, or of another kind")
    if missing := [name for name in _NEEDED if name not in raw]:
        raise InvalidValueError(f"{path}: {', '.join(missing)} is missing")
    if "database" in raw and ("book" in raw or "jobs" in raw):
        raise InvalidValueError(f"{path}: with a database there is neither book nor jobs")
    if raw.get("lease", _LEAST_LEASE) < _LEAST_LEASE:
        raise InvalidValueError(f"{path}: a lease lasts {_LEAST_LEASE} seconds at least")
    folder = path.resolve().parent
    places = {
        name: folder / raw[name]
        for name in ("book", "jobs", "certificate", "key", "deployment")
        if name in raw
    }
    texts = {name: raw[name] for name in ("listen", "webhook", "replica", "lease") if name in raw}
    return TowerConfig(
        rpc=tuple(map(str, raw["rpc"])),
        adjudicator=address(raw["adjudicator"]),
        signer=_key(raw["signer"], folder),
        gas_account=_key(raw["gas_account"], folder),
        finality=_finality(raw.get("finality", "finalized")),
        database=_database(raw.get("database")),
        attesters=tuple(map(str, raw.get("attesters", ()))),
        lanes=tuple(_key(str(each), folder) for each in raw.get("lanes", ())),
        policy=_policy(raw),
        **{"book": folder / "book.db", "jobs": folder / "jobs.db", **places},
        **texts,
    )


def _key(uri: str, folder: Path) -> str:
    scheme, _, rest = uri.partition(":")
    return f"keystore:{folder / rest}" if scheme == "keystore" else uri


def _database(place: str | None) -> str | None:
    if place is None:
        return None
    scheme, _, name = place.partition(":")
    address = os.environ.get(name, "") if scheme == "env" else place
    if not is_address(address):
        raise InvalidValueError("database is postgresql://…, or env: and a variable with that")
    return address


def _finality(value: str | int) -> Finality:
    return Finality.depth(value) if isinstance(value, int) else Finality.tag(value)


def _policy(raw: Mapping[str, Any]) -> TowerPolicy:
    intake = _numbers("intake", raw.get("intake", {}), (*_INTAKE, "share"))
    share = intake.pop("share", Fraction(1, 10))
    prepaid = {
        address(name): int(_number("prepaid", wei)) for name, wei in raw.get("prepaid", {}).items()
    }
    value = {address(name): _number("value", wei) for name, wei in raw.get("value", {}).items()}
    policy = _numbers("policy", raw.get("policy", {}), _POLICY)
    numbers: dict[str, Any] = {name: int(number) for name, number in policy.items()}
    taken = {name: int(number) for name, number in intake.items()}
    return attrs.evolve(
        TowerPolicy(
            intake=IntakePolicy(share=share, prepaid_by=prepaid, value=value, **taken),
            canary=address(raw["canary"]) if "canary" in raw else None,
        ),
        **numbers,
    )


def _numbers(section: str, raw: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Fraction]:
    if unknown := set(raw) - set(known):
        raise InvalidValueError(f"[{section}] has no {', '.join(sorted(unknown))}")
    return {name: _number(name, value) for name, value in raw.items()}


def _number(name: str, value: object) -> Fraction:
    """A number, or text where TOML's integers do not reach: ``"0.1"``, ``"1/10"``, wei."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            pass
    raise InvalidValueError(f"{name} is a number, or a number as text, not {value!r}")
