"""I8: key, password and the credentials in addresses are in no artefact of a node, whatever happens to it."""

import asyncio
import base64
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from node.chain.keystore import DEVNET_SCRYPT_COST, create_keystore
from node.chain.signer import LocalSigner
from node.types import Wei
from tests.chaos.conftest import MODULE, ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.integration]

KEY = bytes.fromhex("5ec2e7" * 10 + "0bad")
PASSWORD = "recognisable-password-4711"
WRONG = "recognisable-mistake-4712"
RPC_PASSWORD = "recognisable-rpc-4713"
HUB_TOKEN = "hf_recognisable4714"
SECRETS = {
    "the key in hex": KEY.hex().encode(),
    "the key": KEY,
    "the key in base64": base64.b64encode(KEY).rstrip(b"="),
    "the key as a number": str(int.from_bytes(KEY)).encode(),
    "the password": PASSWORD.encode(),
    "the password in base64": base64.b64encode(PASSWORD.encode())[:-4],
    "a wrong password": WRONG.encode(),
    "the endpoint's password": RPC_PASSWORD.encode(),
    "the hub's token": HUB_TOKEN.encode(),
}


def found_in(content: bytes) -> list[str]:
    """Return which secrets are in some bytes."""
    lowered = content.lower()
    return [name for name, secret in SECRETS.items() if secret in content or secret.lower() in lowered]


def private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


async def fund(market, address):
    await market.fund(address, ether_wei=10**20, token_wei=10**21)
    await market.rpc.call("anvil_impersonateAccount", [address])
    call = market.contracts.approve(market.addresses.payments, Wei(10**21))
    request = {"from": address, "to": call.to, "data": "0x" + call.data.hex()}
    await market.rpc.call("eth_sendTransaction", [request])


async def http_answers(world, job) -> dict[str, bytes]:
    """Return what every route says, the beginning of the endless one included."""
    answers = {}
    async with aiohttp.ClientSession() as session:
        for path in (
            *("/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/jobs", "/", "/nowhere"),
            *("/api/v1/jobs/j1", "/api/v1/jobs/nope", "/static/main.js", f"/ipfs/{job['cid']}"),
            *(f"/ipfs/{job['cid']}/manifest.json", f"/ipfs/{job['cid']}?format=car", "/ipfs/nonsense"),
        ):
            async with session.get(world.url + path) as answer:
                answers[path] = str(answer.headers).encode() + await answer.read()
        async with session.get(world.url + "/api/v1/events") as answer:
            answers["events"] = await answer.content.readany()
    return answers


async def ends(world, *changes, code) -> None:
    """Start a node that cannot run, and check how it ends."""
    text = world.config_file.read_text()
    for before, after in changes:
        assert before in text
        world.config_file.write_text(world.config_file.read_text().replace(before, after))
    await world.start(HF_TOKEN=HUB_TOKEN)
    assert await world.death() == code
    world.config_file.write_text(text)


def command(world, *words) -> bytes:
    """Return everything another command of the operator says."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", "--config", str(world.config_file), *words],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    return done.stdout + done.stderr


async def test_no_artefact_of_a_node_holds_a_secret(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(240):
        home = world.directory / "node"
        keystore, password = home / "keystore.json", home / "password"
        keystore.unlink()
        create_keystore(keystore, PASSWORD, key=KEY, scrypt_cost=DEVNET_SCRYPT_COST)
        private(password, PASSWORD)
        url = world.box.market.url
        with_credentials = url.replace("http://", f"http://operator:{quote(RPC_PASSWORD)}@")
        world.config_file.write_text(world.config_file.read_text().replace(url, with_credentials))
        await fund(world.box.market, LocalSigner(KEY).address)
        # The search finds what it looks for where it may be.
        assert found_in(password.read_bytes()) == ["the password"]
        assert found_in(b"x" + KEY.hex().upper().encode()) == ["the key in hex"]

        said = {}
        # Failures first: each says something, about exactly the thing that is secret.
        private(password, WRONG)
        await ends(world, code=2)
        private(password, PASSWORD)
        good = keystore.read_text()
        private(keystore, good.replace("scrypt", "scrypd"))
        await ends(world, code=2)
        private(keystore, KEY.hex())
        await ends(world, code=2)
        private(keystore, good)
        port = url.rpartition(":")[2]
        await ends(world, (f"@127.0.0.1:{port}", "@127.0.0.1:9"), code=3)

        core_limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (core_limit[1], core_limit[1]))
        try:
            await world.start(HF_TOKEN=HUB_TOKEN)
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, core_limit)
        async with world.requester() as party:
            outcome = await party.request(MODULE, ("Prompt=a fox",))
        assert outcome.state == "paid"
        job = await world.reached("j1", "PAID")

        node = Path(f"/proc/{world.process.pid}")
        said["the node's arguments"] = (node / "cmdline").read_bytes()
        # The hub's token is in the environment that this test gave it, nothing else is.
        said["the node's environment"] = (
            (node / "environ").read_bytes().replace(f"HF_TOKEN={HUB_TOKEN}".encode(), b"")
        )
        limits = (node / "limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4] == "0"
        workers = children_of(world.process.pid)
        assert workers
        for pid in workers:
            said[f"arguments of child {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
            said[f"environment of child {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()
        said |= await http_answers(world, job)
        for words in (
            *(("jobs", "show", "j1"), ("config", "show"), ("doctor", "--quick")),
            *(("wallet", "approve", "5"), ("wallet", "withdraw", "1")),
        ):
            said[" ".join(words)] = command(world, *words)
        assert b"transaction 0x" in said["wallet approve 5"]
        assert b"payout_address" in said["wallet withdraw 1"]

        world.process.send_signal(signal.SIGTERM)
        assert await world.death() == 0
        for path in world.directory.rglob("*"):
            if path.is_file() and path not in {keystore, password, world.config_file}:
                said[str(path)] = path.read_bytes()
        assert any(name.endswith("journal.sqlite") for name in said)
        assert any(name.endswith("node.log") for name in said)
        assert {name: found for name, content in said.items() if (found := found_in(content))} == {}


def test_a_process_that_holds_a_key_can_be_neither_dumped_nor_traced():
    program = (
        "import ctypes, resource\n"
        "from node.app.core_files import keep_memory_private\n"
        "keep_memory_private()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "open('/proc/self/fd/0').close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.stdout.split() == ["0", "0"], done.stderr
