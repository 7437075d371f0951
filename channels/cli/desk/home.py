"""A trader's folder: what its configuration says, and where its keys and its store are.

::

    home/
      config.toml     chain, listening address, market, limits, price sources, towers
      signer.json     encrypted session key: signs states
      wallet.json     encrypted account: owns deposits, pays for gas
      store.db        channels, journal, transactions, evidence
      receipts.json   what towers have signed for
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from channels.chain.heads import Finality
from channels.errors import InvalidValueError
from channels.prices import PriceSettings
from channels.protocol.eip712 import Address, address, checksum
from channels.units import to_wad

__all__ = ["Card", "Home", "TowerSettings", "check_config", "read_home"]

_CARD: Final = re.compile(r"(0x[0-9a-fA-F]{40}):(0x[0-9a-fA-F]{40})@(.+)")
_KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "rpc": (list,),
    "deployment": (str,),
    "finality": (str, int),
    "listen": (str,),
    "signer": (str,),
    "wallet": (str,),
    "most_deposit": (str, int),
    "least_peer_deposit": (str, int, float),
    "edge": (str,),
    "vol": (str,),
    "spots": (dict,),
    "prices": (dict,),
    "towers": (dict,),
}


@attrs.frozen(kw_only=True)
class Card:
    """What a counterparty must know to open a channel with us: party, signer, and where we listen.

    >>> card = Card.read("0x" + "11" * 20 + ":0x" + "22" * 20 + "@127.0.0.1:7001")
    >>> card.at
    '127.0.0.1:7001'
    """

    party: Address
    signer: Address
    at: str

    def __str__(self) -> str:
        return f"{checksum(self.party)}:{checksum(self.signer)}@{self.at}"

    @classmethod
    def read(cls, text: str) -> Card:
        """Read a card as it is printed.

        Raises:
            InvalidValueError: it is none.
        """
        match = _CARD.fullmatch(text.strip())
        if match is None:
            raise InvalidValueError(
                f"{text!r} is no card",
                next_step="ask your counterparty for what `option-channels card` prints",
            )
        return cls(party=address(match[1]), signer=address(match[2]), at=match[3])


@attrs.frozen(kw_only=True)
class TowerSettings:
    """``at``: address that signs for each tower, by URL; ``needed``: how many must have a state."""

    at: Mapping[str, Address] = attrs.field(factory=dict)
    needed: int = 1


@attrs.frozen(kw_only=True)
class Home:
    """A trader's folder and its configuration. Paths in it are relative to the folder."""

    folder: Path
    rpc: tuple[str, ...]
    deployment: Path
    finality: Finality
    listen: str | None
    signer: str
    wallet: Path
    most_deposit: int
    least_peer_deposit: str
    edge: str
    vol: str
    spots: Mapping[str, str]
    prices: PriceSettings = attrs.field(factory=PriceSettings)
    towers: TowerSettings = attrs.field(factory=TowerSettings)

    @property
    def store(self) -> Path:
        """The database."""
        return self.folder / "store.db"


