"""A network's directory in Hugging Face layout: found, compared with what it must be, and read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from node.pipeline.checkpoints.architectures import CONFIGS
from node.pipeline.checkpoints.layout import check_config, open_component, weight_files
from node.pipeline.checkpoints.networks import build
from node.pipeline.checkpoints.safe import BadCheckpoint
from tests.unit.pipeline.checkpoints.sgm.published import TINY

VAE = "still/vae"
TEXT = "still/text_encoder"


def lay_out(directory, path, name="diffusion_pytorch_model.safetensors", state=None, **changes):
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**TINY[path], **changes}))
    state = build(path, TINY[path]).state_dict() if state is None else state
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, directory / name)
    return state


def read(directory, path, variant=None):
    with open_component(directory, path, TINY[path], variant) as component:
        return dict(component.tensors()), component.files


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


@pytest.mark.parametrize("path", TINY)
def test_what_the_libraries_save_is_read_back(tmp_path, path):
    network = build(path, TINY[path])
    network.save_pretrained(tmp_path, safe_serialization=True)
    assert same(read(tmp_path, path)[0], network.state_dict())


def test_shards_are_read_through_their_index(tmp_path):
    network = build(VAE, TINY[VAE])
    network.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="200KB")
    found, files = read(tmp_path, VAE)
    assert same(found, network.state_dict())
    assert len(files) > 2


def test_the_variant_is_preferred_and_the_plain_files_taken_where_it_is_not(tmp_path):
    plain = lay_out(tmp_path, VAE)
    assert same(read(tmp_path, VAE, "fp16")[0], plain)
    half = {key: tensor.half() for key, tensor in plain.items()}
    lay_out(tmp_path, VAE, "diffusion_pytorch_model.fp16.safetensors", half)
    assert same(read(tmp_path, VAE, "fp16")[0], half)
    assert same(read(tmp_path, VAE)[0], plain)


def test_shards_of_a_variant_are_found_by_its_own_index(tmp_path):
    network = build(VAE, TINY[VAE]).half()
    network.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="100KB", variant="fp16")
    found, files = read(tmp_path, VAE, "fp16")
    assert same(found, network.state_dict())
    assert all(".fp16" in file.name for file in files)


def test_names_from_before_transformers_flattened_the_text_model_are_understood(tmp_path):
    state = build(TEXT, TINY[TEXT]).state_dict()
    old = {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in state.items()}
    old["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    lay_out(tmp_path, TEXT, "model.safetensors", old)
    assert same(read(tmp_path, TEXT)[0], state)


def test_names_from_before_diffusers_shared_its_attention_are_understood(tmp_path):
    state = build(VAE, TINY[VAE]).state_dict()
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for key, tensor in state.items():
        for new, former in names.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")  # noqa: PLW2901
        old[key] = tensor
    assert old.keys() != state.keys()
    lay_out(tmp_path, VAE, state=old)
    assert same(read(tmp_path, VAE)[0], state)


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (VAE, {"block_out_channels": [32, 64, 64, 64]}, r"block_out_channels is \[32, 64, 64, 64\], exp"),
        (VAE, {"scaling_factor": 0.18215}, "scaling_factor is 0.18215, expected 0.13025"),
        (VAE, {"act_fn": "gelu"}, "act_fn is 'gelu', expected 'silu'"),
        (TEXT, {"hidden_act": "gelu"}, "hidden_act is 'gelu', expected 'quick_gelu'"),
        (TEXT, {"num_hidden_layers": 12}, "num_hidden_layers is 12, expected 3"),
        ("still/unet", {"attention_head_dim": 8}, "attention_head_dim is 8, expected"),
        ("clip/unet", {"num_frames": 14}, "num_frames is 14, expected 25"),
        ("clip/image_encoder", {"patch_size": 16}, "patch_size is 16, expected 14"),
    ],
)  # fmt: skip
def test_a_configuration_of_another_network_is_refused_by_key(tmp_path, path, change, message):
    lay_out(tmp_path, path, "model.safetensors", {"x": torch.zeros(1)}, **change)
    with pytest.raises(
        BadCheckpoint, match=f"config.json describes another network than {path}: .*{message}"
    ):
        read(tmp_path, path)


# As published at stabilityai/stable-diffusion-xl-base-1.0 and stable-video-diffusion-img2vid-xt.
PUBLISHED = {
    "still/text_encoder": {
        "architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0,
        "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0,
        "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "float16",
        "transformers_version": "4.32.0.dev0", "vocab_size": 49408,
    },
    "still/text_encoder_2": {
        "architectures": ["CLIPTextModelWithProjection"], "attention_dropout": 0.0, "bos_token_id": 0,
        "dropout": 0.0, "eos_token_id": 2, "hidden_act": "gelu", "hidden_size": 1280,
        "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 5120,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
        "num_attention_heads": 20, "num_hidden_layers": 32, "pad_token_id": 1, "projection_dim": 1280,
        "torch_dtype": "float16", "transformers_version": "4.32.0.dev0", "vocab_size": 49408,
    },
    "still/unet": {
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.19.0.dev0", "act_fn": "silu",
        "addition_embed_type": "text_time", "addition_embed_type_num_heads": 64,
        "addition_time_embed_dim": 256, "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280], "center_input_sample": False, "class_embed_type": None,
        "class_embeddings_concat": False, "conv_in_kernel": 3, "conv_out_kernel": 3,
        "cross_attention_dim": 2048, "cross_attention_norm": None,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "downsample_padding": 1, "dual_cross_attention": False, "encoder_hid_dim": None,
        "encoder_hid_dim_type": None, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4,
        "layers_per_block": 2, "mid_block_only_cross_attention": None, "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 32,
        "num_attention_heads": None, "num_class_embeds": None, "only_cross_attention": False,
        "out_channels": 4, "projection_class_embeddings_input_dim": 2816, "resnet_out_scale_factor": 1.0,
        "resnet_skip_time_act": False, "resnet_time_scale_shift": "default", "sample_size": 128,
        "time_cond_proj_dim": None, "time_embedding_act_fn": None, "time_embedding_dim": None,
        "time_embedding_type": "positional", "timestep_post_act": None,
        "transformer_layers_per_block": [1, 2, 10],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "upcast_attention": None, "use_linear_projection": True,
    },
    "still/vae": {
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.20.0.dev0", "act_fn": "silu",
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True, "in_channels": 3,
        "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
        "sample_size": 1024, "scaling_factor": 0.13025, "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
    "clip/image_encoder": {
        "architectures": ["CLIPVisionModelWithProjection"], "attention_dropout": 0.0, "dropout": 0.0,
        "hidden_act": "gelu", "hidden_size": 1280, "image_size": 224, "initializer_factor": 1.0,
        "initializer_range": 0.02, "intermediate_size": 5120, "layer_norm_eps": 1e-05,
        "model_type": "clip_vision_model", "num_attention_heads": 16, "num_channels": 3,
        "num_hidden_layers": 32, "patch_size": 14, "projection_dim": 1024, "torch_dtype": "float16",
        "transformers_version": "4.34.0.dev0",
    },
    "clip/unet": {
        "_class_name": "UNetSpatioTemporalConditionModel", "_diffusers_version": "0.24.0.dev0",
        "addition_time_embed_dim": 256, "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 1024,
        "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3 + ["DownBlockSpatioTemporal"],
        "in_channels": 8, "layers_per_block": 2, "num_attention_heads": [5, 10, 20, 20], "num_frames": 25,
        "out_channels": 4, "projection_class_embeddings_input_dim": 768, "sample_size": 96,
        "transformer_layers_per_block": 1,
        "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3,
    },
    "clip/vae": {
        "_class_name": "AutoencoderKLTemporalDecoder", "_diffusers_version": "0.24.0.dev0",
        "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
        "force_upcast": True, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
        "out_channels": 3, "sample_size": 768, "scaling_factor": 0.18215,
    },
}  # fmt: skip


@pytest.mark.parametrize("path", PUBLISHED)
def test_the_published_configurations_describe_the_full_size_networks(tmp_path, path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(PUBLISHED[path]))
    check_config(file, path, CONFIGS[path])


def test_one_number_for_all_levels_is_the_same_as_a_list_of_it(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**PUBLISHED["clip/unet"], "transformer_layers_per_block": [1, 1, 1, 1]}))
    check_config(file, "clip/unet", CONFIGS["clip/unet"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"has no weights: expected \*\.safetensors"),
        (
            ["diffusion_pytorch_model.bin", "model.ckpt"],
            "only diffusion_pytorch_model.bin, model.ckpt, which can run",
        ),
        (["a.safetensors", "b.safetensors"], "holds a.safetensors, b.safetensors: expected one"),
    ],
)
def test_without_exactly_one_candidate_the_directory_is_refused(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadCheckpoint, match=message):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            {"weight_map": {"a": "../other/model.safetensors"}},
            "is not the name of a safetensors file beside it",
        ),
        ({"weight_map": {"a": "/etc/passwd"}}, "is not the name of a safetensors file beside it"),
        ({"weight_map": {"a": "model.bin"}}, "is not the name of a safetensors file beside it"),
        ({"weight_map": {"a": 1}}, "expected at most 256 file names"),
        (
            {"weight_map": {str(i): f"m{i}.safetensors" for i in range(257)}},
            "expected at most 256 file names",
        ),
        ({"weight_map": {}}, "expected weight_map"),
        ({"metadata": {}}, "expected weight_map"),
        ([], "expected a JSON object"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(tmp_path, index, message):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadCheckpoint, match=message):
        weight_files(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    build(VAE, TINY[VAE]).save_pretrained(tmp_path, safe_serialization=True, max_shard_size="200KB")
    (shard,) = tmp_path.glob("*-00002-of-*.safetensors")
    shard.unlink()
    with pytest.raises(BadCheckpoint, match=f"{shard.name}.*No such file"):
        read(tmp_path, VAE)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    lay_out(tmp_path, VAE, "a-00001-of-00002.safetensors")
    lay_out(tmp_path, VAE, "a-00002-of-00002.safetensors")
    table = {"x": "a-00001-of-00002.safetensors", "y": "a-00002-of-00002.safetensors"}
    (tmp_path / "a.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(BadCheckpoint, match="both hold"):
        read(tmp_path, VAE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b" " * (5 * 1024 * 1024)])
def test_a_wrong_configuration_file_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        read(tmp_path, VAE)


def test_missing_and_unknown_tensors_are_named(tmp_path):
    state = build(VAE, TINY[VAE]).state_dict()
    lay_out(tmp_path, VAE, state={key: state[key] for key in state if key != "quant_conv.bias"})
    with pytest.raises(BadCheckpoint, match=r"lacks quant_conv\.bias, expected for still/vae"):
        read(tmp_path, VAE)
    lay_out(tmp_path, VAE, state={**state, "extra": torch.zeros(1)})
    with pytest.raises(BadCheckpoint, match=r"holds extra, which still/vae does not have"):
        read(tmp_path, VAE)
    (tmp_path / "config.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"config\.json: expected a JSON file"):
        read(tmp_path, VAE)
