"""The worker's wire: what is sent is what is read, and nothing else is believed."""

from pathlib import Path

import pytest

from node.worker.process import child_environment
from node.worker.protocol import (
    MAX_MESSAGE_BYTES,
    VERSIONS,
    DeviceFree,
    Failed,
    FailureKind,
    Hello,
    Ping,
    Pong,
    Progressed,
    ProtocolViolation,
    Ready,
    Refused,
    Render,
    Rendered,
    Shutdown,
    Welcome,
    agreed_version,
    decode_from_worker,
    decode_to_worker,
    encode,
)


@pytest.mark.parametrize(
    "message",
    [
        Hello([1, 2], "tiny", "swapped"),
        Ping(3),
        Shutdown(),
        Render("j1", {"module": "m", "inputs": {"Prompt": "a\nb"}}, "/jobs/j1"),
    ],
)
def test_messages_to_the_worker_survive_the_wire(message):
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode_to_worker(line) == message


@pytest.mark.parametrize(
    "message",
    [
        Ready("c1", 7),
        Pong(3),
        Progressed("j1", "clip", 3, 50, 0.25, None),
        Progressed("j1", "clip", 50, 50, 1, None),
        Progressed("j1", "still decode", 1, 1, 0.1, "work/files/still_00001/outputs/still_00001_.png"),
        Rendered("j1", ["outputs/a.png"], "c1"),
        Welcome(1, 7),
        Refused("no"),
        DeviceFree("j1"),
        *(Failed("j1", "no", kind) for kind in FailureKind),
    ],
)
def test_messages_from_the_worker_survive_the_wire(message):
    read = decode_from_worker(encode(message))
    assert read == message
    assert type(getattr(read, "of", None)) is type(getattr(message, "of", None))


def test_the_newest_version_that_both_speak_is_agreed_on():
    assert agreed_version([*VERSIONS, max(VERSIONS) + 1]) == max(VERSIONS)
    assert agreed_version([max(VERSIONS) + 1]) is None


def progressed(rest):
    return f'{{"kind": "Progressed", "job_id": "j", "stage": "s", "step": 1, "steps": 2, {rest}}}'.encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"{}",
        b'{"kind": "Ping", "number": 1}',
        b'{"kind": "Pong"}',
        b'{"kind": "Pong", "number": "1"}',
        b'{"kind": "Pong", "number": true}',
        b'{"kind": "Pong", "number": 1, "more": 2}',
        b'{"kind": "Rendered", "job_id": "j", "outputs": [1], "determinism_class": "c"}',
        progressed('"fraction": true, "artifact": null'),
        progressed('"fraction": 0.5'),
        progressed('"fraction": 0.5, "artifact": 7'),
        b'{"kind": ["Pong"], "number": 1}',
        b'{"kind": "Failed", "job_id": "j", "reason": "r", "of": "age"}',
        b'{"kind": "Failed", "job_id": "j", "reason": "r"}',
    ],
)
def test_anything_else_is_a_violation(line):
    with pytest.raises(ProtocolViolation):
        decode_from_worker(line)


def test_a_message_that_is_too_long_is_not_sent():
    with pytest.raises(ProtocolViolation, match="too long"):
        encode(Failed("j1", "x" * MAX_MESSAGE_BYTES, FailureKind.JOB))


def test_a_worker_inherits_only_what_it_needs():
    daemon = {"PATH": "/bin", "SDV_NODE__WALLET__PASSWORD_FILE": "/secret", "AWS_SECRET": "s", "LANG": "C"}
    environment = child_environment(daemon, Path("/srv/node"))
    assert environment["PATH"] == "/bin"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert environment["TORCHINDUCTOR_CACHE_DIR"].startswith("/srv/node/")
    assert not {"SDV_NODE__WALLET__PASSWORD_FILE", "AWS_SECRET"} & environment.keys()


@pytest.mark.parametrize("opening", [b"[", b'{"kind":'])
def test_a_worker_cannot_exhaust_the_daemons_stack(opening):
    with pytest.raises(ProtocolViolation, match="not JSON"):
        decode_from_worker(opening * (MAX_MESSAGE_BYTES // len(opening)) + b"\n")
