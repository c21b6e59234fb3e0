"""Tiny networks published in both ways of the real ones: Hugging Face repositories and single files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.errors import NodeError
from node.pipeline.profiles import load_profiles
from node.pipeline.weights import conversion, convert
from tests.integration.models.hub import Hub

REVISIONS = {"lab/still": "1" * 40, "lab/clip": "2" * 40}
SECRET = "hf_allowed"
_PROFILE = """
["{name}"]
made_here = false
still = "still-source"
clip = "clip-source"
device = "cpu"
precision = "float16"
vae_precision = "bfloat16"
kernels = "eager"
swapped_memory_gb = 0.0
memory_gb = 0.0
serves = ["sdv-1.0"]
threads = 1
still_size = 64
clip_width = 96
clip_height = 64
frames = 2
"""
_SOURCE = """
[sources."{name}"]
repository = "{repository}"
revision = "{revision}"
gated = {gated}
licence = "none"
single_file = {{ name = "{single}", bytes = {bytes}, sha256 = "{sha256}" }}

[sources."{name}".files]
"""
_UNPINNED = ("unet/diffusion_pytorch_model.fp16.safetensors", "vae/config.json")
"""Of the clip: large and small files whose hashes nobody publishes."""


@dataclass
class Published:
    """Where everything lies, and the profiles that pin it."""

    root: Path
    configs: dict
    table: Path

    @property
    def folders(self):
        return {repository: self.root / "layout" / repository for repository in REVISIONS}

    @property
    def single_files(self):
        return self.root / "single"

    def profile(self, name="real"):
        return load_profiles(self.table)[name]


class Quiet:
    """A reporter that remembers."""

    def __init__(self):
        self.begun, self.notes, self.done = [], [], 0

    def begin(self, what, total_bytes):
        self.begun.append(what)

    def advance(self, count):
        self.done += count

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def report():
    return Quiet()


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Networks at random weights as ``sd_xl_base_1.0`` (float16) and ``svd_xt`` (float32), and in layout."""
    import torch
    from safetensors.torch import save_file

    from node.pipeline.checkpoints.single_file import open_single_file
    from node.pipeline.toy_configs import vocabulary_files
    from tests.unit.pipeline.checkpoints.sgm.published import TINY, randomise, sdxl, state, svd

    root = tmp_path_factory.mktemp("published")
    (root / "single").mkdir()
    tokenizer = root / "layout" / "lab" / "still" / "tokenizer"
    tokenizer.mkdir(parents=True)
    for path, text in vocabulary_files().items():
        (tokenizer / Path(path).name).write_text(text, encoding="utf-8")
    files = {"lab/still": ["tokenizer/vocab.json", "tokenizer/merges.txt"], "lab/clip": []}
    for make, single, repository in (
        (sdxl, "sd_xl_base_1.0.safetensors", "lab/still"),
        (svd, "svd_xt.safetensors", "lab/clip"),
    ):
        networks = {
            prefix: randomise(network, seed) for seed, (prefix, network) in enumerate(make(TINY).items())
        }
        tensors = state(networks)
        if repository == "lab/still":
            tensors = {name: tensor.half() for name, tensor in tensors.items()}
        save_file(tensors, root / "single" / single)
        with open_single_file(root / "single" / single, TINY) as checkpoint:
            for path in checkpoint.paths:
                part = path.partition("/")[2]
                # As the real profile pins them: what the reference keeps wide comes wide.
                wide = repository == "lab/clip" and part != "unet"
                stem = "model" if "encoder" in part else "diffusion_pytorch_model"
                name = f"{stem}.safetensors" if wide else f"{stem}.fp16.safetensors"
                folder = root / "layout" / repository / part
                folder.mkdir(parents=True)
                dtype = torch.float32 if wide else torch.float16
                save_file(dict(checkpoint.component(path).tensors(dtype)), folder / name)
                (folder / "config.json").write_text(json.dumps(TINY[path]), encoding="utf-8")
                files[repository] += [f"{part}/config.json", f"{part}/{name}"]
    text = _PROFILE.format(name="real") + _PROFILE.format(name="twin")
    for repository, single in (
        ("lab/still", "sd_xl_base_1.0.safetensors"),
        ("lab/clip", "svd_xt.safetensors"),
    ):
        content = (root / "single" / single).read_bytes()
        text += _SOURCE.format(
            name=repository.replace("lab/", "") + "-source",
            repository=repository,
            revision=REVISIONS[repository],
            gated=str(repository == "lab/clip").lower(),
            single=single,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for path in files[repository]:
            content = (root / "layout" / repository / path).read_bytes()
            unpinned = repository == "lab/clip" and path in _UNPINNED
            size, sha256 = (0, "") if unpinned else (len(content), hashlib.sha256(content).hexdigest())
            part = path.partition("/")[0]
            text += f'"{path}" = {{ part = "{part}", bytes = {size}, sha256 = "{sha256}" }}\n'
    (root / "models.toml").write_text(text, encoding="utf-8")
    return Published(root, TINY, root / "models.toml")


@pytest.fixture
def hub(published):
    with Hub(published.folders, REVISIONS, gated=("lab/clip",)) as running:
        yield running


@pytest.fixture
def in_process(monkeypatch):
    """Convert in this process, which has torch already; one test has the real process."""

    def run(plan, reporter):
        plan = json.loads(json.dumps(plan))
        for group in plan["groups"]:
            try:
                convert._convert_group(Path(plan["target"]), group, plan["precision"], plan["vae_precision"])
            except (NodeError, ValueError, OSError) as error:
                return str(error)
        return None

    monkeypatch.setattr(conversion, "_run", run)
    monkeypatch.setattr(convert, "_tell", lambda _message: None)


class ConversionBegan(Exception):
    """Everything before it went well."""


@pytest.fixture
def until_conversion(monkeypatch):
    """End a pull when all files are there and checked."""

    def stop(*arguments):
        raise ConversionBegan

    monkeypatch.setattr("node.pipeline.weights.pull.convert", stop)
    return ConversionBegan


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    # What a broken connection loses is less than one piece; the library's are 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)


@pytest.fixture(autouse=True)
def _no_token_of_this_machine(monkeypatch):
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
