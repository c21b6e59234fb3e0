"""The CLIP towers as in the published checkpoints: OpenCLIP's two, and the older text tower of SDXL."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, hidden, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x, mask=None):
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp.c_proj(functional.gelu(self.mlp.c_fc(self.ln_2(x))))


class Stack(nn.Module):
    def __init__(self, width, hidden, heads, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, hidden, heads) for _ in range(layers))


class TextTower(nn.Module):
    def __init__(self, *, words, width, hidden, heads, layers, outputs, length=77):
        super().__init__()
        self.token_embedding = nn.Embedding(words, width)
        self.positional_embedding = nn.Parameter(torch.zeros(length, width))
        self.transformer = Stack(width, hidden, heads, layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, outputs))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, ids):
        """The states before the last layer [N, T, width] and the projected state of the largest id."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        mask = torch.full((ids.shape[1], ids.shape[1]), float("-inf")).triu(1)
        states = [x]
        for block in self.transformer.resblocks:
            states.append(block(states[-1], mask))
        last = self.ln_final(states[-1])
        return states[-2], last[torch.arange(len(ids)), ids.argmax(dim=1)] @ self.text_projection


class VisionTower(nn.Module):
    def __init__(self, *, patch, side, width, hidden, heads, layers, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((side // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Stack(width, hidden, heads, layers)
        self.proj = nn.Parameter(torch.zeros(width, outputs))

    def forward(self, pixels):
        x = self.conv1(pixels).flatten(2).mT
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer.resblocks:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


class LargeLayer(nn.Module):
    def __init__(self, width, hidden, heads):
        super().__init__()
        self.heads = heads
        self.self_attn = nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self.self_attn, name, nn.Linear(width, width))
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        normed = self.layer_norm1(x)
        q, k, v = (
            layer(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.self_attn.q_proj, self.self_attn.k_proj, self.self_attn.v_proj)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.self_attn.out_proj(attended.transpose(1, 2).flatten(2))
        hidden = self.mlp.fc1(self.layer_norm2(x))
        return x + self.mlp.fc2(hidden * torch.sigmoid(1.702 * hidden))


class LargeTower(nn.Module):
    """OpenAI's text tower in the names transformers had when SDXL was published."""

    def __init__(self, *, words, width, hidden, heads, layers, length=77):
        super().__init__()
        self.text_model = model = nn.Module()
        model.embeddings = nn.Module()
        model.embeddings.token_embedding = nn.Embedding(words, width)
        model.embeddings.position_embedding = nn.Embedding(length, width)
        model.embeddings.register_buffer("position_ids", torch.arange(length)[None])
        model.encoder = nn.Module()
        model.encoder.layers = nn.ModuleList(LargeLayer(width, hidden, heads) for _ in range(layers))
        model.final_layer_norm = nn.LayerNorm(width)

    def forward(self, ids):
        """The states before the last layer and those after the final norm, each [N, T, width]."""
        model = self.text_model
        x = model.embeddings.token_embedding(ids)
        states = [x + model.embeddings.position_embedding.weight[: ids.shape[1]]]
        for layer in model.encoder.layers:
            states.append(layer(states[-1]))
        return states[-2], model.final_layer_norm(states[-1])
