"""The shipped table of sources pins what it must, and a wrong table is refused."""

import re

import pytest

from node.errors import Misconfigured
from node.pipeline.checkpoints.architectures import PATHS
from node.pipeline.profiles import load_profile, load_profiles
from node.pipeline.weights.layout import expected_files, networks, stored_dtype
from node.resources import data_path

REAL = ("sdv-1.0", "sdv-1.1")


def table(**changes):
    text = data_path("config/models.toml").read_text(encoding="utf-8")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.mark.parametrize("name", REAL)
def test_a_real_profile_computes_as_the_reference_on_a_recent_card(name):
    profile = load_profile(name)
    assert (profile.device, profile.kernels, profile.precision) == ("cuda", "compiled", "float16")
    assert profile.vae_precision == "bfloat16"
    assert (profile.still_size, profile.clip_width, profile.clip_height, profile.frames) == (
        1024,
        1024,
        576,
        25,
    )
    assert profile.serves == (name,)


@pytest.mark.parametrize("name", REAL)
def test_a_real_profile_pins_commits_and_every_network(name):
    profile = load_profile(name)
    assert set(networks(profile)) == set(PATHS)
    for source in profile.sources.values():
        assert re.fullmatch("[0-9a-f]{40}", source.revision)
        for file in (*source.files, source.single_file):
            assert re.fullmatch("([0-9a-f]{64})?", file.sha256)


def test_both_real_profiles_draw_their_stills_with_the_same_weights():
    assert load_profile("sdv-1.0").still == load_profile("sdv-1.1").still
    assert load_profile("sdv-1.0").clip != load_profile("sdv-1.1").clip


def test_the_stills_decoder_is_the_one_inside_the_single_file():
    paths = [file.path for file in load_profile("sdv-1.0").still.files if file.part == "vae"]
    assert all(path.startswith("vae_1_0/") for path in paths)


def test_only_the_newer_video_model_is_gated():
    gated = {
        source.repository for name in REAL for source in load_profile(name).sources.values() if source.gated
    }
    assert gated == {"stabilityai/stable-video-diffusion-img2vid-xt-1-1"}


def test_a_profile_consists_of_the_vocabulary_and_two_files_for_each_network():
    files = expected_files(load_profile("sdv-1.1"))
    assert files[:2] == ("still/tokenizer/vocab.json", "still/tokenizer/merges.txt")
    assert set(files[2:]) == {
        f"{path}/{name}" for path in PATHS for name in ("config.json", "model.safetensors")
    }


@pytest.mark.parametrize(
    ("path", "tensor", "kind"),
    [
        ("still/unet", "conv_in.weight", "float16"),
        ("clip/unet", "down_blocks.0.attentions.0.time_mixer.mix_factor", "float16"),
        ("still/vae", "decoder.conv_in.weight", "bfloat16"),
        ("clip/vae", "quant_conv.weight", "bfloat16"),
        ("still/text_encoder", "encoder.layers.0.layer_norm1.weight", "float16"),
        ("still/text_encoder", "embeddings.token_embedding.weight", "float32"),
        ("still/text_encoder_2", "text_projection.weight", "float16"),
        ("clip/image_encoder", "vision_model.embeddings.class_embedding", "float32"),
        ("clip/image_encoder", "vision_model.pre_layrnorm.weight", "float32"),
        ("clip/image_encoder", "vision_model.post_layernorm.bias", "float32"),
        ("clip/image_encoder", "visual_projection.weight", "float32"),
        ("clip/image_encoder", "vision_model.encoder.layers.0.layer_norm1.weight", "float16"),
    ],
)
def test_each_tensor_is_kept_as_the_reference_uses_it(path, tensor, kind):
    assert stored_dtype(path, tensor, precision="float16", vae_precision="bfloat16") == kind


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('revision = "462165984030d82259a11f4367a4eed129e94a7b"', 'revision = "main"', "revision"),
        ("31e35c80fc4829d1", "31e35c80fc4829dX", "sha256"),
        ('"tokenizer/vocab.json"', '"../../etc/passwd"', "files"),
        ('"tokenizer/vocab.json"', '"/etc/passwd"', "files"),
        ("bytes = 1059962", "bytes = -1", "bytes"),
        ('part = "tokenizer"', 'part = "../x"', "part"),
        ('clip = "svd-xt-1.0"', 'clip = "svd-xt-9"', "svd-xt-9"),
        ('clip = "svd-xt-1.0"\n', "", "both still and clip"),
        ("made_here = true", "made_here = false", "both still and clip"),
        ('name = "svd_xt.safetensors"', 'name = "svd_xt.ckpt"', "single_file"),
        ("gated = true", "gated = 1", "gated"),
    ],
)
def test_a_wrong_table_is_refused_naming_the_key(tmp_path, old, new, told):
    path = tmp_path / "models.toml"
    path.write_text(table(change=(old, new)), encoding="utf-8")
    with pytest.raises(Misconfigured, match=re.escape(told)):
        load_profiles(path)


def test_profiles_of_the_operator_join_the_shipped_ones_and_replace_those_of_the_same_name(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".config/sdv-node/models.toml"
    own.parent.mkdir(parents=True)
    shipped = data_path("config/models.toml").read_text()
    tiny = shipped[shipped.index("[tiny]") : shipped.index("frames = 25")] + "frames = 3\n"
    eager = (
        shipped[shipped.index('["sdv-1.1"]') : shipped.index("# Where weights")]
        .replace('["sdv-1.1"]', '["sdv-1.1-eager"]', 1)
        .replace("compiled", "eager")
    )
    own.write_text(f"{tiny}\n{eager}")
    profiles = load_profiles()
    assert profiles["tiny"].frames == 3
    assert profiles["sdv-1.1-eager"].kernels == "eager"
    assert profiles["sdv-1.1-eager"].clip == profiles["sdv-1.1"].clip
    own.write_text(tiny + 'colour = "red"\n')
    with pytest.raises(Misconfigured, match=r"models\.toml .*colour"):
        load_profiles()


def test_models_that_take_turns_need_less_of_the_device():
    profile = load_profile("sdv-1.1")
    assert profile.placed("resident") == profile
    assert profile.placed("swapped").memory_gb == profile.swapped_memory_gb < 16 < profile.memory_gb


@pytest.mark.parametrize("name", ["sdv-1.0", "sdv-1.1"])
@pytest.mark.parametrize("residency", ["resident", "swapped"])
def test_the_need_of_a_profile_is_that_of_its_largest_stage(name, residency):
    profile = load_profile(name).placed(residency)
    assert dict(profile.stages_gb).keys() == {"still", "still decode", "clip", "clip decode"}
    assert max(size for _, size in profile.stages_gb) == profile.memory_gb


def test_a_stage_beyond_the_need_of_its_profile_is_refused(tmp_path):
    path = tmp_path / "models.toml"
    shipped = data_path("config/models.toml").read_text()
    path.write_text(shipped.replace('"clip decode" = 22.0', '"clip decode" = 23.0', 1))
    with pytest.raises(Misconfigured, match="memory_gb is 22, which is not the largest of stages_gb"):
        load_profiles(path)
