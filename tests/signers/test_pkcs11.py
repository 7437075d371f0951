"""Keys in a real PKCS#11 library: SoftHSM, whose code shares nothing with ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from coincurve import PublicKey
from eth_account import Account

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import address
from channels.protocol.signing import check_signature
from channels.signers import Pkcs11Key, open_pkcs11_signer, open_signer
from channels.signers.pkcs11 import address_of_point
from tests.signers.conftest import PIN, Token
from tests.signers.world import NAMES, OTHER_SECRET, SECRET, signable

ADDRESS = address(Account.from_key(SECRET).address)
OTHER_ADDRESS = address(Account.from_key(OTHER_SECRET).address)


def pin(purpose: str) -> str:
    return PIN


async def refusal(uri: str) -> str:
    with pytest.raises(SignerError) as caught:
        async with open_signer(uri):
            pass
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
async def test_signs_every_struct(name: str, token: Token) -> None:
    """The token draws its nonces by chance, so half of what it makes has a high s."""
    async with open_signer(token.uri()) as signer:
        assert signer.address == ADDRESS
        for seed in range(16):
            value = signable(name, seed)
            check_signature(await signer.sign(value), value, ADDRESS)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("id=%01", ADDRESS),
        ("object=twin;id=%02", OTHER_ADDRESS),
        ("object=twin;id=%03", ADDRESS),
        ("object=session;type=private", ADDRESS),
    ],
)
async def test_finds_the_key_that_is_named(named: str, expected: bytes, token: Token) -> None:
    async with open_signer(token.uri(named)) as signer:
        assert signer.address == expected


async def test_two_keys_of_one_token_at_a_time(token: Token) -> None:
    """A login is the process's: the first who leaves takes it along, and the other logs in anew."""
    value = signable("State")
    outer = open_signer(token.uri("object=twin;id=%02"))
    async with outer as second:
        async with open_signer(token.uri()) as first:
            check_signature(await first.sign(value), value, ADDRESS)
            check_signature(await second.sign(value), value, OTHER_ADDRESS)
        check_signature(await second.sign(value), value, OTHER_ADDRESS)
    async with open_signer(token.uri()) as first:
        async with open_signer(token.uri("object=twin;id=%02")) as second:
            pass
        check_signature(await first.sign(value), value, ADDRESS)


async def test_logs_in_again_when_the_login_is_lost(token: Token) -> None:
    import pkcs11

    value = signable("State")
    async with open_signer(token.uri()) as signer:
        pkcs11.lib(str(token.library)).reinitialize()
        check_signature(await signer.sign(value), value, ADDRESS)


async def test_a_wrong_pin_is_not_tried_again(token: Token, tmp_path: Path) -> None:
    asked = []

    def wrong(purpose: str) -> str:
        asked.append(purpose)
        return "4321"

    key = Pkcs11Key(module=token.library, token="desk", label="session")
    with pytest.raises(SignerError, match=r"the PIN is wrong .*a token locks"):
        async with open_pkcs11_signer(key, wrong):
            pass
    assert asked == ["PIN for the key 'session' of token 'desk'"]
    async with open_pkcs11_signer(key, pin) as signer:
        assert signer.address == ADDRESS


async def test_a_pin_that_was_changed_meanwhile_is_tried_once(token: Token) -> None:
    import pkcs11

    library, value = pkcs11.lib(str(token.library)), signable("State")
    async with open_signer(token.uri()) as signer:
        with library.get_token(token_label="desk").open(rw=True) as session:
            session.set_pin(PIN, "4321")
        try:
            library.reinitialize()
            with pytest.raises(SignerError, match="the PIN is wrong"):
                await signer.sign(value)
            with pytest.raises(SignerError, match="not tried again"):
                await signer.sign(value)
        finally:
            with library.get_token(token_label="desk").open(rw=True, user_pin="4321") as session:
                session.set_pin("4321", PIN)
        with pytest.raises(SignerError, match="not tried again"):
            await signer.sign(value)
    async with open_signer(token.uri()) as signer:
        check_signature(await signer.sign(value), value, ADDRESS)


async def test_what_is_not_there(token: Token) -> None:
    assert "0 tokens fit, not one" in await refusal(token.uri(token="token=other"))
    assert "0 tokens fit, not one" in await refusal(token.uri(token="serial=00"))
    assert "0 private keys fit" in await refusal(token.uri("object=none"))
    assert "2 private keys fit" in await refusal(token.uri("object=twin"))


async def test_a_key_of_another_curve(token: Token) -> None:
    assert "another curve (make one of secp256k1)" in await refusal(token.uri("id=%04"))
    async with open_signer(token.uri()) as signer:  # the failure left no login behind
        assert signer.address == ADDRESS


async def test_a_library_that_is_none(token: Token, tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    for path in (broken, tmp_path / "none.so"):
        said = await refusal(
            f"pkcs11:token=desk;id=%01?module-path={path}&pin-source={token.pin_file}"
        )
        assert f"{path} cannot be loaded" in said


async def test_without_python_pkcs11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    key = Pkcs11Key(module=Path("/none.so"), token="desk", label="session")
    with pytest.raises(SignerError, match=r"python-pkcs11 is not installed .pip install"):
        async with open_pkcs11_signer(key, pin):
            pass


def test_a_key_that_is_not_named() -> None:
    with pytest.raises(InvalidValueError, match="name the token"):
        Pkcs11Key(module=Path("x.so"), label="session")
    with pytest.raises(InvalidValueError, match="name the key"):
        Pkcs11Key(module=Path("x.so"), token="desk")


def test_the_forms_that_tokens_give_a_public_key() -> None:
    for number in range(1, 600):  # some points begin like an OCTET STRING themselves
        secret = number.to_bytes(32, "big")
        expected = address(Account.from_key(secret).address)
        key = PublicKey.from_secret(secret)
        for compressed, head in ((False, b"\x04\x41"), (True, b"\x04\x21")):
            point = key.format(compressed=compressed)
            assert address_of_point(point) == address_of_point(head + point) == expected


@pytest.mark.parametrize("point", [b"", b"\x04\x41", bytes(65), b"\x04\x41" + bytes(65)])
def test_what_is_no_public_key(point: bytes) -> None:
    with pytest.raises(ValueError):
        address_of_point(point)
