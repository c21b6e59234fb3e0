"""The control socket: commands of the node's own user, one line in, one line out, whatever callers do."""

import asyncio
import json
import os
import stat
import struct
from contextlib import asynccontextmanager

import pytest

from node.app import control
from node.app.control import CommandFailed, ask_running_node
from node.errors import Fatal, RefusedByPolicy, Unreachable


async def echo(arguments):
    return {"heard": dict(arguments)}


async def refuse(arguments):
    raise RefusedByPolicy("not within the caps")


async def break_down(arguments):
    raise LookupError("inner text")


VERBS = {"echo": echo, "refuse": refuse, "break": break_down}


def control_socket(directory, verbs, on_fatal=pytest.fail):
    return control.control_socket(directory, verbs, on_fatal=on_fatal)


@asynccontextmanager
async def raw_caller(directory):
    reader, writer = await asyncio.open_unix_connection(directory / control.SOCKET_NAME)
    try:
        yield reader, writer
    finally:
        writer.close()


async def say(directory, line):
    async with raw_caller(directory) as (reader, writer):
        writer.write(line)
        await writer.drain()
        return json.loads(await reader.readline())


async def test_a_command_is_carried_out_and_answered(tmp_path):
    async with control_socket(tmp_path, VERBS):
        assert await ask_running_node(tmp_path, "echo", {"amount": "1"}) == {"heard": {"amount": "1"}}


async def test_without_a_node_there_is_no_answer_to_wait_for(tmp_path):
    assert await ask_running_node(tmp_path, "echo") is None
    assert await ask_running_node(tmp_path / "nowhere", "echo") is None


async def test_what_a_killed_node_left_is_no_node_and_is_replaced(tmp_path):
    with control._bound(tmp_path):
        os.link(tmp_path / control.SOCKET_NAME, tmp_path / "left")
    (tmp_path / "left").rename(tmp_path / control.SOCKET_NAME)
    assert await ask_running_node(tmp_path, "echo") is None
    async with control_socket(tmp_path, VERBS):
        assert await ask_running_node(tmp_path, "echo", {}) == {"heard": {}}
    assert not (tmp_path / control.SOCKET_NAME).exists()


async def test_only_its_user_can_open_it_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        async with control_socket(tmp_path, VERBS):
            assert stat.S_IMODE((tmp_path / control.SOCKET_NAME).stat().st_mode) == 0o600
    finally:
        os.umask(before)


async def test_a_caller_who_is_neither_this_user_nor_root_is_refused(tmp_path, monkeypatch):
    class Foreigner:
        def getsockopt(self, *_):
            return struct.pack("3i", 4242, 65_000, 65_000)

    monkeypatch.setattr(control.os, "geteuid", lambda: 1000)
    door = control._Door(VERBS, pytest.fail)
    said, fatal = await door._answer(asyncio.StreamReader(), Foreigner())
    answer = json.loads(said)
    assert fatal is None
    assert answer["exit_code"] == 4
    assert "only the user" in answer["error"]


async def test_a_refusal_keeps_its_words_and_its_exit_code(tmp_path):
    async with control_socket(tmp_path, VERBS):
        with pytest.raises(CommandFailed, match="not within the caps") as refused:
            await ask_running_node(tmp_path, "refuse")
    assert refused.value.exit_code == 4


async def test_a_bug_in_a_command_ends_the_command_not_the_node(tmp_path):
    async with control_socket(tmp_path, VERBS):
        with pytest.raises(CommandFailed, match="see its log") as failed:
            await ask_running_node(tmp_path, "break")
        assert "inner text" not in str(failed.value)
        assert await ask_running_node(tmp_path, "echo", {}) == {"heard": {}}


async def test_what_the_node_must_stop_for_is_answered_first_and_then_told(tmp_path):
    told = asyncio.Event()

    async def lose_the_signer(arguments):
        raise Fatal("the signer signs nothing")

    async with control_socket(tmp_path, {"send": lose_the_signer}, on_fatal=lambda _: told.set()):
        with pytest.raises(CommandFailed, match="the signer signs nothing"):
            await ask_running_node(tmp_path, "send")
        async with asyncio.timeout(60):
            await told.wait()


async def test_an_unknown_command_is_answered_with_the_known_ones(tmp_path):
    async with control_socket(tmp_path, VERBS):
        with pytest.raises(CommandFailed, match="break, echo, refuse"):
            await ask_running_node(tmp_path, "sing")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b'{"verb": 7}\n',
        b'{"verb": "echo", "arguments": []}\n',
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b"x" * (control.MAX_REQUEST_BYTES + 10) + b"\n",
    ],
)
async def test_what_is_no_command_is_told_what_one_is(tmp_path, line):
    async with control_socket(tmp_path, VERBS):
        answer = await say(tmp_path, line)
        assert answer["exit_code"] == 2
        assert "a command is" in answer["error"]


async def test_a_caller_who_says_nothing_is_sent_away(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "REQUEST_TIMEOUT_S", 0.01)
    async with control_socket(tmp_path, VERBS), raw_caller(tmp_path) as (reader, _):
        assert "no command came" in json.loads(await reader.readline())["error"]


async def test_more_callers_than_allowed_are_told_to_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "MAX_CONNECTIONS", 1)
    async with control_socket(tmp_path, VERBS), raw_caller(tmp_path) as (_, idle):
        await idle.drain()
        with pytest.raises(CommandFailed, match="under way already") as told:
            await ask_running_node(tmp_path, "echo")
    assert told.value.exit_code == 75


async def test_a_node_that_stops_first_is_told_as_such(tmp_path):
    begun, never = asyncio.Event(), asyncio.Event()

    async def wait(arguments):
        begun.set()
        await never.wait()

    async with control_socket(tmp_path, {"wait": wait}):
        asking = asyncio.create_task(ask_running_node(tmp_path, "wait"))
        await begun.wait()
    with pytest.raises(Unreachable, match="stopped before it answered"):
        await asking


async def test_a_data_directory_may_have_a_longer_name_than_a_socket(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with control_socket(deep, VERBS):
        assert await ask_running_node(deep, "echo", {}) == {"heard": {}}
