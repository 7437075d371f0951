"""A token of SoftHSM with keys in it, where SoftHSM is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest
from coincurve import PrivateKey

from tests.conftest import reserved_port
from tests.signers.world import OTHER_SECRET, SECRET

LIBRARIES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
PIN = "1234"
P256 = b"""-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgIg47OCepXa9PCFn7
dUohbUZVVtwsPbmBmd7IYnTLk0+hRANCAAS65OIQAS1HpSH/USKypN9lw0sC2t04
QKi1DoDwh4GagxAP6uALq6Kvsf+bLhwoJRFJA0JeHBT56gS4HNuBKvMf
-----END PRIVATE KEY-----
"""
"""A key of another curve, made for these tests."""


@attrs.frozen
class Token:
    """An initialised token: ``desk``, PIN 1234, with the key ``session`` and some others."""

    library: Path
    pin_file: Path

    def uri(self, key: str = "object=session", token: str = "token=desk") -> str:
        return f"pkcs11:{token};{key}?module-path={self.library}&pin-source=file:{self.pin_file}"


def softhsm() -> Path:
    """SoftHSM's library; skips where there is none."""
    library = next((each for each in LIBRARIES if each.exists()), None)
    if library is None or shutil.which("softhsm2-util") is None:
        pytest.skip("no SoftHSM: Debian's package softhsm2 brings it")
    if find_spec("pkcs11") is None:
        pytest.skip("no python-pkcs11: `pip install 'option-channels[hsm]'` brings it")
    return library


def import_key(pem: bytes, label: str, number: str, folder: Path) -> None:
    path = folder / "key.pem"
    path.write_bytes(pem)
    options = ["--token", "desk", "--label", label, "--id", number, "--pin", PIN]
    subprocess.run(
        ["softhsm2-util", "--import", str(path), *options], check=True, capture_output=True
    )
    path.unlink()


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where SoftHSM keeps tokens for this whole run: it reads its settings once a process."""
    softhsm()
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOFTHSM2_CONF", str(settings))
        yield folder


@pytest.fixture(scope="session")
def token(token_folder: Path) -> Token:
    options = ["--label", "desk", "--so-pin", "5678", "--pin", PIN]
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", *options], check=True, capture_output=True
    )
    first, second = PrivateKey(SECRET).to_pem(), PrivateKey(OTHER_SECRET).to_pem()
    import_key(first, "session", "01", token_folder)
    import_key(second, "twin", "02", token_folder)
    import_key(first, "twin", "03", token_folder)
    import_key(P256, "other curve", "04", token_folder)
    pin_file = token_folder / "pin"
    pin_file.write_text(PIN + "\n")
    return Token(softhsm(), pin_file)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound, and that nobody listens on."""
    with reserved_port() as port:
        yield port
