"""A halt that stands is told by doctor, and is cleared only by somebody who says that it is settled."""

import asyncio

import pytest

from node.app.checkup import check_halt
from node.app.parties import open_halts
from node.cli.main import main
from tests.fakes.jobs import make_config


async def test_doctor_names_a_standing_halt(tmp_path):
    config = make_config(node={"data_dir": str(tmp_path)})
    assert await check_halt(config) == []
    assert list(tmp_path.iterdir()) == []
    with open_halts(config) as halts:
        await halts.write("another node uses the key")
        assert await check_halt(config) == []  # whoever holds the journal speaks for itself
    (check,) = await check_halt(config)
    assert (check.name, check.verdict) == ("halt", "problem")
    assert "another node uses the key" in check.finding
    with open_halts(config) as halts:
        await halts.clear()
    assert await check_halt(config) == []


@pytest.mark.parametrize(("flags", "code"), [([], 1), (["--json"], 1), (["--yes"], 0)])
async def test_a_halt_is_not_cleared_where_nobody_can_be_asked(tmp_path, flags, code, capsys):
    config = make_config(node={"data_dir": str(tmp_path)})
    with open_halts(config) as halts:
        await halts.write("blocks were dropped")
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, ["--data-dir", str(tmp_path), "resume", *flags])
    assert ended.value.code == code
    printed = capsys.readouterr()
    assert ("add --yes" in printed.err) == (code == 1)
    with open_halts(config) as halts:
        assert (await halts.standing() is None) == (code == 0)
