"""Prompt text to chunks of 77 token ids with a weight each, for the two text encoders.

Both encoders share one vocabulary and differ only in padding. Rules: docs, pipeline 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from node.pipeline.prompt import weighted_segments, words

CHUNK = 77
_ROOM = CHUNK - 2
_LONGEST_UNCUT = 7


class Vocabulary(Protocol):
    """What is needed of a CLIP tokenizer."""

    begin: int
    end: int

    def encode(self, word: str) -> list[int]:
        """Return the ids of one word, without begin and end."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to 75 token ids and as many weights, without begin, end and padding."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    def padded_ids(self, vocabulary: Vocabulary, padding: int) -> list[int]:
        """Return the 77 ids the encoder reads: begin, tokens, end, padding."""
        ids = [vocabulary.begin, *self.ids, vocabulary.end]
        return ids + [padding] * (CHUNK - len(ids))

    def padded_weights(self) -> list[float]:
        """Return 77 weights; begin, end and padding have weight 1."""
        return [1.0, *self.weights, *[1.0] * (CHUNK - 1 - len(self.weights))]


EMPTY_CHUNK = Chunk((), ())


def chunks(text: str, vocabulary: Vocabulary) -> list[Chunk]:
    """Return at least one chunk. A word's tokens stay together unless they are 8 or more."""
    groups = [
        (vocabulary.encode(word), weight)
        for segment, weight in weighted_segments(text)
        for word in words(segment)
    ]
    return pack(groups)


def pack(groups: Sequence[tuple[list[int], float]]) -> list[Chunk]:
    """Place (token ids, weight) groups in order into chunks of at most 75 tokens."""
    closed: list[Chunk] = []
    ids: list[int] = []
    weights: list[float] = []

    def close() -> None:
        closed.append(Chunk(tuple(ids), tuple(weights)))
        ids.clear()
        weights.clear()

    for tokens, weight in groups:
        left = list(tokens)
        while left:
            # Only a word of 8 or more tokens is cut; what remains of it counts as long to its end.
            taken = min(len(left), _ROOM - len(ids))
            if taken < len(left) and len(tokens) <= _LONGEST_UNCUT:
                taken = 0
            ids.extend(left[:taken])
            weights.extend([weight] * taken)
            left = left[taken:]
            if left:
                close()
    if ids or not closed:
        close()
    return closed
