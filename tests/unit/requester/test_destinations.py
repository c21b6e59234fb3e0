"""Addresses that strangers publish lead to the public internet only, unless the market is a private one."""

import socket

import aiohttp
import pytest

from node.destinations import Reach, is_public
from tests.fakes.jobs import make_config


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"],
)
def test_the_public_internet_is_public(address):
    assert is_public(address)
    assert Reach.PUBLIC.objection(address) is None


PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
    *(
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::",
    ),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_nothing_else_is(address):
    assert not is_public(address)
    assert "requester.private_gateways" in Reach.PUBLIC.objection(address)
    assert Reach.ANY.objection(address) is None


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "a.localhost", "printer.local", "db.internal"])
def test_names_that_stay_in_the_house_are_out_of_reach(name):
    assert Reach.PUBLIC.objection(name) is not None


@pytest.mark.parametrize("name", ["node.example", "localhost.example", "2130706433", "0x7f.1"])
def test_other_names_are_judged_by_what_they_stand_for(name):
    assert Reach.PUBLIC.objection(name) is None


class Resolver(aiohttp.abc.AbstractResolver):
    """Whoever asks is told this machine, as with a name that was rebound."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "rebound.example"])
async def test_no_connection_is_opened_to_what_is_out_of_reach(host):
    connector = Reach.PUBLIC.connector()
    connector._resolver = Resolver()
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match="is not on the public internet"):
            await session.get(f"http://{host}:9/")


@pytest.mark.parametrize(
    ("chain_id", "setting", "reach"),
    [
        (31337, "auto", Reach.ANY),
        (1337, "auto", Reach.ANY),
        (421614, "auto", Reach.PUBLIC),
        (0, "auto", Reach.PUBLIC),
        (421614, "allow", Reach.ANY),
        (31337, "refuse", Reach.PUBLIC),
    ],
)
def test_private_addresses_are_allowed_on_development_chains_or_by_the_operator(chain_id, setting, reach):
    config = make_config(chain={"chain_id": chain_id}, requester={"private_gateways": setting})
    assert config.reach is reach
