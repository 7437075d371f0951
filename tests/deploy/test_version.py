"""The version that deployments are salted with is the one that the package's metadata has."""

from __future__ import annotations

import configparser

import channels
from channels.version import VERSION
from tests.conftest import ROOT


def test_one_version() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert metadata["metadata"]["version"] == "attr: channels.version.VERSION"
    assert channels.__version__ == VERSION
