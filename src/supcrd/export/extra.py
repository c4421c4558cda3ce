"""The packages that exporting to ONNX needs, which come with an extra."""

from importlib import import_module
from types import ModuleType

from supcrd.errors import SupcrdError


def need(name: str) -> ModuleType:
    """A package of `supcrd[export]`.

    Raises:
        SupcrdError: it is not installed.

    Example:
        >>> need("json").__name__
        'json'
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise SupcrdError(
            f"{package} is not installed here, which ONNX files need: pip install 'supcrd[export]'"
        ) from None
