"""The rules of a channel, pure: types, hashing, signing, messages, codec, state machine."""
