"""Mutation testing of the contracts; `tools/mutate.py` is the command."""
