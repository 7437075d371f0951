"""Checks of what is on this machine: installation, keys, store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import trio

from channels.audit import audit
from channels.chain.artifacts import NAMES, load_artifact
from channels.chain.deployments import DeployedContract
from channels.cli.doctor.findings import Finding, error, of_error, ok, warning
from channels.cli.doctor.ground import Ground
from channels.errors import ChannelsError, InvalidValueError, SignerError, StoreLockedError
from channels.signers import from_environment
from channels.signers.keystore import decrypt_keystore, read_address
from channels.signers.uris import PASSPHRASE_VARIABLE
from channels.storage.lock import FileLock
from channels.version import VERSION

__all__ = ["check_installation", "check_keys", "check_store"]

_OTHERS: Final = 0o077
"""Permissions of a file that are not its owner's."""


async def check_installation(ground: Ground) -> list[Finding]:
    """Version, and whether the contracts recorded are those that ship with it."""
    name = "installation"
    await trio.lowlevel.checkpoint()
    record = ground.deployment
    if record.version != VERSION:
        return [
            error(
                name,
                f"the contracts recorded are of version {record.version}, this is {VERSION}",
                f"install option-channels {record.version}, or name the record of this version",
            )
        ]
    for each in NAMES:
        load_artifact(each)
    for entry in record.contracts:
        try:
            ours = DeployedContract.of(entry.planned)
        except InvalidValueError as raised:
            return [of_error(name, raised, "name the record that `option-channels deploy` wrote")]
        if (entry.creation_hash, entry.compiler_hash) != (ours.creation_hash, ours.compiler_hash):
            return [
                error(
                    name,
                    f"{entry.name} was not made of the code that ships with this version",
                    "reinstall the package, and take the record from whoever deployed",
                )
            ]
    return [ok(name, f"option-channels {VERSION}; the contracts recorded are those it ships")]


async def check_keys(ground: Ground) -> list[Finding]:
    """Whether the keys are there, readable by us alone, and opened by the passphrase if it is set.

    Asks nobody for a passphrase.
    """
    home = ground.home
    scheme, _, rest = home.signer.partition(":")
    files = {"wallet": home.wallet}
    if scheme == "keystore":
        files["session key"] = Path(rest.partition("?")[0])
    found = [await trio.to_thread.run_sync(_check_key, what, path) for what, path in files.items()]
    if scheme == "env" and rest not in os.environ:
        found.append(
            error("keys", f"the session key is to be in {rest}, which is not set", f"set {rest}")
        )
    elif scheme != "keystore":
        found.append(ok("keys", f"the session key is at {scheme}:, and was not asked for"))
    return found


def _check_key(what: str, path: Path) -> Finding:
    name = "keys"
    try:
        read_address(path)
    except SignerError as raised:
        return error(
            name,
            f"the {what} cannot be used: {raised.args[0]}",
            "restore the file from your backup, or correct its path in config.toml",
        )
    mode = path.stat().st_mode
    if mode & _OTHERS:
        return warning(
            name,
            f"others can read the {what}: {path} has mode {mode & 0o777:o}",
            f"chmod 600 {path}",
        )
    if PASSPHRASE_VARIABLE not in os.environ:
        return ok(name, f"the {what} is there; not opened, as {PASSPHRASE_VARIABLE} is not set")
    try:
        decrypt_keystore(path, from_environment(PASSPHRASE_VARIABLE))
    except SignerError as raised:
        return of_error(name, raised, "give the passphrase it was made with")
    return ok(name, f"the {what} opens")


async def check_store(ground: Ground) -> list[Finding]:
    """Whether the journal holds, and whether a process watches over the channels."""
    name, path = "store", ground.home.store
    if not path.exists():
        return [ok(name, "there is no store yet, and so no channel")]
    found = []
    try:
        report = await trio.to_thread.run_sync(audit, path)
    except ChannelsError as raised:
        return [of_error(name, raised, "restore the store, then recover from the peer")]
    for each in report.findings:
        where = f"entry {each.seq}: " if each.seq else ""
        found.append(
            error(
                name,
                f"the journal does not hold: {where}{each.text}",
                "sign nothing more; recover from the peer and the towers: this may lose funds",
            )
        )
    if report.sound:
        found.append(ok(name, f"the journal holds: {report.head.seq} entries"))
    if await trio.to_thread.run_sync(_is_locked, path):
        found.append(ok(name, "a running process has the store open"))
    elif ground.channels:
        found.append(
            warning(
                name,
                f"nobody watches over {len(ground.channels)} open channels",
                "run `option-channels serve` or `option-channels watch`: a stale state that "
                "nobody answers may lose funds",
            )
        )
    return found


def _is_locked(path: Path) -> bool:
    if not path.with_name(path.name + ".lock").exists():
        return False  # and looking makes no file
    try:
        lock = FileLock(path)
    except StoreLockedError:
        return True
    lock.release()
    return False
