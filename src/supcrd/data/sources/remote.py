"""Sets that lie elsewhere: the files of https://, s3:// and such addresses, brought into the user's cache once."""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from supcrd.base import locks
from supcrd.base.files import replacing, write_json
from supcrd.base.home import cache_home, is_private, make_private
from supcrd.base.wording import show
from supcrd.data.sources.samples import CLASS_NAMES
from supcrd.errors import DataError

WAIT = 20.0  # seconds for an answer, and between two parts of one
TRIES = 4  # of a file
PAUSE = 0.5  # seconds before the second try, doubled before each further one
AT_ONCE = 4  # files
MARGIN = 2e9  # bytes that must stay free on the disk
MOST = 100_000  # files that a pattern may name
PROTOCOLS = (
    "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "hdfs", "webhdfs", "ftp", "sftp",
    "hf", "memory",
)  # fmt: skip
"""Of fsspec's those that bring a file and do nothing else: a recipe may come from a stranger."""
INDEX = "remote.json"
MARKS = ("ETag", "etag", "mtime", "LastModified", "created")
"""What file systems of fsspec call something that changes with a file."""

logger = logging.getLogger("supcrd")


class There(NamedTuple):
    """What is known of a file that lies elsewhere."""

    size: int | None
    mark: str
    """changes with the file, where the server says one"""


def fetched(text: str, *, classes: bool = False) -> Path:
    """The local copy of what an address names, brought here where it is not yet, or has changed there.

    Args:
        text: an address with one of `PROTOCOLS`. A file; several by braces, `train-{000..015}.tar` or
            `{train,val}-0.tar`; or, where the server can list it (s3 and such, not https), a folder, of which the tar
            and Parquet files are meant.
        classes: also bring `classes.txt` of the same folder, where there is one.

    Returns:
        The copy of a single file; else the folder of the copies, which have the part of the addresses behind what all
        have in common. It is in `remote/` of the user's cache (`decoded.kept`), and may be removed at any time.

    Raises:
        DataError: a pattern that is none; another protocol, or one whose package is not installed; a file that
            is not there, or that `TRIES` tries did not bring whole (each waits `WAIT` seconds at most for an answer and
            for every part); too little room on the disk. Where nothing answers but all copies are here they are used,
            with a warning.
    """
    addresses = expanded(text)
    system = _system(text)
    is_folder = len(addresses) == 1 and not _is_file(addresses[0])
    common = text.partition("?")[0].partition("{")[0]
    root = (common.rstrip("/") if is_folder else common.rpartition("/")[0]) + "/"
    home = cache_home() / "remote"
    make_private(home)
    folder = home / hashlib.blake2b(_shown(text).encode(), digest_size=8).hexdigest()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (is_private(home) and is_private(folder)):
        raise DataError(f"{folder}: others can write to it; remove it, or set SUPCRD_CACHE to a folder of your own")
    with locks.locked(folder, wait=True):
        if is_folder:
            addresses = _listed(system, text, folder)
        places = {address: folder / _relative(address, root) for address in addresses}
        if len(set(places.values())) < len(places):
            raise DataError(f"{_shown(text)}: names a file twice")
        _bring(system, places, folder, text)
        if classes and "?" not in text:
            _bring(system, {root + CLASS_NAMES: folder / CLASS_NAMES}, folder, text, may_lack=True)
    return places[addresses[0]] if len(addresses) == 1 and not is_folder and not classes else folder


