"""The k-diffusion package as a test oracle: its ``sampling.py`` alone, its training dependencies left out.

Importing the package itself would import torchvision, clip and more through ``k_diffusion.utils``, of which
the samplers need one function. The file is therefore loaded into a package of another name whose ``utils``
holds just that function, and the name is taken out of ``sys.modules`` again.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_PACKAGE = "tests_oracle_k_diffusion"


def load() -> ModuleType:
    """Return k-diffusion's ``sampling`` module."""
    package = importlib.util.find_spec("k_diffusion")
    assert package is not None, "the test group of dependencies is not installed: k-diffusion is missing"
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "sampling.py"
    parent, utils = ModuleType(_PACKAGE), ModuleType(f"{_PACKAGE}.utils")
    parent.__path__ = []
    utils.append_dims = _append_dims
    parent.utils = utils
    spec = importlib.util.spec_from_file_location(f"{_PACKAGE}.sampling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules |= {parent.__name__: parent, utils.__name__: utils}
    try:
        spec.loader.exec_module(module)
    finally:
        for name in (parent.__name__, utils.__name__):
            del sys.modules[name]
    return module


def _append_dims(x, dimensions):
    """Give ``x`` trailing dimensions of size one until it has ``dimensions`` of them."""
    return x.reshape(x.shape + (1,) * (dimensions - x.ndim))
