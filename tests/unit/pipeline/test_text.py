"""Text conditioning against a CLIP text model of our own in float64 numpy, on random tiny weights."""

import math

import numpy as np
import pytest
import torch
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from node.pipeline.text import NEGATIVE_PROMPT, TextEncoder, encode

BEGIN, END = 62, 63
WIDTH_LARGE, WIDTH_GIANT, PROJECTED = 16, 24, 20
LAYERS, HEADS = 3, 2


class Letters:
    """One token per letter: a is 1, b is 2; a capital E is the end token in the middle of a word."""

    begin, end = BEGIN, END

    def encode(self, word):
        return [END if letter == "E" else 1 + ord(letter) % 32 for letter in word]


def tiny(kind, width, activation, seed):
    config = CLIPTextConfig(
        vocab_size=64,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=PROJECTED,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=77,
        hidden_act=activation,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=END,
    )
    model = kind(config).eval().requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def large():
    return TextEncoder(tiny(CLIPTextModel, WIDTH_LARGE, "quick_gelu", 1), padding=END)


@pytest.fixture(scope="module")
def giant():
    return TextEncoder(tiny(CLIPTextModelWithProjection, WIDTH_GIANT, "gelu", 2), padding=0)


def quick_gelu(x):
    return x / (1 + np.exp(-1.702 * x))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


class Reference:
    """A CLIP text transformer, written from its paper (Radford et al. 2021) and that of its blocks."""

    def __init__(self, model, activation):
        self.weights = {
            name.removeprefix("text_model."): value.double().numpy()
            for name, value in model.state_dict().items()
        }
        self.activation = activation

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def attention(self, x, name):
        tokens, width = x.shape
        query, key, value = (
            self.linear(x, f"{name}.{part}_proj").reshape(tokens, HEADS, -1).swapaxes(0, 1) for part in "qkv"
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(width // HEADS)
        # Causal, and nothing else: padding is seen.
        scores += np.triu(np.full((tokens, tokens), -np.inf), k=1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return self.linear((shares @ value).swapaxes(0, 1).reshape(tokens, width), f"{name}.out_proj")

    def states(self, ids):
        """Return the input of the last layer, and its output after the final norm."""
        places = self.weights["embeddings.position_embedding.weight"]
        x = self.weights["embeddings.token_embedding.weight"][ids] + places
        for layer in range(LAYERS):
            penultimate = x
            name = f"encoder.layers.{layer}"
            x = x + self.attention(self.norm(x, f"{name}.layer_norm1"), f"{name}.self_attn")
            hidden = self.activation(self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1"))
            x = x + self.linear(hidden, f"{name}.mlp.fc2")
        return penultimate, self.norm(x, "final_layer_norm")


@pytest.fixture(scope="module")
def references(large, giant):
    return Reference(large.model, quick_gelu), Reference(giant.model, gelu)


def rows(*texts, padding):
    """Chunks of 77 for texts that are one word per letter."""
    chunks = [[BEGIN, *Letters().encode(text), END] for text in texts]
    return [chunk + [padding] * (77 - len(chunk)) for chunk in chunks]


def context_of(references, *texts):
    """The unweighted context of chunks with these letters, [77 k, L + G]."""
    return np.concatenate(
        [
            np.concatenate([reference.states(ids)[0] for ids in rows(*texts, padding=padding)])
            for reference, padding in zip(references, (END, 0), strict=True)
        ],
        axis=-1,
    )


def pooled_of(references, text, place):
    last = references[1].states(rows(text, padding=0)[0])[1]
    return last[place] @ references[1].weights["text_projection.weight"].T


def assert_close(ours, expected):
    assert np.abs(ours.double().numpy() - expected).max() < 2e-5 * max(1.0, np.abs(expected).max())


def test_the_context_is_the_penultimate_layer_of_l_then_of_g_without_the_final_norm(large, giant, references):
    conditioning = encode("a b c", Letters(), large, giant)
    assert conditioning.context.shape == (1, 77, WIDTH_LARGE + WIDTH_GIANT)
    assert conditioning.context.dtype == torch.float32
    assert_close(conditioning.context[0], context_of(references, "abc"))


def test_pooled_is_g_alone_at_the_end_token_after_the_final_norm_and_projection(large, giant, references):
    conditioning = encode("a b c", Letters(), large, giant)
    assert conditioning.pooled.shape == (1, PROJECTED)
    assert_close(conditioning.pooled[0], pooled_of(references, "abc", place=4))


def test_an_empty_prompt_is_encoded_like_any_other(large, giant, references):
    conditioning = encode("", Letters(), large, giant)
    assert_close(conditioning.context[0], context_of(references, ""))
    assert_close(conditioning.pooled[0], pooled_of(references, "", place=1))
    assert float(conditioning.context.abs().min(dim=-1).values.max()) > 0


def test_chunks_beyond_75_tokens_are_concatenated_and_pooled_is_the_first_ones(large, giant, references):
    conditioning = encode("a b " * 50, Letters(), large, giant)
    assert conditioning.context.shape == (1, 2 * 77, WIDTH_LARGE + WIDTH_GIANT)
    letters = "ab" * 50
    assert_close(conditioning.context[0], context_of(references, letters[:75], letters[75:]))
    assert_close(conditioning.pooled[0], pooled_of(references, letters[:75], place=76))


def test_an_end_token_inside_the_prompt_is_where_pooling_looks(large, giant, references):
    conditioning = encode("a E b", Letters(), large, giant)
    assert_close(conditioning.pooled[0], pooled_of(references, "aEb", place=2))


@pytest.mark.parametrize("weight", [1.3, 0.0, -1.5, 2.0**-30])
def test_a_weight_moves_its_tokens_away_from_the_empty_prompt(large, giant, references, weight):
    conditioning = encode(f"a (b:{weight!r}) c", Letters(), large, giant)
    plain, empty = context_of(references, "abc"), context_of(references, "")
    expected = plain.copy()
    # Begin is 0, a is 1, b is 2; all the others have weight 1.
    expected[2] = empty[2] + weight * (plain[2] - empty[2])
    assert_close(conditioning.context[0], expected)


def test_pooled_is_never_weighted(large, giant):
    weighted = encode("a (b:3) c", Letters(), large, giant)
    plain = encode("a b c", Letters(), large, giant)
    assert torch.allclose(weighted.pooled, plain.pooled, atol=1e-6)
    assert not torch.allclose(weighted.context, plain.context, atol=1e-2)


def test_weights_reach_the_tokens_of_later_chunks(large, giant, references):
    conditioning = encode("a " * 75 + "b (c:0.25)", Letters(), large, giant)
    plain, empty = context_of(references, "a" * 75, "bc"), context_of(references, "", "")
    expected = plain.copy()
    place = 77 + 2
    expected[place] = empty[place] + 0.25 * (plain[place] - empty[place])
    assert_close(conditioning.context[0], expected)


def test_an_explicit_weight_of_1_changes_no_bit(large, giant):
    plain, weighted = (encode(text, Letters(), large, giant) for text in ("a b", "(a:1) (b:1.0)"))
    assert torch.equal(plain.context, weighted.context)


def test_the_negative_prompt_is_that_of_the_reference():
    assert NEGATIVE_PROMPT == "text, watermark"
