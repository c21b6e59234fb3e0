"""A network's directory in Hugging Face layout: ``config.json`` and safetensors, whole or in shards.

The configuration in the directory is only compared: what is built is always the one asked for. Names that
older versions of the libraries gave the same weights are understood; pickled weights are never read.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from node.pipeline.checkpoints.component import Component, Origin, checked, named
from node.pipeline.checkpoints.ldm import Change
from node.pipeline.checkpoints.networks import DIFFUSERS, TRANSFORMERS, expected_shapes
from node.pipeline.checkpoints.safe import BadCheckpoint, SafeFile, open_safetensors

MAX_JSON_BYTES = 4 * 1024 * 1024
_MAX_SHARDS = 256

# Of the many keys of a transformers configuration, those that decide what these towers compute.
_COMPARED = (
    "hidden_size",
    "intermediate_size",
    "projection_dim",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "vocab_size",
    "max_position_embeddings",
    "image_size",
    "patch_size",
    "num_channels",
)
# Keys of a diffusers configuration that only its own pipelines and its training read.
_NOT_COMPARED = ("sample_size", "dropout", "force_upcast", "upcast_attention")

_LEFT_OUT = re.compile(r".*\.position_ids")
# What AutoencoderKL called its attention's layers before they became diffusers' common ones.
_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


@contextmanager
def open_component(
    directory: Path, path: str, config: Mapping[str, Any], variant: str | None = None
) -> Iterator[Component]:
    """Open the directory of the network that belongs at ``path`` and must be ``config``.

    ``variant`` ("fp16") prefers files of that name, and takes the plain ones where there are none. Raises
    BadCheckpoint if a file is missing or wrong, naming the key or tensor that differs.
    """
    check_config(directory / "config.json", path, config)
    shapes = expected_shapes(path, dict(config))
    with ExitStack() as stack:
        files = [stack.enter_context(open_safetensors(file)) for file in weight_files(directory, variant)]
        yield _match(directory, path, shapes, files)


def check_config(file: Path, path: str, config: Mapping[str, Any]) -> None:
    """Raise BadCheckpoint, naming the keys, if ``file`` describes another network than ``config``."""
    found = _read_json(file)
    defaults = _defaults(path)
    compared = _COMPARED if path in TRANSFORMERS else tuple(set(defaults) - set(_NOT_COMPARED))
    wrong = []
    for key in sorted(compared):
        # An absent key and null both mean the class's own value.
        value, wanted = (_plain(row.get(key), defaults.get(key)) for row in (found, config))
        if not _agree(value, wanted):
            wrong.append(f"{key} is {value!r:.80}, expected {wanted!r}")
    if wrong:
        raise BadCheckpoint(f"{file} describes another network than {path}: {'; '.join(wrong)}")


def _defaults(path: str) -> dict[str, Any]:
    if path in TRANSFORMERS:
        _, settings = TRANSFORMERS[path]
        values: dict[str, Any] = settings().to_dict()
        return values
    parameters = inspect.signature(DIFFUSERS[path].__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.name != "self"}


def _plain(value: Any, default: Any) -> Any:
    value = default if value is None else value
    if isinstance(value, list | tuple):
        return [_plain(item, None) for item in value]
    return value


def _agree(value: Any, wanted: Any) -> bool:
    """Compare, taking one number for all levels as a list of it."""
    if isinstance(wanted, list) and not isinstance(value, list):
        return all(value == item for item in wanted)
    if isinstance(value, list) and not isinstance(wanted, list):
        return bool(value) and all(item == wanted for item in value)
    return bool(value == wanted)


def weight_files(directory: Path, variant: str | None = None) -> tuple[Path, ...]:
    """Return the safetensors files that hold a directory's network, without opening them.

    Raises BadCheckpoint if there are none, more than one candidate, or an index that names other places.
    """
    if not directory.is_dir():
        raise BadCheckpoint(f"{directory}: expected a directory with config.json and safetensors")
    names = sorted(entry.name for entry in directory.iterdir())
    if variant is not None:
        found = _of_variant(directory, names, variant)
        if found:
            return found
    found = _of_variant(directory, names, None)
    if found:
        return found
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        raise BadCheckpoint(
            f"{directory} has only {named(pickles)}, which can run code when read: expected *.safetensors"
        )
    raise BadCheckpoint(f"{directory} has no weights: expected *.safetensors")


def _of_variant(directory: Path, names: list[str], variant: str | None) -> tuple[Path, ...]:
    # model[.fp16].safetensors, or model.safetensors.index[.fp16].json with model[.fp16]-00001-of-00002.*
    suffix = "" if variant is None else f".{variant}"
    index = [name for name in names if name.endswith(f".safetensors.index{suffix}.json")]
    whole = [
        name
        for name in names
        if re.fullmatch(rf"[^.]+{re.escape(suffix)}\.safetensors", name) and not re.search(r"-of-\d+\.", name)
    ]
    if len(index) + len(whole) > 1:
        raise BadCheckpoint(f"{directory} holds {named(index + whole)}: expected one of them")
    if whole:
        return (directory / whole[0],)
    return _shards(directory / index[0]) if index else ()


def _shards(index: Path) -> tuple[Path, ...]:
    table = _read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise BadCheckpoint(f"{index}: expected weight_map to give the file of each tensor")
    names = sorted({name for name in table.values() if isinstance(name, str)})
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors", name):
            raise BadCheckpoint(f"{index}: {name!r:.120} is not the name of a safetensors file beside it")
    if not all(isinstance(name, str) for name in table.values()) or len(names) > _MAX_SHARDS:
        raise BadCheckpoint(f"{index}: expected at most {_MAX_SHARDS} file names in weight_map")
    return tuple(index.parent / name for name in names)


def _match(
    directory: Path, path: str, shapes: Mapping[str, tuple[int, ...]], files: list[SafeFile]
) -> Component:
    holders: dict[str, SafeFile] = {}
    for file in files:
        for name in file.entries:
            if name in holders:
                raise BadCheckpoint(f"{file.path} and {holders[name].path} both hold {named([name])}")
            holders[name] = file
    origins = {}
    for target in shapes:
        stored = next((name for name in _names(path, target) if name in holders), target)
        change: Change = "pointwise" if path.endswith("/vae") and len(shapes[target]) == 2 else "same"
        origins[target] = Origin(holders.get(stored, files[0]), stored, change)
    used = {origin.name for origin in origins.values()}
    unknown = [name for name in holders if name not in used and not _LEFT_OUT.fullmatch(name)]
    if unknown:
        raise BadCheckpoint(f"{directory} holds {named(unknown)}, which {path} does not have")
    return checked(path, shapes, origins)


def _names(path: str, target: str) -> Iterator[str]:
    """Yield the names that versions of the libraries have given ``target``, the installed one's first."""
    yield target
    if path.startswith("still/text_encoder"):
        yield f"text_model.{target}"
        yield target.removeprefix("text_model.")
    elif path.endswith("/vae"):
        for new, old in _OLD_ATTENTION.items():
            if f".attentions.0.{new}." in target:
                yield target.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise BadCheckpoint(f"{file}: expected a JSON file, but there is none")
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_JSON_BYTES + 1)
        if len(text) > MAX_JSON_BYTES:
            raise BadCheckpoint(f"{file} is larger than {MAX_JSON_BYTES} bytes: expected a small JSON file")
        value = json.loads(text)
    except OSError as error:
        raise BadCheckpoint(f"{file}: expected a JSON file, but reading failed: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadCheckpoint(f"{file}: expected a JSON object")
    return value
