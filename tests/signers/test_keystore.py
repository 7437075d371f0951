"""Encrypted files: read by others, written for others, and never half."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest
from eth_account import Account

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import address
from channels.signers import (
    ask,
    create_keystore,
    decrypt_keystore,
    from_environment,
    from_file,
    load_keystore,
)
from tests.signers.world import OTHER_SECRET, SECRET

PUBLISHED: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
"""The example of the Web3 Secret Storage Definition."""


def passphrase(purpose: str) -> str:
    return "correct horse"


def quick(path: Path, **options: Any) -> Path:
    """A keystore whose passphrase is guessed fast."""
    create_keystore(path, passphrase, kdf="pbkdf2", work=1, **options)
    return path


def test_reads_the_published_example(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(PUBLISHED))
    expected = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
    assert decrypt_keystore(path, lambda purpose: "testpassword").hex() == expected


@pytest.mark.parametrize(("kdf", "work"), [("scrypt", 4), ("pbkdf2", 2)])
def test_eth_account_reads_what_we_write(tmp_path: Path, kdf: Any, work: int) -> None:
    path = tmp_path / "key.json"
    made = create_keystore(path, passphrase, secret=SECRET, kdf=kdf, work=work)
    assert made == address(Account.from_key(SECRET).address)
    keyfile = json.loads(path.read_text())
    assert keyfile["version"] == 3
    assert bytes(Account.decrypt(keyfile, "correct horse")) == SECRET
    assert load_keystore(path, passphrase).address == made


def test_a_guess_is_slow_unless_told_otherwise(tmp_path: Path) -> None:
    create_keystore(tmp_path / "key.json", passphrase)
    kdf = json.loads((tmp_path / "key.json").read_text())["crypto"]
    assert kdf["kdf"] == "scrypt"
    assert kdf["kdfparams"]["n"] == 2**18  # what geth calls its standard


def test_a_new_key_is_new(tmp_path: Path) -> None:
    paths = quick(tmp_path / "a.json"), quick(tmp_path / "b.json")
    first, second = (load_keystore(path, passphrase) for path in paths)
    assert first.address != second.address


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    path = quick(tmp_path / "key.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_never_writes_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = quick(tmp_path / "key.json", secret=SECRET)
    before = path.read_bytes()
    with pytest.raises(SignerError, match=r"a file at .* already"):
        quick(path, secret=OTHER_SECRET)
    monkeypatch.setattr(Path, "exists", lambda self: False)  # it appeared in between
    with pytest.raises(SignerError, match=r"a file at .* already"):
        quick(path, secret=OTHER_SECRET)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SignerError, match=r"No space left .*choose another place"):
        quick(tmp_path / "key.json")
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be written"):
        quick(tmp_path / "no" / "key.json")


def test_what_cannot_be_a_key_or_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError):
        quick(tmp_path / "key.json", secret=bytes(32))
    with pytest.raises(SignerError, match="passphrase is empty"):
        create_keystore(tmp_path / "key.json", lambda purpose: "")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_passphrase(tmp_path: Path) -> None:
    path = quick(tmp_path / "key.json")
    with pytest.raises(SignerError, match=r"passphrase of .* is wrong .give the one"):
        load_keystore(path, lambda purpose: "incorrect horse")


CRYPTO = PUBLISHED["crypto"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\udcff",
        json.dumps({**PUBLISHED, "version": 1}),
        json.dumps({**PUBLISHED, "version": "3"}),
        json.dumps({**PUBLISHED, "crypto": {}}),
        json.dumps({**PUBLISHED, "crypto": 7}),
        json.dumps({**PUBLISHED, "crypto": {**CRYPTO, "mac": "zz"}}),
        json.dumps({**PUBLISHED, "crypto": {**CRYPTO, "ciphertext": 5}}),
        json.dumps({**PUBLISHED, "crypto": {**CRYPTO, "kdf": "none"}}),
        json.dumps({**PUBLISHED, "crypto": {**CRYPTO, "kdfparams": {}}}),
    ],
)
def test_what_is_no_keystore(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SignerError, match="is no keystore"):
        load_keystore(path, lambda purpose: "testpassword")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read"):
        load_keystore(tmp_path / "key.json", passphrase)


def test_the_key_of_another_address(tmp_path: Path) -> None:
    path = quick(tmp_path / "key.json", secret=SECRET)
    keyfile = json.loads(path.read_text())
    keyfile["address"] = Account.from_key(OTHER_SECRET).address
    path.write_text(json.dumps(keyfile))
    with pytest.raises(SignerError, match=Account.from_key(SECRET).address):
        load_keystore(path, passphrase)


def test_where_a_passphrase_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_bytes("pâss wörd \r\nnot this\n".encode())
    assert from_file(file)("") == "pâss wörd "
    monkeypatch.setenv("A_SECRET", "other")
    assert from_environment("A_SECRET")("") == "other"
    monkeypatch.delenv("A_SECRET")
    with pytest.raises(SignerError, match=r"Passphrase of x: A_SECRET is not set .set A_SECRET"):
        from_environment("A_SECRET")("Passphrase of x")
    with pytest.raises(SignerError, match="cannot be read"):
        from_file(tmp_path / "none")("")
    file.write_bytes(b"\xff")
    with pytest.raises(SignerError, match="cannot be read"):
        from_file(file)("")


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(prompt: str) -> NoReturn:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", nobody)
    with pytest.raises(SignerError, match="Passphrase of x: there is no terminal"):
        ask("Passphrase of x")


def test_asks_whoever_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = []

    def typed(prompt: str) -> str:
        prompts.append(prompt)
        return "typed"

    monkeypatch.setattr("getpass.getpass", typed)
    assert ask("Passphrase of x") == "typed"
    assert prompts == ["Passphrase of x: "]
