"""The loaded networks of the tiny profile: the corrections they need, and the text conditioning they give."""

import pytest
import torch
from torch import nn

from node.pipeline import text

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_video_residual_blocks_have_the_trained_epsilon_and_attention_keeps_its_own(renderer):
    norms = {
        name: module.eps
        for name, module in renderer.models.clip_unet.unet.named_modules()
        if isinstance(module, nn.GroupNorm)
    }
    inside = {eps for name, eps in norms.items() if ".resnets." in name}
    attention = {eps for name, eps in norms.items() if "attentions" in name}
    assert inside == {1e-5}
    assert attention == {1e-6}


def encode(models, prompt):
    with torch.inference_mode():
        return text.encode(prompt, models.vocabulary, models.large, models.giant)


def test_context_is_77_tokens_a_chunk_with_both_encoders_side_by_side(renderer):
    assert encode(renderer.models, "").context.shape == (1, 77, 64)
    assert encode(renderer.models, "cow " * 80).context.shape[1] > 77
    assert encode(renderer.models, "a cow").pooled.shape == (1, 32)


def test_weights_move_tokens_away_from_the_empty_prompt_and_leave_pooled_alone(renderer):
    plain, empty = encode(renderer.models, "a cow"), encode(renderer.models, "")
    none, double = encode(renderer.models, "(a cow:0)"), encode(renderer.models, "(a cow:2)")
    words = slice(1, 4)
    assert torch.allclose(none.context[:, words], empty.context[:, words], atol=1e-5)
    assert torch.allclose(
        double.context[:, words], 2 * plain.context[:, words] - empty.context[:, words], atol=1e-4
    )
    assert torch.equal(double.context[:, 0], plain.context[:, 0])
    assert torch.allclose(double.pooled, plain.pooled, atol=1e-5)


def test_context_is_the_penultimate_layer_without_the_final_norm_and_pooled_is_the_end_token(renderer):
    models = renderer.models
    ids = models.vocabulary.encode("cow")
    row = [models.vocabulary.begin, *ids, models.vocabulary.end]
    with torch.inference_mode():
        padded = {
            padding: torch.tensor([row + [padding] * (77 - len(row))])
            for padding in (models.vocabulary.end, 0)
        }
        large = models.large.model(input_ids=padded[models.vocabulary.end], output_hidden_states=True)
        giant = models.giant.model(input_ids=padded[0], output_hidden_states=True)
    encoded = encode(models, "cow")
    assert torch.allclose(encoded.context[..., :32], large.hidden_states[-2], atol=1e-5)
    assert torch.allclose(encoded.context[..., 32:], giant.hidden_states[-2], atol=1e-5)
    assert torch.allclose(encoded.pooled, giant.text_embeds, atol=1e-5)
