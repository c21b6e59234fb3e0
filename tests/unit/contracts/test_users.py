"""What accounts say about themselves and the lists they can be found in."""

import pytest

from tests.unit.contracts.evm import account, refused
from tests.unit.contracts.market import JC, RP, STRANGER, Market

RESOURCE_PROVIDER, JOB_CREATOR = 2, 3
NOBODY = ("0x" + "0" * 40, "", "", ())


def hexed(address: bytes) -> str:
    return "0x" + address.hex()


def test_a_user_writes_about_itself_alone_and_overwrites_the_whole_record(market: Market) -> None:
    outcome = market.users.send(RP, "updateUser", "bafyoffer", "https://node.example", (2, 1))
    assert outcome.returned == (hexed(RP), "bafyoffer", "https://node.example", (2, 1))
    assert market.users.read("getUser", RP) == outcome.returned
    assert market.users.read("getUser", JC) == NOBODY
    market.users.send(RP, "updateUser", "", "", ())
    assert market.users.read("getUser", RP) == (hexed(RP), "", "", ())


def test_joining_and_leaving_a_list(market: Market) -> None:
    with refused("User must exist"):
        market.users.send(RP, "addUserToList", RESOURCE_PROVIDER)
    with refused("User must exist"):
        market.users.send(RP, "removeUserFromList", RESOURCE_PROVIDER)
    market.users.send(RP, "updateUser", "", "", (RESOURCE_PROVIDER,))
    with refused("User must have that role"):
        market.users.send(RP, "addUserToList", JOB_CREATOR)
    with refused("User is not part of that list"):
        market.users.send(RP, "removeUserFromList", RESOURCE_PROVIDER)
    market.users.send(RP, "addUserToList", RESOURCE_PROVIDER)
    with refused("User is already part of that list"):
        market.users.send(RP, "addUserToList", RESOURCE_PROVIDER)
    assert market.users.read("showUsersInList", RESOURCE_PROVIDER) == (hexed(RP),)
    assert market.users.read("showUsersInList", JOB_CREATOR) == ()
    market.users.send(RP, "updateUser", "changed", "", ())
    assert market.users.read("showUsersInList", RESOURCE_PROVIDER) == (hexed(RP),)
    market.users.send(RP, "removeUserFromList", RESOURCE_PROVIDER)
    assert market.users.read("showUsersInList", RESOURCE_PROVIDER) == ()


def test_joining_again_and_again_does_not_make_a_list_longer(market: Market) -> None:
    for user in (RP, JC):
        market.users.send(user, "updateUser", "", "", (RESOURCE_PROVIDER,))
        market.users.send(user, "addUserToList", RESOURCE_PROVIDER)
    for _ in range(3):
        market.users.send(RP, "removeUserFromList", RESOURCE_PROVIDER)
        market.users.send(RP, "addUserToList", RESOURCE_PROVIDER)
    assert market.users.read("showUsersInList", RESOURCE_PROVIDER) == (hexed(RP), hexed(JC))
    assert market.users.read("countPlacesInList", RESOURCE_PROVIDER) == 2


def test_a_list_that_strangers_filled_can_still_be_read_to_its_end(market: Market) -> None:
    crowd = [number.to_bytes(20, "big") for number in range(1000, 1260)]
    for user in (*crowd, RP):
        market.users.send(user, "updateUser", "", "", (RESOURCE_PROVIDER,))
        market.users.send(user, "addUserToList", RESOURCE_PROVIDER)
    market.users.send(crowd[3], "removeUserFromList", RESOURCE_PROVIDER)
    first = market.users.read("showUsersInList", RESOURCE_PROVIDER)
    rest = market.users.read("showUsersInListFrom", RESOURCE_PROVIDER, 256)
    assert first + rest == tuple(hexed(user) for user in (*crowd, RP) if user != crowd[3])
    assert (len(first), len(rest)) == (255, 5)
    assert market.users.read("showUsersInListFrom", RESOURCE_PROVIDER, 261) == ()


@pytest.mark.parametrize("service", [4, 5, 255])
def test_there_are_four_services(market: Market, service: int) -> None:
    with refused("Unknown service"):
        market.users.send(STRANGER, "updateUser", "", "", (service,))
    for function in ("addUserToList", "removeUserFromList"):
        with refused("Unknown service"):
            market.users.send(STRANGER, function, service)
    with refused("Unknown service"):
        market.users.read("showUsersInList", service)


@pytest.mark.parametrize("arguments", [("c" * 129, "", ()), ("", "u" * 257, ()), ("", "", (0, 1, 2, 3, 0))])
def test_records_are_bounded(market: Market, arguments: tuple) -> None:
    with refused(""):
        market.users.send(account(1), "updateUser", *arguments)
