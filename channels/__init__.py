"""Bidirectional state channels that carry peer-to-peer options."""
