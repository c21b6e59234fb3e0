# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Users
@notice What accounts say about themselves, and the lists in which they can be found. Whoever calls writes about
        itself alone. The lists are open to everybody: being listed proves nothing.
@dev An account keeps its place in a list for good. Leaving only hides it there, so that joining, leaving and
     joining again cannot make a list longer.
"""

import ownable

initializes: ownable
exports: (ownable.owner, ownable.transferOwnership, ownable.renounceOwnership)


SERVICES: constant(uint256) = 4
MAX_ROLES: constant(uint256) = 4
LISTED_USERS: constant(uint256) = 256


struct User:
    userAddress: address
    metadataCID: String[128]
    url: String[256]
    roles: DynArray[uint8, MAX_ROLES]


struct Record:
    # Bit 0: exists. From LISTED: a bit for each list it is in. From PLACED: a bit for each list that has a
    # place for it. From ROLE_COUNT: one byte for the number of roles, then one for each role.
    flags: uint256
    metadata_cid: String[128]
    url: String[256]


EXISTS: constant(uint256) = 1
LISTED: constant(uint256) = 8
PLACED: constant(uint256) = 16
ROLE_COUNT: constant(uint256) = 24
MEMBERSHIP: constant(uint256) = 2**ROLE_COUNT - 1

_records: HashMap[address, Record]
_places: HashMap[uint8, HashMap[uint256, address]]
_place_count: HashMap[uint8, uint256]


@deploy
def __init__():
    ownable.__init__()


@external
def initialize():
    ownable._initialize_once()


@internal
@pure
def _role(flags: uint256, i: uint256) -> uint8:
    return convert((flags >> (ROLE_COUNT + 8 + 8 * i)) & 255, uint8)


@internal
@view
def _user(account: address) -> User:
    user: User = empty(User)
    flags: uint256 = self._records[account].flags
    if flags & EXISTS == 0:
        return user
    user.userAddress = account
    user.metadataCID = self._records[account].metadata_cid
    user.url = self._records[account].url
    for i: uint256 in range((flags >> ROLE_COUNT) & 255, bound=MAX_ROLES):
        user.roles.append(self._role(flags, i))
    return user


@external
@view
def getUser(userAddress: address) -> User:
    return self._user(userAddress)


@external
def updateUser(
    metadataCID: String[128], url: String[256], roles: DynArray[uint8, MAX_ROLES]
) -> User:
    flags: uint256 = (self._records[msg.sender].flags & MEMBERSHIP) | EXISTS
    flags |= len(roles) << ROLE_COUNT
    position: uint256 = ROLE_COUNT + 8
    for role: uint8 in roles:
        assert convert(role, uint256) < SERVICES, "Unknown service"
        flags |= convert(role, uint256) << position
        position += 8
    self._records[msg.sender].flags = flags
    self._records[msg.sender].metadata_cid = metadataCID
    self._records[msg.sender].url = url
    return self._user(msg.sender)


@external
def addUserToList(serviceType: uint8):
    assert convert(serviceType, uint256) < SERVICES, "Unknown service"
    flags: uint256 = self._records[msg.sender].flags
    assert flags & EXISTS != 0, "User must exist"
    service: uint256 = convert(serviceType, uint256)
    assert (flags >> (LISTED + service)) & 1 == 0, "User is already part of that list"
    has_role: bool = False
    for i: uint256 in range((flags >> ROLE_COUNT) & 255, bound=MAX_ROLES):
        if self._role(flags, i) == serviceType:
            has_role = True
    assert has_role, "User must have that role"
    if (flags >> (PLACED + service)) & 1 == 0:
        count: uint256 = self._place_count[serviceType]
        self._places[serviceType][count] = msg.sender
        self._place_count[serviceType] = count + 1
        flags |= 1 << (PLACED + service)
    self._records[msg.sender].flags = flags | (1 << (LISTED + service))


@external
def removeUserFromList(serviceType: uint8):
    assert convert(serviceType, uint256) < SERVICES, "Unknown service"
    flags: uint256 = self._records[msg.sender].flags
    assert flags & EXISTS != 0, "User must exist"
    listed: uint256 = 1 << (LISTED + convert(serviceType, uint256))
    assert flags & listed != 0, "User is not part of that list"
    self._records[msg.sender].flags = flags ^ listed


@internal
@view
def _listed(serviceType: uint8, first: uint256) -> DynArray[address, LISTED_USERS]:
    found: DynArray[address, LISTED_USERS] = []
    assert convert(serviceType, uint256) < SERVICES, "Unknown service"
    count: uint256 = self._place_count[serviceType]
    for i: uint256 in range(LISTED_USERS):
        if first + i >= count:
            break
        account: address = self._places[serviceType][first + i]
        if (self._records[account].flags >> (LISTED + convert(serviceType, uint256))) & 1 == 1:
            found.append(account)
    return found


@external
@view
def showUsersInList(serviceType: uint8) -> DynArray[address, LISTED_USERS]:
    """
    @notice Those listed among the first 256 places. The further ones: `showUsersInListFrom`.
    """
    return self._listed(serviceType, 0)


@external
@view
def showUsersInListFrom(serviceType: uint8, first: uint256) -> DynArray[address, LISTED_USERS]:
    """
    @notice Those listed among the 256 places from this one on.
    """
    return self._listed(serviceType, first)


@external
@view
def countPlacesInList(serviceType: uint8) -> uint256:
    """
    @notice How many places the list has, those of accounts that left included.
    """
    return self._place_count[serviceType]
