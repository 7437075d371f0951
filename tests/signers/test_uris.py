"""One form of address for every signer."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from eth_account import Account

import channels.signers.uris
from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import address
from channels.signers import create_keystore, open_signer
from tests.signers.world import OTHER_SECRET, SECRET, RemoteKeys, serving

ADDRESS = address(Account.from_key(SECRET).address)


async def opened(uri: str) -> bytes:
    async with open_signer(uri) as signer:
        return signer.address


def test_the_example_runs() -> None:
    result = doctest.testmod(channels.signers.uris)
    assert (result.failed, result.attempted > 3) == (0, True)


@pytest.mark.parametrize("text", [SECRET.hex(), "0x" + SECRET.hex(), f" {SECRET.hex()}\n"])
async def test_environment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_KEY", text)
    assert await opened("env:DESK_KEY") == ADDRESS


@pytest.mark.parametrize("text", [SECRET.hex()[2:], "00" * 32, "key"])
async def test_no_key_in_the_environment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_KEY", text)
    with pytest.raises(SignerError, match="DESK_KEY holds no private key") as caught:
        await opened("env:DESK_KEY")
    assert text not in str(caught.value).replace("private key", "")
    assert caught.value.__cause__ is None
    monkeypatch.delenv("DESK_KEY")
    with pytest.raises(SignerError, match="DESK_KEY is not set"):
        await opened("env:DESK_KEY")


async def test_keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, secret = tmp_path / "a key.json", tmp_path / "secret"
    create_keystore(path, lambda purpose: "word", secret=SECRET, kdf="pbkdf2", work=1)
    secret.write_text("word\n")
    quoted = str(path).replace(" ", "%20")
    monkeypatch.setenv("DESK_PASSPHRASE", "word")
    assert await opened(f"keystore:{path}?passphrase-file={secret}") == ADDRESS
    assert await opened(f"keystore:{quoted}?passphrase-env=DESK_PASSPHRASE") == ADDRESS
    async with open_signer(f"keystore:{path}", secret=lambda purpose: "word") as signer:
        assert signer.address == ADDRESS
    monkeypatch.delenv("OPTION_CHANNELS_PASSPHRASE", raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "word")
    assert await opened(f"keystore:{path}") == ADDRESS
    monkeypatch.setattr("getpass.getpass", lambda prompt: "another")
    with pytest.raises(SignerError, match="is wrong"):
        await opened(f"keystore:{path}")
    monkeypatch.setenv("OPTION_CHANNELS_PASSPHRASE", "word")
    assert await opened(f"keystore:{path}") == ADDRESS


async def test_remote() -> None:
    keys = RemoteKeys(secrets=[OTHER_SECRET, SECRET])
    async with serving(keys) as url:
        assert await opened(f"{url}/#{keys.addresses[1]}") == ADDRESS
        with pytest.raises(SignerError, match="2 keys"):
            await opened(url)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("key.json", "begins with env:"),
        ("file:key.json", "begins with env:"),
        ("", "begins with env:"),
        ("env:", "name of an environment variable"),
        ("keystore:", "keystore:PATH"),
        ("keystore:?passphrase-env=X", "keystore:PATH"),
        ("keystore:a?passphrase-env=X&passphrase-file=y", "keystore:PATH"),
        ("keystore:a?passphrase=secret", "unknown here"),
        ("http://h/#0x12", "no address"),
        ("pkcs11:token=t;object=o", "no PKCS#11 library"),
        ("pkcs11:object=o?module-path=/x.so", "name the token"),
        ("pkcs11:token=t?module-path=/x.so", "name the key"),
        ("pkcs11:token=t;object=o;type=public?module-path=/x.so", "private key"),
        ("pkcs11:token=t;object=o;object=p?module-path=/x.so", "stands twice"),
        ("pkcs11:token=t;object=o;manufacturer=m?module-path=/x.so", "unknown here"),
        ("pkcs11:token=t;object?module-path=/x.so", "has no value"),
        ("pkcs11:token=t;object=o?module-path=/x.so&pin-value=1234", "unknown here"),
    ],
)
def test_no_address(uri: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PKCS11_MODULE", raising=False)
    with pytest.raises(InvalidValueError, match=why) as caught:
        open_signer(uri)
    assert not any(each in str(caught.value) for each in ("secret", "1234"))


async def test_what_a_token_address_takes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PKCS11_MODULE", str(tmp_path / "none.so"))
    monkeypatch.setenv("OPTION_CHANNELS_PIN", "1234")
    with pytest.raises(SignerError, match=r"none\.so cannot be loaded|not installed"):
        await opened("pkcs11:token=t;object=o")
