"""The operator's settings file: where it is, and how it is written whole or not at all."""

import os
import tempfile
from pathlib import Path

import click

from node.cli.context import Settings
from node.usual_places import CONFIG_FILES, usual_config_file


def own_file(ctx: click.Context) -> Path:
    """Return the file that is read, or the one to make if there is none."""
    settings: Settings = ctx.obj
    if settings.config_path:
        return Path(settings.config_path)
    system, own = CONFIG_FILES
    return usual_config_file() or Path(system if os.geteuid() == 0 else own).expanduser()


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text at once; its mode stays, a new one is for its owner and group alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        before = target.stat() if target.exists() else None
        os.chmod(name, before.st_mode & 0o777 if before else 0o640)  # noqa: PTH101 - beside os.chown
        if before is not None and os.geteuid() == 0:
            os.chown(name, before.st_uid, before.st_gid)
        os.replace(name, target)  # noqa: PTH105 - a name of tempfile's
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
