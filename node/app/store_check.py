"""What ``sdv-node doctor`` says of the folder that published results are in."""

from node.app.checks import Check, problem
from node.app.control import ask_running_node
from node.app.housekeeping import STORE
from node.config import Config
from node.errors import NodeError
from node.publisher.blockstore import FOLDERS

REMEDY = "mount its disk again or put the folder back: results cannot be served and nothing new is taken"
DAMAGE_REMEDY = "check the disk, and put the blocks or the job's result folder back from a backup"


async def check_store(config: Config) -> list[Check]:
    """Is the store still there? A running node is asked; nothing is said where no node ever ran."""
    root = config.node.directory / "ipfs"
    try:
        answer = await ask_running_node(config.node.directory, STORE)
    except NodeError:
        answer = None  # of another version or user, or just ending: what can be seen is looked at
    if answer is not None and answer.get("problem") is not None:
        return [problem("store", str(answer["problem"]), REMEDY)]
    if answer is not None and answer.get("damage") is not None:
        return [problem("store", str(answer["damage"]), DAMAGE_REMEDY)]
    # A node makes both at its start.
    if not (config.node.directory / "jobs").is_dir():
        return []
    lacking = [name for name in FOLDERS if not (root / name).is_dir()]
    if lacking:
        return [problem("store", f"the block store {root} is gone, it has no {', '.join(lacking)}", REMEDY)]
    return [Check("store", "ok", f"published results are in {root}")]
