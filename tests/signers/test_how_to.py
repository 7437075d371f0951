"""The commands of ``docs/how-to/keep-keys.md`` that need SoftHSM, as a reader runs them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest
import trio

from channels.protocol.signing import Signature, recover
from tests.docs.documents import DOCS, ROOT, blocks
from tests.signers.conftest import softhsm
from tests.signers.world import signable

SIGN = """
import sys, trio
from channels.signers import open_signer
from tests.signers.world import signable

async def main():
    async with open_signer(sys.argv[1]) as signer:
        print(signer.address.hex(), (await signer.sign(signable("State"))).compact.hex())

trio.run(main)
"""

SHOWN = list(blocks(DOCS / "how-to" / "keep-keys.md"))


async def test_a_key_made_as_the_page_says(
    token_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("pkcs11-tool") is None:
        pytest.skip("no pkcs11-tool: Debian's package opensc brings it")
    (commands,) = [each.text for each in SHOWN if each.text.startswith("softhsm2-util")]
    (uri,) = [each.text.strip() for each in SHOWN if each.text.startswith("pkcs11:")]
    shown = "/usr/lib/softhsm/libsofthsm2.so"
    assert shown in commands
    for line in commands.replace(shown, str(softhsm())).splitlines():
        await trio.run_process(shlex.split(line), capture_stdout=True, capture_stderr=True)
    monkeypatch.setenv("OPTION_CHANNELS_PIN", "1234")
    command = [sys.executable, "-c", SIGN, uri.replace(shown, str(softhsm()))]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = await trio.run_process(command, capture_stdout=True)  # SoftHSM finds tokens as it starts
    address, signature = map(bytes.fromhex, done.stdout.decode().split())
    assert recover(Signature(signature), signable("State").digest) == address
