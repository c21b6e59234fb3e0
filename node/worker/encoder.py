"""The process that encodes a worker's clips, seen from both ends.

It is a process of its own so that a crash in a codec ends neither the models beside it nor the job that is
being computed meanwhile: what it was writing when it died is known. It has no models and imports no torch.
Orders and answers are JSON lines over its standard input and output; it ends with its worker, whose end
closes them.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from node.errors import JobFailed
from node.pipeline.clip_order import ClipOrder
from node.worker.deaths import EncoderDied

_END_S = 5.0


class EncoderProcess:
    """The worker's end. Started by the first order or by ``start``, and again after a death."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = Lock()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Have the process there before it is needed."""
        with self._turn:
            self._running()

    def close(self) -> None:
        """End the process, whatever it writes."""
        process = self._process
        if process is not None:
            process.kill()
            self._bury(process)

    def write_clip(self, order: ClipOrder) -> list[str]:
        """Carry out an order, one at a time, and return the files' paths from its folder.

        Raises EncoderDied if the process died with it, else what ``Encoders.write_clip`` raises.
        """
        with self._turn:
            process = self._running()
            document = asdict(order) | {"frames": str(order.frames), "folder": str(order.folder)}
            try:
                process.stdin.write(json.dumps(document).encode() + b"\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                line = process.stdout.readline()  # type: ignore[union-attr]
            except BrokenPipeError:
                line = b""
            if not line.endswith(b"\n"):
                raise EncoderDied(f"while it wrote clip {order.number}, {self._bury(process)}")
        return _answered(json.loads(line))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._bury(self._process)
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "node.worker.encoder"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._process

    def _bury(self, process: subprocess.Popen[bytes]) -> str:
        self._process = None
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # What was still to be written goes nowhere.
                with suppress(OSError):
                    pipe.close()
        return (
            f"the encoder was killed by signal {-code}"
            if code < 0
            else f"the encoder ended with exit code {code}"
        )


def _answered(answer: dict[str, Any]) -> list[str]:
    match answer:
        case {"paths": paths}:
            return [str(path) for path in paths]
        case {"job": reason}:
            raise JobFailed(str(reason))
        case {"disk": reason, "errno": number}:
            raise OSError(number, str(reason))
    raise EncoderDied(f"the encoder gave no answer but {answer!r:.200}")


def main() -> None:
    """Carry out orders until the worker is gone."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        for line in sys.stdin.buffer:
            thread.submit(_carry_out, line)
        # The worker is gone: nobody will read what a thread is still writing.
        os._exit(0)


def _carry_out(line: bytes) -> None:
    try:
        answer = _carried_out(json.loads(line))
    except JobFailed as error:
        answer = {"job": str(error)}
    except OSError as error:
        answer = {"disk": str(error.strerror or error), "errno": error.errno}
    except BaseException:  # noqa: BLE001 - in a thread it would end nothing
        sys.excepthook(*sys.exc_info())
        # As any other process ends of an error that it does not know; the worker sees it off.
        os._exit(1)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def _carried_out(document: dict[str, Any]) -> dict[str, Any]:
    # Imported here, because the worker's end needs none of it.
    from safetensors.numpy import load_file

    from node.pipeline.encoding import Encoders

    order = ClipOrder(**document | {"frames": Path(document["frames"]), "folder": Path(document["folder"])})
    frames = load_file(order.frames)["data"]
    with Encoders() as encoders:
        paths = encoders.write_clip(
            order.number, frames, order.framerate, order.folder, with_frames=order.with_frames
        )
    return {"paths": paths}


if __name__ == "__main__":
    main()
