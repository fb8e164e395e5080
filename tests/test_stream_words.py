"""Words: the fast way is the plain way, wherever a range begins and however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_vectors import assert_same_bits, poisoned

from kinit_cli.stream import reference
from kinit_cli.stream.fill import fill_words
from kinit_cli.stream.identity import StreamKey
from kinit_cli.stream.philox import WORD_STOP, WORDS_PER_CHUNK

WORD_64 = st.integers(0, 2**64 - 1)
#: The word where the low counter word wraps for the first time, and for the last.
FIRST_WRAP, LAST_WRAP = 1 << 34, WORD_STOP - (1 << 34)
STARTS = st.one_of(
    st.integers(0, WORD_STOP - 4096),
    st.integers(FIRST_WRAP - 600, FIRST_WRAP + 8),
    st.integers(LAST_WRAP - 600, LAST_WRAP + 8),
    st.just(10**12),
)


def words(stream_key: StreamKey, start: int, count: int) -> np.ndarray:
    out = poisoned(count, np.uint32)
    fill_words(out, stream_key, start)
    return out


@given(key=WORD_64, nonce=WORD_64, start=STARTS, count=st.integers(0, 600))
def test_fast_is_reference(key: int, nonce: int, start: int, count: int) -> None:
    stream_key = StreamKey(key=key, nonce=nonce)
    assert_same_bits(words(stream_key, start, count), reference.words(stream_key, start, count))


@pytest.mark.parametrize("start", [0, 3, FIRST_WRAP - WORDS_PER_CHUNK - 5, 10**12 + 1])
def test_fast_is_reference_over_several_chunks(start: int) -> None:
    stream_key = StreamKey(key=0x299F31D0A4093822, nonce=0x0370734413198A2E)
    count = 2 * WORDS_PER_CHUNK + 7
    assert_same_bits(words(stream_key, start, count), reference.words(stream_key, start, count))


def test_the_very_last_words() -> None:
    stream_key = StreamKey(key=2**64 - 1, nonce=2**64 - 1)
    expected = reference.words(stream_key, WORD_STOP - 9, 9)
    assert_same_bits(words(stream_key, WORD_STOP - 9, 9), expected)


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (WORD_STOP - 3, 4), (WORD_STOP, 1)])
def test_a_range_outside_the_stream_is_refused(start: int, count: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        words(StreamKey(key=0, nonce=0), start, count)


def test_neighbouring_streams_share_nothing() -> None:
    base = words(StreamKey(key=5, nonce=9), 0, 4096)
    for other in (StreamKey(key=4, nonce=9), StreamKey(key=5 + 2**32, nonce=9)):
        # 4096 words of 32 bits in two streams are equal somewhere once in a million runs.
        assert not np.any(words(other, 0, 4096) == base)
    for other in (StreamKey(key=5, nonce=8), StreamKey(key=5, nonce=9 + 2**32)):
        assert not np.any(words(other, 0, 4096) == base)


def test_bits_are_fair() -> None:
    n_words = 1 << 18
    bits = np.unpackbits(words(StreamKey(key=1, nonce=2), 0, n_words).view(np.uint8))
    ones = bits.reshape(n_words, 32).sum(axis=0)
    # 5 sigma of a binomial with p = 1/2.
    assert np.all(np.abs(ones - n_words / 2) < 5 * np.sqrt(n_words) / 2)
