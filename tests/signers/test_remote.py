"""A remote signer that works, refuses, hangs, lies, or is not one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from eth_account import Account

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import address
from channels.protocol.signing import LocalSigner, check_signature
from channels.signers import open_remote_signer, open_signer, typed_data
from tests.signers.world import (
    NAMES,
    OTHER_SECRET,
    SECRET,
    Answer,
    RemoteKeys,
    error,
    serving,
    signable,
)

URL = "http://desk:hunter2@signer.test:8550/"
ADDRESS = address(Account.from_key(SECRET).address)


async def sign_by(keys: RemoteKeys, **options: Any) -> bytes:
    """Open, sign one struct, check it; the 64 bytes."""
    value = signable("State")
    async with open_remote_signer(URL, transport=keys.transport(), **options) as signer:
        signature = await signer.sign(value)
    check_signature(signature, value, ADDRESS)
    return signature.compact


def saying(answer: Answer) -> Callable[[Any], Awaitable[Answer]]:
    async def on_sign(params: Any) -> Answer:
        return answer

    return on_sign


def raw(handle: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(handle)


@pytest.mark.parametrize("name", NAMES)
async def test_signs_every_struct_as_a_key_in_memory_does(name: str) -> None:
    keys, local = RemoteKeys(), LocalSigner(SECRET)
    async with open_remote_signer(URL, transport=keys.transport()) as signer:
        assert signer.address == local.address
        for seed in range(5):
            value = signable(name, seed)
            assert await signer.sign(value) == await local.sign(value)  # both by RFC 6979


async def test_over_a_socket() -> None:
    keys, value = RemoteKeys(), signable("Opening")
    async with serving(keys) as url, open_signer(url) as signer:
        check_signature(await signer.sign(value), value, ADDRESS)


async def test_names_the_key_it_wants_of_several() -> None:
    keys = RemoteKeys(secrets=[OTHER_SECRET, SECRET])
    await sign_by(keys, signer=ADDRESS)
    assert keys.asked("eth_accounts") == []
    with pytest.raises(SignerError, match=r"2 keys .*#0x") as caught:
        await sign_by(keys)
    assert all(each in str(caught.value) for each in keys.addresses)
    keys.secrets = []
    with pytest.raises(SignerError, match=r"0 keys .none."):
        await sign_by(keys)


async def test_speaks_as_clef_does() -> None:
    keys = RemoteKeys(sign_method="account_signTypedData", list_method="account_list")
    await sign_by(keys)
    assert len(keys.asked("account_signTypedData")) == 1


async def test_a_signer_that_knows_no_typed_data() -> None:
    keys = RemoteKeys(sign_method="eth_sign")
    with pytest.raises(SignerError, match="has none of eth_signTypedData_v4"):
        await sign_by(keys)


@pytest.mark.parametrize(
    "answer",
    [
        error(4001, "User denied message signature."),
        error(-32000, "request denied"),
        error(4001, "\x1b[2Jno"),
    ],
)
async def test_a_refusal_is_not_asked_again(answer: Answer) -> None:
    keys = RemoteKeys(on_sign=saying(answer))
    with pytest.raises(SignerError, match=r"refused to sign.*allow it there") as caught:
        await sign_by(keys)
    assert len(keys.asked("eth_signTypedData_v4")) == 1
    assert str(caught.value).isprintable()


async def test_a_locked_key() -> None:
    keys = RemoteKeys(on_sign=saying(error(4100, "locked")))
    with pytest.raises(SignerError, match=r"does not let us use this key: locked .unlock it"):
        await sign_by(keys)


@pytest.mark.parametrize("failure", [error(-32603, "broken"), {"error": "broken"}])
async def test_any_other_error_is_passed_on(failure: Answer) -> None:
    with pytest.raises(SignerError, match="did not sign: broken"):
        await sign_by(RemoteKeys(on_sign=saying(failure)))


async def test_another_keys_signature_is_not_used() -> None:
    keys = RemoteKeys()

    async def as_another(params: Any) -> Answer:
        made = Account.sign_typed_data(OTHER_SECRET, full_message=params[1])
        return {"result": "0x" + bytes(made.signature).hex()}

    keys.on_sign = as_another
    with pytest.raises(SignerError, match=f"no signature of {keys.addresses[0]}"):
        await sign_by(keys)


async def test_a_signature_over_something_else_is_not_used() -> None:
    keys = RemoteKeys()

    async def other_struct(params: Any) -> Answer:
        return keys.signed([params[0], typed_data(signable("State", "another"))])

    keys.on_sign = other_struct
    with pytest.raises(SignerError, match="no signature of"):
        await sign_by(keys)


@pytest.mark.parametrize("v", [0, 1, 27, 28, 37])
async def test_whatever_v_the_wallet_writes(v: int) -> None:
    keys = RemoteKeys()

    async def with_v(params: Any) -> Answer:
        return {"result": keys.signed(params)["result"][:-2] + f"{v:02x}"}

    keys.on_sign = with_v
    await sign_by(keys)


@pytest.mark.parametrize(
    "result",
    [
        None,
        7,
        "0x",
        "no",
        ["0x"],
        "0x" + "11" * 64,
        "0x" + "11" * 96,
        "0x" + "00" * 65,
        "0x" + "11" * 32 + "ff" * 33,
        "0x" + "ff" * 32 + "11" * 33,
    ],
)
async def test_what_is_no_signature(result: object) -> None:
    with pytest.raises(SignerError, match="no signature of"):
        await sign_by(RemoteKeys(on_sign=saying({"result": result})))


@pytest.mark.parametrize(
    ("status", "content"),
    [(404, b"<html>"), (200, b"[]"), (200, b""), (401, b"who are you?"), (302, b"")],
)
async def test_what_is_no_signer(status: int, content: bytes) -> None:
    transport = raw(lambda request: httpx.Response(status, content=content))
    with pytest.raises(SignerError, match=f"signer.test:8550 answered with status {status}"):
        async with open_remote_signer(URL, transport=transport):
            pass


async def test_an_answer_without_an_end() -> None:
    transport = raw(lambda request: httpx.Response(200, content=b" " * 100_000))
    with pytest.raises(SignerError, match="over 65536 bytes"):
        async with open_remote_signer(URL, transport=transport):
            pass


async def test_neither_result_nor_error() -> None:
    with pytest.raises(SignerError, match="neither result nor error"):
        await sign_by(RemoteKeys(on_sign=saying({})))


async def test_lists_what_is_no_address() -> None:
    transport = raw(lambda request: httpx.Response(200, content=b'{"result":["0x12"]}'))
    with pytest.raises(SignerError, match="no address"):
        async with open_remote_signer(URL, transport=transport):
            pass


def failing(keys: RemoteKeys, times: int, failure: Exception | int) -> httpx.MockTransport:
    """Fail the first ``times`` requests after they came, then answer."""
    left = [times]

    async def handle(request: httpx.Request) -> httpx.Response:
        answer = await keys.answer(request.content)
        if left[0] and json.loads(request.content)["method"] == keys.sign_method:
            left[0] -= 1
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure, content=b"busy")
        return httpx.Response(200, content=answer)

    return httpx.MockTransport(handle)


FAILURES: list[Exception | int] = [
    httpx.ConnectError("refused"),
    httpx.RemoteProtocolError("hung up"),
    429,
    503,
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
async def test_what_failed_is_asked_again_byte_for_byte(
    failure: Exception | int, autojump_clock: trio.testing.MockClock
) -> None:
    keys, value = RemoteKeys(), signable("State")
    async with open_remote_signer(URL, transport=failing(keys, 3, failure)) as signer:
        check_signature(await signer.sign(value), value, ADDRESS)
    asked = keys.asked(keys.sign_method)
    assert len(asked) == 4
    assert len(set(asked)) == 1


async def test_out_of_reach(autojump_clock: trio.testing.MockClock) -> None:
    keys, value = RemoteKeys(), signable("State")
    async with open_remote_signer(URL, transport=failing(keys, 99, FAILURES[0])) as signer:
        with pytest.raises(SignerError, match=r"cannot be reached: ConnectError .start the signer"):
            await signer.sign(value)
    async with open_remote_signer(URL, transport=failing(keys, 99, 503)) as signer:
        with pytest.raises(SignerError, match="status 503"):
            await signer.sign(value)


async def test_nobody_listens(unused_port: int) -> None:
    with pytest.raises(SignerError, match="cannot be reached: ConnectError"):
        async with open_remote_signer(f"http://127.0.0.1:{unused_port}"):
            pass


async def test_no_consent_in_time_is_not_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hang(params: Any) -> Answer:
        await trio.sleep_forever()
        raise AssertionError

    keys = RemoteKeys(on_sign=hang)
    start = trio.current_time()
    with pytest.raises(SignerError, match="no answer within 30 seconds"):
        await sign_by(keys, timeout=30)
    assert trio.current_time() - start == pytest.approx(30)
    assert len(keys.asked("eth_signTypedData_v4")) == 1


async def test_the_same_struct_gets_the_same_signature_and_is_asked_once() -> None:
    """Even of a signer that draws its nonces by chance, as ECDSA allows."""
    keys, order = RemoteKeys(), 2**256 - 432420386565659656852420866394968145599
    flip = [False]

    async def otherwise(params: Any) -> Answer:
        made = bytes.fromhex(keys.signed(params)["result"][2:])
        s = int.from_bytes(made[32:64], "big")
        flip[0] = not flip[0]
        other = (order - s).to_bytes(32, "big") if flip[0] else made[32:64]
        return {"result": "0x" + (made[:32] + other + made[64:]).hex()}

    keys.on_sign = otherwise
    value = signable("State")
    async with open_remote_signer(URL, transport=keys.transport()) as signer:
        assert await signer.sign(value) is await signer.sign(value)
    assert len(keys.asked("eth_signTypedData_v4")) == 1


async def test_it_remembers_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.signers.remote._REMEMBERED", 2)
    keys, values = RemoteKeys(), [signable("Closing", seed) for seed in range(3)]
    async with open_remote_signer(URL, transport=keys.transport()) as signer:
        for value in (*values, values[2], values[1], values[0]):
            await signer.sign(value)
    assert len(keys.asked("eth_signTypedData_v4")) == 4, "the oldest was asked for again"


async def test_what_failed_is_not_remembered() -> None:
    keys, value = RemoteKeys(on_sign=saying(error(4001, "not now"))), signable("State")
    async with open_remote_signer(URL, transport=keys.transport()) as signer:
        with pytest.raises(SignerError):
            await signer.sign(value)
        keys.on_sign = None
        check_signature(await signer.sign(value), value, ADDRESS)


@pytest.mark.parametrize(
    "url", ["ftp://h", "http://", "http:///x", "signer", "http://h:port", "http://[::1", "h\x00"]
)
async def test_no_url(url: str) -> None:
    with pytest.raises(InvalidValueError, match="remote signer's address"):
        async with open_remote_signer(url):
            pass


async def test_no_error_and_no_repr_shows_the_password() -> None:
    seen = []
    for transport in (
        raw(lambda request: httpx.Response(404)),
        RemoteKeys(on_sign=saying(error(4001, "no"))).transport(),
    ):
        try:
            async with open_remote_signer(URL, transport=transport) as signer:
                seen.append(repr(signer))
                await signer.sign(signable("State"))
        except SignerError as failed:
            seen.append(str(failed))
    assert len(seen) == 3
    assert all("signer.test" in each and "hunter2" not in each for each in seen)


async def test_the_name_and_password_are_sent() -> None:
    heads = []

    def handle(request: httpx.Request) -> httpx.Response:
        heads.append(request.headers["authorization"])
        return httpx.Response(200, json={"result": [Account.from_key(SECRET).address]})

    async with open_remote_signer(URL, transport=raw(handle)):
        pass
    assert heads == ["Basic ZGVzazpodW50ZXIy"]  # base64 of desk:hunter2
