# pragma version 0.4.3
"""
@title ControllerOwnable
@notice Calls that only the Controller may make. The owner names the Controller once; from then on nobody can
        put another contract in its place.
"""

import ownable

uses: ownable


_controller: address


@internal
@view
def _check_controller():
    controller: address = self._controller
    if msg.sender != controller:
        assert controller != empty(address), "ControllerOwnable: Controller address must be defined"
        raise "ControllerOwnable: Only the controller can call this method"


@external
@view
def getControllerAddress() -> address:
    return self._controller


@external
def setControllerAddress(_controllerAddress: address):
    ownable._check_owner()
    assert _controllerAddress != empty(address), "ControllerOwnable: Controller address must be defined"
    assert self._controller == empty(address), "ControllerOwnable: Controller address is fixed"
    self._controller = _controllerAddress
