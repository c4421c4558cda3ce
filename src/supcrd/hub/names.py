"""Names on the hub, and what of a user's machine does not belong there."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from supcrd.base.files import is_address
from supcrd.errors import SupcrdError

SCHEME = "hf://"
DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
"""What the hub calls data sources."""


def without_paths(value: Any) -> Any:
    """A value, in tables and lists too, with the folders of absolute paths taken off.

    Of addresses what lets its reader in is taken off: a name and password, and what a signed one has behind `?`.

    Example:
        >>> without_paths({"source": "npz:/home/ann/secret/tiny.npz", "sizes": [1, "/a/b"], "kind": "folder:photos"})
        {'source': 'npz:tiny.npz', 'sizes': [1, 'b'], 'kind': 'folder:photos'}
    """
    if isinstance(value, Mapping):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(inner) for inner in value]
    if not isinstance(value, str):
        return value
    kind, colon, path = ("", "", value)
    if not is_address(value) and re.match(r"[a-z_0-9]{2,}:", value):
        kind, colon, path = value.partition(":")
    if is_address(path):
        known = re.sub(r"(?<=://)[^/@]*@", "", path)
        # elsewhere it is a letter of a pattern
        return f"{kind}{colon}{known.partition('?')[0] if known.startswith('http') else known}"
    if PurePosixPath(path).is_absolute():
        return f"{kind}{colon}{PurePosixPath(path).name}"
    return f"{kind}{colon}{PureWindowsPath(path).name}" if PureWindowsPath(path).is_absolute() else value


def dataset_of(source: str) -> str | None:
    """The hub's name of a data source, if it has one.

    Example:
        >>> dataset_of("cifar100"), dataset_of("hf:ann/cats:plain@1a2b"), dataset_of("digits")
        ('uoft-cs/cifar100', 'ann/cats', None)
    """
    if source.startswith("hf:"):
        return re.split("[:@]", source.removeprefix("hf:"))[0]
    return DATASETS.get(source)


def repository(name: str) -> str:
    """OWNER/NAME, checked.

    Raises:
        SupcrdError: it is not of that form.

    Example:
        >>> repository("ann/resnet8-digits")
        'ann/resnet8-digits'
    """
    part = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
    if not re.fullmatch(f"{part}/{part}", name) or "--" in name or ".." in name:
        raise SupcrdError(f"{name!r:.80} is no repository of the hub; OWNER/NAME is right, such as ann/resnet8-digits")
    return name


def parts(address: str) -> tuple[str, str | None]:
    """OWNER/NAME and the revision of an address, hf://OWNER/NAME or hf://OWNER/NAME@REVISION.

    Raises:
        SupcrdError: it is not of that form.

    Example:
        >>> parts("hf://ann/resnet8-digits@v1")
        ('ann/resnet8-digits', 'v1')
    """
    name, at, revision = address.removeprefix(SCHEME).partition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9._/-]{1,200}", revision):
        raise SupcrdError(f"{address!r:.120}: {revision!r:.60} is no revision; a branch, a tag or a commit is right")
    return repository(name), revision or None
