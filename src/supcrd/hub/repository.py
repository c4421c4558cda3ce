"""Push a run's model to the Hugging Face hub, and fetch one. What comes from there is as untrusted as any weights."""

import json
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from supcrd.base.files import replacing, write_json, write_text
from supcrd.errors import CheckpointError, SupcrdError, one_line
from supcrd.hub.names import parts, repository, without_paths
from supcrd.hub.page import text
from supcrd.models.card import CARD, WEIGHTS, Card
from supcrd.models.weightfiles import METADATA_KEY, read_safetensors
from supcrd.runs.folder import RunFolder

README = "README.md"


def push(run: RunFolder, name: str, *, private: bool = False, license: str | None = None) -> str:
    """Put a finished run's model, its card and README.md (the card for people) into a repository, made if needed.

    Folders of the user's machine are taken off the paths in the card; everything else is as in the run folder. Where
    the hub is, `HF_ENDPOINT` says; who pushes, `hf auth login` or `HF_TOKEN`.

    Args:
        run: whose model it is.
        name: OWNER/NAME.
        private: of a new repository; one that is there stays as it is.
        license: as `supcrd.hub.page.text`.

    Returns:
        The address of the commit.

    Raises:
        SupcrdError: the run is not finished, there is no such owner or no right to write, or no network.
    """
    import huggingface_hub

    name = repository(name)
    page = text(run, license=license, repository=name)
    if huggingface_hub.get_token() is None:
        raise SupcrdError("push is not logged in to the hub: hf auth login, or HF_TOKEN")
    with TemporaryDirectory() as folder:
        _write(run, page, Path(folder))
        try:
            hub = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="supcrd")
            hub.create_repo(name, private=private or None, exist_ok=True)
            commit = hub.upload_folder(repo_id=name, folder_path=folder, commit_message=f"{run.name}, by supcrd")
        except Exception as error:  # whatever a network, a server or the library can do; the run is as it was
            raise SupcrdError(f"{name} cannot be pushed: {_reason(error)}") from error
    return str(commit.commit_url)


def rehearse(run: RunFolder, name: str, folder: Path, *, license: str | None = None) -> None:
    """Write into a folder what `push` would put into a repository: no network, no login; `load_model` takes it.

    Args:
        run, name, license: as `push`.
        folder: made if needed; has nothing but files of an earlier rehearsal, which are replaced.

    Raises:
        SupcrdError: the run is not finished, no such name, or a folder that holds something else.
    """
    page = text(run, license=license, repository=repository(name))
    other = sorted({path.name for path in folder.iterdir()} - {README, CARD, WEIGHTS}) if folder.is_dir() else []
    if other or (folder.exists() and not folder.is_dir()):
        holds = f"holds {other[0]:.80}" if other else "is a file"
        raise SupcrdError(f"--folder {folder} {holds}; an empty or a new folder is right")
    folder.mkdir(parents=True, exist_ok=True)
    _write(run, page, folder)


def _write(run: RunFolder, page: str, folder: Path) -> None:
    """Write the page, and the model and its card without paths of this machine.

    Raises:
        CheckpointError: the model cannot be read.
    """
    from safetensors.torch import save

    try:
        metadata, state = read_safetensors(run.weights)
        card = Card.from_json(json.loads(metadata[METADATA_KEY]))
    except (CheckpointError, KeyError, ValueError) as error:
        raise CheckpointError(f"{run.weights}: {error}") from error
    write_text(folder / README, page)
    described = replace(card, recipe=without_paths(card.recipe)).to_json()
    write_json(folder / CARD, described)
    own = {METADATA_KEY: json.dumps(described, allow_nan=False)}
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save({key: tensor.contiguous() for key, tensor in state.items()}, metadata=own))


def fetch(address: str) -> Path:
    """The weights of a model on the hub, in the hub's own cache on this machine; nothing else of it is read.

    Args:
        address: hf://OWNER/NAME or hf://OWNER/NAME@REVISION (main if not given).

    Raises:
        SupcrdError: no such address.
        CheckpointError: no such model, no right to read it, or no network and not in the cache.
    """
    import huggingface_hub

    name, revision = parts(address)
    given: dict[str, Any] = {"revision": revision, "endpoint": os.environ.get("HF_ENDPOINT"), "library_name": "supcrd"}
    try:
        return Path(huggingface_hub.hf_hub_download(name, WEIGHTS, **given))
    except Exception as error:  # as for `push`
        raise CheckpointError(f"{address} cannot be fetched: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The library's first words, without the advice that follows them."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    known = {"RepositoryNotFoundError": "there is no such repository, or it is private and its owner not logged in",
             "RemoteEntryNotFoundError": f"it has no {WEIGHTS}", "EntryNotFoundError": f"it has no {WEIGHTS}",
             "RevisionNotFoundError": "it has no such revision"}  # fmt: skip
    return known.get(type(error).__name__) or one_line(lines[0] if lines else type(error).__name__, 160)
