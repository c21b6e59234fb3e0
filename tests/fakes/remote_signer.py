"""A remote signer that a test steers: Web3Signer's and Clef's ways of answering, over HTTP or a socket."""

import asyncio
import json
from contextlib import asynccontextmanager

from aiohttp import web
from eth_account import Account
from eth_account.messages import encode_defunct
from hexbytes import HexBytes

from node.chain.devnet import dev_key

DENIED = {"code": -32000, "message": "request denied"}


class StubSigner:
    """Answers JSON-RPC. ``flavour`` is ``web3signer`` or ``clef``; the other attributes make it misbehave."""

    def __init__(self, key: bytes = dev_key(4), flavour: str = "web3signer") -> None:
        self.account = Account.from_key(key)
        self.flavour = flavour
        self.refusal = None
        """The JSON-RPC error of every answer."""
        self.alter = dict
        """Changes the transaction before it is signed."""
        self.answer = None
        """The result, whatever was asked."""
        self.body = None
        """The bytes of the whole reply."""
        self.status = 200
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked = []
        self.headers = []
        self.entered = asyncio.Event()

    async def reply(self, request):
        """Return the reply to one JSON-RPC request."""
        self.asked.append(request)
        self.entered.set()
        await self.go_on.wait()
        if self.body is not None:
            return self.body
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        if self.refusal is not None:
            return json.dumps(answer | {"error": self.refusal}).encode()
        method, params = request["method"], request["params"]
        clef = self.flavour == "clef"
        if method == ("account_signTransaction" if clef else "eth_signTransaction"):
            raw = self._sign(params[0])
            return json.dumps(answer | {"result": {"raw": raw, "tx": {}} if clef else raw}).encode()
        if method == ("account_signData" if clef else "eth_sign"):
            text = bytes.fromhex(params[-1][2:])
            signature = self.account.sign_message(encode_defunct(text)).signature
            return json.dumps(answer | {"result": "0x" + bytes(signature).hex()}).encode()
        unknown = {"code": -32601, "message": f"the method {method} does not exist"}
        return json.dumps(answer | {"error": unknown}).encode()

    def _sign(self, fields):
        if self.answer is not None:
            return self.answer
        assert fields["from"] == self.account.address.lower() or self.alter is not dict
        tx = self.alter({
            "type": 2,
            "accessList": [],
            "to": bytes.fromhex(fields["to"][2:]),
            "data": fields["data"],
            **{name: int(fields[name], 16) for name in (
                "chainId", "nonce", "value", "gas", "maxFeePerGas", "maxPriorityFeePerGas",
            )},
        })  # fmt: skip
        return "0x" + bytes(HexBytes(self.account.sign_transaction(tx).raw_transaction)).hex()

    @asynccontextmanager
    async def over_http(self):
        """Serve on a free port and give the address."""

        async def handle(request):
            self.headers.append(dict(request.headers))
            reply = await self.reply(await request.json())
            kind = "text/html" if self.body is not None else "application/json"
            return web.Response(body=reply, status=self.status, content_type=kind)

        app = web.Application()
        app.router.add_post("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self.go_on.set()
            await runner.cleanup()

    @asynccontextmanager
    async def over_socket(self, path):
        """Serve on a unix socket, one line for each message, and give the address."""

        visits = []

        async def meet(reader, writer):
            visits.append(asyncio.current_task())
            while line := await reader.readline():
                writer.write(await self.reply(json.loads(line)) + b"\n")
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_unix_server(meet, path)
        try:
            yield f"unix://{path}"
        finally:
            server.close()
            await asyncio.gather(*visits)
