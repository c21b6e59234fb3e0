"""Checkpoints as they are published, read lazily: header first, one tensor at a time, never a pickle.

Torch-free: ``architectures`` (``CONFIGS``, ``SIZES``, ``PATHS``) and ``safe`` (headers; only ``read`` of a
tensor imports torch). Everything else imports torch, diffusers and transformers when it is used.

``safe``
    ``open_safetensors(path) -> SafeFile``: refuses pickles, truncated files and wrong headers with
    ``BadCheckpoint`` (a ``Fatal``; its text names the file and what was expected). ``SafeFile`` is a context
    manager; ``.entries: dict[str, Entry]`` (``shape``, ``dtype`` as in the header, ``size_bytes``),
    ``.read(name) -> Tensor``.

``component``
    ``Component``: one network's weights by the names of the installed class, wherever they lie.
    ``.path`` ("still/unet"), ``.files``, ``.shapes: dict[str, tuple[int, ...]]``,
    ``.tensors(dtype=None) -> Iterator[tuple[str, Tensor]]``: on the CPU, one at a time, contiguous, cast if
    asked, refused if a value is not finite. ``dtype`` may be a torch dtype or a function of the tensor's name
    that returns one. Names and shapes were checked against the class before the first is read.

``networks``
    ``build(path, config)``, ``build_empty(path, config)`` (on the meta device),
    ``expected_shapes(path, config) -> dict[str, tuple[int, ...]]``: what the class wants.

``single_file``
    ``open_single_file(path, configs=CONFIGS) -> SingleFile`` (context manager): ``.kind`` ("sdxl" or "svd"),
    ``.paths`` (the networks inside), ``.component(path) -> Component``. Raises BadCheckpoint, naming keys, if
    a key is missing, unknown or of another shape. ``.second_encoder_difference()``: by how much SVD's second
    image encoder, which other layouts of the model may hold, differs from the first stage's.

``layout``
    ``open_component(directory, path, config, variant=None) -> Component`` (context manager): a network's
    directory in Hugging Face layout: ``config.json`` and one ``*.safetensors`` or shards with their index;
    ``variant="fp16"`` prefers files of that variant. Raises BadCheckpoint, naming the key, if ``config.json``
    describes another network than ``config``.

All ``config`` arguments have the form of ``architectures.CONFIGS`` values.
"""