def read_home(folder: Path) -> Home:
    """Read the configuration of a folder.

    Raises:
        InvalidValueError: there is none, or something in it is not as it must be.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise InvalidValueError(
            f"{folder} is no trader's folder: it has no config.toml",
            next_step="make one with `option-channels init`, or name another with --home",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidValueError(f"{path} cannot be read: {error}") from error
    return check_config(text, folder)


def check_config(text: str, folder: Path) -> Home:
    """What a configuration says that is, or is to be, the one of ``folder``.

    Raises:
        InvalidValueError: something in it is not as it must be.
    """
    path = folder / "config.toml"
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise InvalidValueError(f"{path} cannot be read: {error}") from error
    for key, value in table.items():
        if key not in _KEYS:
            raise InvalidValueError(f"{path}: there is no setting {key}; settings: {_known()}")
        if not isinstance(value, _KEYS[key]) or isinstance(value, bool):
            raise InvalidValueError(f"{path}: {key} cannot be {value!r}")
    missing = {"rpc", "deployment", "signer", "wallet"} - set(table)
    if missing:
        raise InvalidValueError(f"{path}: {', '.join(sorted(missing))} must be set")
    return Home(
        folder=folder,
        rpc=tuple(str(each) for each in table["rpc"]),
        deployment=_within(folder, table["deployment"]),
        finality=_finality(table.get("finality", "finalized")),
        listen=table.get("listen"),
        signer=_signer(folder, table["signer"]),
        wallet=_within(folder, table["wallet"]),
        most_deposit=_whole(path, table.get("most_deposit", 0)),
        least_peer_deposit=_ratio(path, str(table.get("least_peer_deposit", "1"))),
        edge=_decimal(path, "edge", table.get("edge", "0.02")),
        vol=_decimal(path, "vol", table.get("vol", "0.60")),
        spots={
            str(feed): _decimal(path, f"spots.{feed}", str(price))
            for feed, price in table.get("spots", {}).items()
        },
        prices=_prices(path, table.get("prices", {})),
        towers=_towers(path, table.get("towers", {})),
    )


def _known() -> str:
    return ", ".join(_KEYS)


def _within(folder: Path, text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # ~ of nobody
        raise InvalidValueError(f"{text!r}: {error}") from error
    return path if path.is_absolute() else folder / path


def _signer(folder: Path, uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    return f"keystore:{_within(folder, rest)}" if scheme == "keystore" else uri


def _finality(value: str | int) -> Finality:
    return Finality.depth(value) if isinstance(value, int) else Finality.tag(value)


def _whole(path: Path, value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidValueError(f"{path}: most_deposit is a whole number of units") from None


def _ratio(path: Path, text: str) -> str:
    ratio = _decimal(path, "least_peer_deposit", text)
    if to_wad(ratio) < 0:
        raise InvalidValueError(f"{path}: least_peer_deposit is {text}; it is 0 or more")
    return ratio


def _prices(path: Path, table: Mapping[str, Any]) -> PriceSettings:
    attesters, test = table.get("attesters", []), table.get("test", False)
    if not set(table) <= {"attesters", "test"}:
        raise InvalidValueError(f"{path}: settings of [prices]: attesters, test")
    if not isinstance(attesters, list) or not isinstance(test, bool):
        raise InvalidValueError(f"{path}: prices: attesters is a list of URLs, test true or false")
    for each in attesters:
        if not str(each).startswith(("http://", "https://")):
            raise InvalidValueError(f"{path}: prices.attesters: {each!r} is no URL")
    if attesters and test:
        raise InvalidValueError(f"{path}: prices: either attesters or test")
    return PriceSettings(attesters=tuple(attesters), test=test)


def _towers(path: Path, table: Mapping[str, Any]) -> TowerSettings:
    at, needed = table.get("at", {}), table.get("needed", 1)
    if not set(table) <= {"at", "needed"}:
        raise InvalidValueError(f"{path}: settings of [towers]: at, needed")
    if not isinstance(at, dict) or not isinstance(needed, int) or isinstance(needed, bool):
        raise InvalidValueError(f'{path}: towers: at is a table of "URL" = "0x…", needed a number')
    for url in at:
        if not url.startswith(("http://", "https://")):
            raise InvalidValueError(f"{path}: towers.at: {url!r} is no URL")
    if at and not 1 <= needed <= len(at):
        raise InvalidValueError(f"{path}: towers.needed is {needed}, of {len(at)} towers")
    try:
        towers = {url.rstrip("/"): address(str(signer)) for url, signer in at.items()}
    except InvalidValueError as error:
        raise InvalidValueError(f"{path}: towers.at: {error.args[0]}") from None
    return TowerSettings(at=towers, needed=needed)


def _decimal(path: Path, name: str, text: str) -> str:
    try:
        to_wad(text)
    except InvalidValueError as error:
        raise InvalidValueError(f"{path}: {name}: {error.args[0]}") from None
    return text
