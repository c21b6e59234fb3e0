"""What a provider may submit instead of the result of its job, each as convincing as can be made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from node.job.manifest import MANIFEST, class_name, digest
from node.job.spec import JobSpec, parse_inputs
from node.pipeline.results import describe_output
from node.worker.fake import FakeRenderer

Render = Callable[[JobSpec, Path], Path]
"""Renders a job into a folder, and returns its result directory."""

STILL, WEBP, MP4 = (
    "outputs/still_00001_.png",
    "outputs/output_00001_.webp",
    "outputs/output_00001_.mp4",
)


def fake_render(spec: JobSpec, job_dir: Path) -> Path:
    return FakeRenderer("fake:0").render(spec, job_dir, lambda _: None).directory


def edit(directory: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest, and let it fit the files that are there."""
    document = json.loads((directory / MANIFEST).read_text())
    change(document)
    for output in document["outputs"]:
        path = directory / output["path"]
        if path.exists():
            output.update(describe_output(output["path"], path).to_json())
            document["stages"][output["path"]] = output["sha256"]
    (directory / MANIFEST).write_text(f"{json.dumps(document, indent=1, ensure_ascii=False)}\n")


def other_job(spec: JobSpec, *changed: str) -> JobSpec:
    inputs = dict(entry.split("=", 1) for entry in spec.to_inputs())
    inputs |= dict(entry.split("=", 1) for entry in changed)
    return parse_inputs(spec.module, inputs)


def rendered_with(*changed: str) -> Callable[[JobSpec, Path, Render], Path]:
    """Render other inputs, and claim that they were those of the job."""

    def cheat(spec: JobSpec, folder: Path, render: Render) -> Path:
        directory = render(other_job(spec, *changed), folder)
        edit(directory, lambda manifest: manifest.update(inputs=spec.tunables()))
        return directory

    return cheat


def changed_byte(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    content = bytearray((directory / MP4).read_bytes())
    content[-1] ^= 1
    (directory / MP4).write_bytes(content)
    edit(directory, lambda _: None)
    return directory


def clumsy_byte(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    with (directory / WEBP).open("ab") as file:
        file.write(b"x")
    return directory


def swapped_files(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    webp, mp4 = (directory / WEBP).read_bytes(), (directory / MP4).read_bytes()
    (directory / WEBP).write_bytes(mp4)
    (directory / MP4).write_bytes(webp)
    edit(directory, lambda _: None)
    return directory


def missing_file(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    (directory / MP4).unlink()

    def forget(manifest: dict) -> None:
        manifest["outputs"] = [output for output in manifest["outputs"] if output["path"] != MP4]
        del manifest["stages"][MP4]

    edit(directory, forget)
    return directory


def other_weights(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)

    def claim(manifest: dict) -> None:
        manifest["weights"] = {"still/unet/weights.safetensors": "ab" * 32}
        manifest["class_parts"]["weights"] = digest(manifest["weights"])
        manifest["determinism_class"] = class_name(manifest["class_parts"])

    edit(directory, claim)
    return directory


def stale_result(spec: JobSpec, folder: Path, render: Render) -> Path:
    return render(other_job(spec, "Prompt=what somebody else asked for"), folder)


def altered_text(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    (directory / "stdout").write_text("done, believe me\n")
    return directory


def failure_for_pay(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    (directory / "exitCode").write_text("1")
    return directory


def unlisted_file(spec: JobSpec, folder: Path, render: Render) -> Path:
    directory = render(spec, folder)
    shutil.copy(directory / STILL, directory / "outputs/still_00002_.png")
    return directory


CHEATS: dict[str, Callable[[JobSpec, Path, Render], Path]] = {
    "changed byte": changed_byte,
    "changed byte beside an honest manifest": clumsy_byte,
    "other seed": rendered_with("Seed=4711"),
    "other video seed": rendered_with("VideoSeed=4711"),
    "fewer steps": rendered_with("Steps=5"),
    "fewer video steps": rendered_with("VideoSteps=5"),
    "other prompt": rendered_with("Prompt=a cheaper picture"),
    "other sampler": rendered_with("Sampler=euler"),
    "swapped files": swapped_files,
    "missing file": missing_file,
    "other weights": other_weights,
    "stale result": stale_result,
    "altered text": altered_text,
    "failure for pay": failure_for_pay,
    "file more": unlisted_file,
}