def expanded(pattern: str) -> list[str]:
    """The addresses that a pattern with braces names, in its order.

    Raises:
        DataError: braces without a partner or inside others; a range that is none; more than `MOST` names.

    Example:
        >>> expanded("s3://b/{train,val}-{08..10}.tar")[1:4]
        ['s3://b/train-09.tar', 's3://b/train-10.tar', 's3://b/val-08.tar']
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    if any("{" in part or "}" in part for part in parts):
        raise DataError(f"{_shown(pattern)}: braces without a partner, or inside others")
    names = [parts[0]]
    for inside, after in zip(parts[1::2], parts[2::2], strict=True):
        span = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inside)
        if span is not None:
            width = len(span[1]) if span[1].startswith("0") else 0
            choices = [
                f"{number:0{width}}" for number in range(int(span[1]), min(int(span[2]), int(span[1]) + MOST) + 1)
            ]
        else:
            choices = inside.split(",") if "," in inside else []
        if not choices or len(choices) * len(names) > MOST:
            right = f"{{000..015}} or {{a,b}}, of at most {MOST:,} names in all, is right"
            raise DataError(f"{_shown(pattern)}: {{{show(inside)[1:-1]}}} is no range or list; {right}")
        names = [name + choice + after for name in names for choice in choices]
    return names


def _is_file(address: str) -> bool:
    return re.search(r"\.\w{2,8}$", urlsplit(address).path) is not None


def _shown(text: str) -> str:
    """An address without what may be a secret: a password, a signature."""
    return show(re.sub(r"//[^/@]*@", "//", text.partition("?")[0]), 120)[1:-1]


def _relative(address: str, root: str) -> Path:
    """Where the copy of a file is, below the folder of copies."""
    name = Path(urlsplit(address.removeprefix(root)).path)
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise DataError(f"{_shown(address)}: not below {_shown(root)}")
    return name


def _system(text: str) -> Any:
    """fsspec's file system of an address."""
    import fsspec  # type: ignore[import-untyped]

    protocol = text.partition("://")[0]
    if protocol not in PROTOCOLS:
        raise DataError(f"{_shown(text)}: {show(protocol)} is none of {', '.join(PROTOCOLS)}")
    options: dict[str, Any] = {}
    try:
        if protocol in ("http", "https"):
            import aiohttp

            limits = aiohttp.ClientTimeout(total=None, sock_connect=WAIT, sock_read=WAIT)
            options = {"client_kwargs": {"timeout": limits}}
        return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
    except ImportError as error:
        package = "aiohttp" if protocol in ("http", "https") else str(error).splitlines()[0][:100]
        raise DataError(f"{_shown(text)}: {protocol}:// needs a package that is not installed: {package}") from error
    except ValueError as error:
        raise DataError(f"{_shown(text)}: this fsspec does not know {protocol}://") from error


def _listed(system: Any, text: str, folder: Path) -> list[str]:
    """The tar and Parquet files of a folder, and of those in it; of the copies where nothing answers."""
    if text.startswith(("http://", "https://")):
        raise DataError(f"{_shown(text)}: a web server gives no list; name the files: .../train-{{000..015}}.tar")
    protocol = text.partition("://")[0]
    try:
        listed = system.find(text, maxdepth=2)
    except Exception as error:  # of whichever library
        known = _index(folder)
        if known:
            logger.warning("%s: cannot be listed (%s); the copies that are here are used", _shown(text), _line(error))
            return [f"{text.rstrip('/')}/{name}" for name in known if name != CLASS_NAMES]
        raise DataError(f"{_shown(text)}: cannot be listed ({_line(error)})") from error
    names = [name for name in sorted(listed) if re.search(r"\.(tar|tar\.gz|tgz|parquet)$", name)]
    if not names:
        raise DataError(f"{_shown(text)}: holds no tar and no Parquet file")
    return [name if "://" in name else f"{protocol}://{name.lstrip('/')}" for name in names]


