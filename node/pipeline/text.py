"""SDXL text conditioning: prompt to context and pooled vectors. Rules: docs, pipeline 3.3, 3.4.

The encoders run in float32 and see padding (there is no attention mask besides the causal one).
"""

from dataclasses import dataclass
from typing import Any

import torch

from node.pipeline.tokens import EMPTY_CHUNK, Chunk, Vocabulary, chunks

NEGATIVE_PROMPT = "text, watermark"


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """One encoder with the id it is padded with. ``model`` is a CLIP text model of transformers."""

    model: Any
    padding: int


@dataclass(frozen=True, slots=True)
class Conditioning:
    """``context`` [1, 77k, L+G] and ``pooled`` [1, P], float32 on the encoders' device."""

    context: torch.Tensor
    pooled: torch.Tensor


def encode(text: str, vocabulary: Vocabulary, large: TextEncoder, giant: TextEncoder) -> Conditioning:
    """Encode one prompt with both encoders, L first along the features; pooled comes from G alone."""
    pieces = chunks(text, vocabulary)
    context_large, _ = _encode_chunks(pieces, vocabulary, large)
    context_giant, last_hidden = _encode_chunks(pieces, vocabulary, giant)
    ids = torch.tensor(pieces[0].padded_ids(vocabulary, giant.padding))
    # The end token has the largest id, and the first of equals is found: the end of the first chunk.
    pooled = giant.model.text_projection(last_hidden[:1, int(ids.argmax())])
    return Conditioning(torch.cat([context_large, context_giant], dim=-1), pooled)


def _encode_chunks(
    pieces: list[Chunk], vocabulary: Vocabulary, encoder: TextEncoder
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted penultimate states [1, 77k, C] and the final-norm states [k, 77, C]."""
    weights = torch.tensor([piece.padded_weights() for piece in pieces], dtype=torch.float64)
    weighted = bool((weights != 1.0).any())
    rows = [piece.padded_ids(vocabulary, encoder.padding) for piece in pieces]
    if weighted:
        rows.append(EMPTY_CHUNK.padded_ids(vocabulary, encoder.padding))
    device = encoder.model.device
    output = encoder.model(input_ids=torch.tensor(rows, device=device), output_hidden_states=True)
    hidden = output.hidden_states[-2].float()  # [k (+1), 77, C], before the last layer and the final norm
    if weighted:
        hidden, empty = hidden[:-1], hidden[-1:]
        factor = weights[..., None].to(device)
        hidden = torch.where(factor == 1.0, hidden, empty + factor.float() * (hidden - empty))
    return hidden.reshape(1, -1, hidden.shape[-1]), output.last_hidden_state.float()
