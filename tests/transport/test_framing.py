"""Frames out of bytes, however the bytes come."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import FrameError, FrameTooLargeError, FrameTruncatedError, InvalidValueError
from channels.transport import MAX_FRAME, FrameDecoder, encode_frames

FRAMES = [b"a", b"bc" * 300, bytes(MAX_FRAME), b"\0", b"end"]

frames_lists = st.lists(st.binary(min_size=1, max_size=40), max_size=12)


def decode(chunks: list[bytes]) -> tuple[list[bytes], type[Exception] | None]:
    """Everything a stream of these chunks yields: its frames, and the error it ends in."""
    decoder = FrameDecoder()
    frames: list[bytes] = []
    try:
        for chunk in chunks:
            frames += decoder.feed(chunk)
            assert decoder.buffered < 4 + MAX_FRAME
        decoder.finish()
    except FrameError as error:
        kind = type(error)
    else:
        return frames, None
    assert type(decoder.broken) is kind
    with pytest.raises(kind):
        decoder.feed(b"anything")
    with pytest.raises(kind):
        decoder.finish()
    return frames, kind


def chop(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def reference(data: bytes) -> tuple[list[bytes], type[Exception] | None]:
    """The rules, said again in the plainest way, on the whole stream at once."""
    frames: list[bytes] = []
    while data:
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4:
            return frames, FrameTruncatedError
        if size == 0:
            return frames, FrameError
        if size > MAX_FRAME:
            return frames, FrameTooLargeError
        if len(data) < 4 + size:
            return frames, FrameTruncatedError
        frames.append(data[4 : 4 + size])
        data = data[4 + size :]
    return frames, None


def test_the_bytes_of_a_burst() -> None:
    assert encode_frames([b"abc", b"\xff"]) == bytes.fromhex("00000003 616263 00000001 ff")
    assert encode_frames([]) == b""
    assert encode_frames([bytes(MAX_FRAME)])[:4] == b"\x00\x01\x00\x00"


@pytest.mark.parametrize("frame", [b"", bytes(MAX_FRAME + 1)])
def test_what_cannot_be_sent_is_refused_here(frame: bytes) -> None:
    with pytest.raises(InvalidValueError):
        encode_frames([b"good", frame])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 4_096, 65_536, 1 << 20])
def test_any_chunk_size(size: int) -> None:
    data = encode_frames(FRAMES)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert decode(chunks) == (FRAMES, None)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_kinds_of_bytes(kind: type) -> None:
    decoder = FrameDecoder()
    frames = decoder.feed(kind(encode_frames([b"abc"]) + b"\0"))
    frames += decoder.feed(kind(b"\0\0\1x"))
    assert frames == [b"abc", b"x"]
    assert {type(frame) for frame in frames} == {bytes}


@given(frames_lists, st.lists(st.integers(min_value=0), max_size=20))
def test_chopping_changes_nothing(frames: list[bytes], cuts: list[int]) -> None:
    assert decode(chop(encode_frames(frames), cuts)) == (frames, None)


@given(
    frames_lists,
    st.binary(max_size=30) | st.sampled_from([b"\0\0\0\0", b"\0\1\0\1", b"\xff" * 9, b"\0\0\0"]),
    st.lists(st.integers(min_value=0), max_size=20),
)
def test_rubbish_is_named_the_same_however_chopped(
    frames: list[bytes], rubbish: bytes, cuts: list[int]
) -> None:
    data = encode_frames(frames) + rubbish
    expected = reference(data)
    assert decode([data]) == expected
    assert decode(chop(data, cuts)) == expected
    assert decode([bytes([byte]) for byte in data]) == expected


def test_too_large_is_told_from_the_header_alone() -> None:
    decoder = FrameDecoder()
    with pytest.raises(FrameTooLargeError, match="65537"):
        decoder.feed((MAX_FRAME + 1).to_bytes(4, "big"))
    assert decoder.buffered == 0
    decoder = FrameDecoder()
    assert decoder.feed(MAX_FRAME.to_bytes(4, "big")) == []


@pytest.mark.parametrize("cut", range(1, 4 + 3))
def test_an_end_inside_a_frame_is_told(cut: int) -> None:
    assert decode([encode_frames([b"whole", b"cut"])[: 9 + cut]]) == (
        [b"whole"],
        FrameTruncatedError if cut < 7 else None,
    )


def test_memory_is_bounded_by_one_frame() -> None:
    frame = encode_frames([bytes(MAX_FRAME)])
    decoder = FrameDecoder()
    tracemalloc.start()
    try:
        count = 0
        for _ in range(16):
            for at in range(0, len(frame), 23):
                count += len(decoder.feed(frame[at : at + 23]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 16
    assert peak < 4 * MAX_FRAME