def _index(folder: Path) -> dict[str, list[Any]]:
    """Name -> [size, mark] of the copies that are whole."""
    try:
        known = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return {str(name): [int(size), str(mark)] for name, (size, mark) in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _bring(system: Any, places: dict[str, Path], folder: Path, text: str, *, may_lack: bool = False) -> None:
    """Have a copy of each file in its place.

    Args:
        places: address -> place of its copy.
        text: what names all of them, for messages.
        may_lack: a file that is not there is no error.
    """
    known = _index(folder)

    def here(place: Path) -> bool:
        entry = known.get(place.relative_to(folder).as_posix())
        return entry is not None and place.is_file() and place.stat().st_size == entry[0]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            states = dict(zip(places, pool.map(lambda address: _state(system, address), places), strict=True))
        except FileNotFoundError as error:
            if may_lack:
                return
            raise DataError(f"{_shown(str(error))}: there is no such file") from error
        except Exception as error:  # of whichever library
            if all(here(place) for place in places.values()) or may_lack:
                logger.warning("%s: no answer (%s); the copies that are here are used", _shown(text), _line(error))
                return
            raise DataError(f"{_shown(text)}: no answer ({_line(error)}), and not all copies are here") from error
        missing = [
            address
            for address, place in places.items()
            if not here(place) or (states[address].size or place.stat().st_size, states[address].mark)
            != tuple(known[place.relative_to(folder).as_posix()])
        ]  # fmt: skip
        if not missing:
            return
        total = sum(states[address].size or 0 for address in missing)
        if shutil.disk_usage(folder).free < total + MARGIN:
            raise DataError(f"{_shown(text)}: {total / 1e9:.1f} GB, for which {folder} has no room; SUPCRD_CACHE = a "
                            "folder with more is right")  # fmt: skip
        logger.info("%s: bringing %d files (%.1f GB) to %s", _shown(text), len(missing), total / 1e9, folder)
        for address, size in _copied(pool, system, missing, states, places):
            known[places[address].relative_to(folder).as_posix()] = [size, states[address].mark]
            write_json(folder / INDEX, known)


def _state(system: Any, address: str) -> There:
    """Size and mark of a file; asked for again where the answer fails.

    Raises:
        FileNotFoundError: it is not there; its text is the address.
    """
    for number in range(TRIES):
        try:
            entry = system.info(address)
        except Exception as error:  # of whichever library
            cause = error.__cause__ or error
            if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410):
                raise FileNotFoundError(address) from None
            if number == TRIES - 1:  # fsspec calls a web server that does not answer a file that is not there, too
                raise ConnectionError(_line(cause)) from error
            time.sleep(PAUSE * 2**number)
        else:
            mark = next(
                (str(entry[key]) for key in ("ETag", "etag", "mtime", "LastModified", "created") if entry.get(key)), ""
            )
            return There(entry.get("size"), mark)
    raise AssertionError("unreachable")


def _copied(
    pool: ThreadPoolExecutor,
    system: Any,
    missing: Sequence[str],
    states: dict[str, There],
    places: dict[str, Path],
) -> Iterator[tuple[str, int]]:
    """(address, bytes) of each file as it has been copied.

    Raises:
        DataError: the first one that could not be.
    """
    copies = [pool.submit(_copy, system, address, states[address].size, places[address]) for address in missing]
    try:
        for address, copy in zip(missing, copies, strict=True):
            yield address, copy.result()
    finally:
        for copy in copies:
            copy.cancel()


def _copy(system: Any, address: str, size: int | None, place: Path) -> int:
    """Copy a file whole, or leave what was there."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reason = ""
    for number in range(TRIES):
        if number:
            logger.warning("%s: %s; tried again", _shown(address), reason)
            time.sleep(PAUSE * 2 ** (number - 1))
        try:
            with replacing(place) as temporary:
                system.get_file(address, str(temporary))
                got = temporary.stat().st_size
                if size is not None and got != size:
                    raise ConnectionError(f"{got:,} bytes came of {size:,}")
            return got
        except FileNotFoundError as error:
            raise DataError(f"{_shown(address)}: there is no such file") from error
        except Exception as error:  # of whichever library
            reason = _line(error)
    raise DataError(f"{_shown(address)}: could not be brought in {TRIES} tries ({reason})")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"\?\S*", "?...", text)[:120]  # a signed address
