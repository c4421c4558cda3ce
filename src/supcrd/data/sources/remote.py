"""Sets that lie elsewhere: the files of https://, s3:// and such addresses, brought into the user's cache once."""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from supcrd.base import locks
from supcrd.base.files import replacing, write_json
from supcrd.base.home import cache_home, is_private, make_private
from supcrd.base.wording import show
from supcrd.data.sources.addresses import expanded, is_file, relative, shown
from supcrd.data.sources.samples import CLASS_NAMES
from supcrd.errors import DataError

WAIT = 20.0  # seconds for an answer, and between two parts of one
TRIES = 4  # of a file
PAUSE = 0.5  # seconds before the second try, doubled before each further one
AT_ONCE = 4  # files
SAVED = 10.0  # seconds after which what has come is written down
MARGIN = 2e9  # bytes that must stay free on the disk
PROTOCOLS = (
    "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "hdfs", "webhdfs", "ftp", "sftp",
    "hf", "memory",
)  # fmt: skip
"""Of fsspec's those that bring a file and do nothing else: a recipe may come from a stranger."""
INDEX = "remote.json"
MARKS = ("ETag", "etag", "mtime", "LastModified", "created")
"""What file systems of fsspec call something that changes with a file."""

logger = logging.getLogger("supcrd")

Result = TypeVar("Result")


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
    is_folder = len(addresses) == 1 and not is_file(addresses[0])
    common = text.partition("?")[0].partition("{")[0]
    root = (common.rstrip("/") if is_folder else common.rpartition("/")[0]) + "/"
    home = cache_home() / "remote"
    make_private(home)
    folder = home / hashlib.blake2b(shown(text).encode(), digest_size=8).hexdigest()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (is_private(home) and is_private(folder)):
        raise DataError(f"{folder}: others can write to it; remove it, or set SUPCRD_CACHE to a folder of your own")
    with locks.locked(folder, wait=True):
        if is_folder:
            addresses = _listed(system, text, folder)
        places = {address: folder / relative(address, root) for address in addresses}
        if len(set(places.values())) < len(places):
            raise DataError(f"{shown(text)}: names a file twice")
        _bring(system, places, folder, text)
        if classes and "?" not in text:
            _bring(system, {root + CLASS_NAMES: folder / CLASS_NAMES}, folder, text, may_lack=True)
    return places[addresses[0]] if len(addresses) == 1 and not is_folder and not classes else folder


def _system(text: str) -> Any:
    """fsspec's file system of an address."""
    import fsspec  # type: ignore[import-untyped]

    protocol = text.partition("://")[0]
    if protocol not in PROTOCOLS:
        raise DataError(f"{shown(text)}: {show(protocol)} is none of {', '.join(PROTOCOLS)}")
    options: dict[str, Any] = {}
    try:
        if protocol in ("http", "https"):
            import aiohttp

            limits = aiohttp.ClientTimeout(total=None, sock_connect=WAIT, sock_read=WAIT)
            options = {"client_kwargs": {"timeout": limits}}
        return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
    except ImportError as error:
        package = "aiohttp" if protocol in ("http", "https") else str(error).splitlines()[0][:100]
        raise DataError(f"{shown(text)}: {protocol}:// needs a package that is not installed: {package}") from error
    except ValueError as error:
        raise DataError(f"{shown(text)}: this fsspec does not know {protocol}://") from error


def _listed(system: Any, text: str, folder: Path) -> list[str]:
    """The tar and Parquet files of a folder, and of those in it; of the copies where nothing answers."""
    if text.startswith(("http://", "https://")):
        raise DataError(f"{shown(text)}: a web server gives no list; name the files: .../train-{{000..015}}.tar")
    protocol = text.partition("://")[0]
    try:
        listed = system.find(text, maxdepth=2)
    except Exception as error:  # of whichever library
        known = _index(folder)
        if known:
            logger.warning("%s: cannot be listed (%s); the copies that are here are used", shown(text), _line(error))
            return [f"{text.rstrip('/')}/{name}" for name in known if name != CLASS_NAMES]
        raise DataError(f"{shown(text)}: cannot be listed ({_line(error)})") from error
    names = [name for name in sorted(listed) if re.search(r"\.(tar|tar\.gz|tgz|parquet)$", name)]
    if not names:
        raise DataError(f"{shown(text)}: holds no tar and no Parquet file")
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
            raise DataError(f"{shown(str(error))}: there is no such file") from error
        except ConnectionError as error:
            if all(here(place) for place in places.values()) or may_lack:
                logger.warning("%s: no answer (%s); the copies that are here are used", shown(text), _line(error))
                return
            raise DataError(f"{shown(text)}: no answer ({_line(error)}), and not all copies are here") from error
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
            raise DataError(f"{shown(text)}: {total / 1e9:.1f} GB, for which {folder} has no room; SUPCRD_CACHE = a "
                            "folder with more is right")  # fmt: skip
        logger.info("%s: bringing %d files (%.1f GB) to %s", shown(text), len(missing), total / 1e9, folder)
        written = time.monotonic()
        try:
            for address, size in _copied(pool, system, missing, states, places):
                known[places[address].relative_to(folder).as_posix()] = [size, states[address].mark]
                if time.monotonic() - written > SAVED:
                    write_json(folder / INDEX, known)
                    written = time.monotonic()
        finally:
            write_json(folder / INDEX, known)


def _tried(address: str, work: Callable[[], Result]) -> Result:
    """What `work` gives, which is tried `TRIES` times.

    Raises:
        FileNotFoundError: the file is not there; its text is the address.
        ConnectionError: no try went well; its text is the reason of the last.
    """
    reason = ""
    for number in range(TRIES):
        if number:
            logger.warning("%s: %s; tried again", shown(address), reason)
            time.sleep(PAUSE * 2 ** (number - 1))
        try:
            return work()
        except Exception as error:  # of whichever library
            cause = error.__cause__ or error  # fsspec calls whatever a web server does not answer a missing file
            if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410):
                raise FileNotFoundError(address) from None
            reason = _line(cause)
    raise ConnectionError(reason)


def _state(system: Any, address: str) -> There:
    """Size and mark of a file."""
    entry = _tried(address, lambda: system.info(address))
    return There(entry.get("size"), next((str(entry[key]) for key in MARKS if entry.get(key)), ""))


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

    def once() -> int:
        with replacing(place) as temporary:
            system.get_file(address, str(temporary))
            got = temporary.stat().st_size
            if size is not None and got != size:
                raise ConnectionError(f"{got:,} bytes came of {size:,}")
        return got

    try:
        return _tried(address, once)
    except FileNotFoundError as error:
        raise DataError(f"{shown(address)}: there is no such file") from error
    except ConnectionError as error:
        raise DataError(f"{shown(address)}: could not be brought in {TRIES} tries ({error})") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"\?\S*", "?...", text)[:120]  # a signed address
