"""A run's metrics as TensorBoard shows them: one event file that is a function of the run's history."""

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from supcrd.errors import RecipeError
from supcrd.runs.folder import RunFolder


def check() -> None:
    """Refuse, in one line, where TensorBoard's package is not there.

    Raises:
        RecipeError: it is not.

    Example:
        >>> check()
    """
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError:
        raise RecipeError(
            "train.tensorboard = true needs the package tensorboard, which is not installed here; "
            "pip install 'supcrd[tensorboard]', or train.tensorboard=false"
        ) from None


def mirror(run: RunFolder, rows: Sequence[Mapping[str, Any]]) -> None:
    """Bring the event file of a run to its metrics, every number of a row a scalar at the row's epoch.

    What the file should hold is made anew from all rows, and only what differs is written: an epoch more is appended,
    and whatever a kill has left (half an event, an epoch that is trained again, none at all) is mended, in the same
    file, which TensorBoard may have open.

    Args:
        run: whose metrics these are.
        rows: of metrics.jsonl: an integer `epoch` each. A value that is no number is left out.

    Times are those of training (`seconds`), from when the run's recipe was written: a pause between two sessions is
    not shown.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mirror(RunFolder(folder), [{"epoch": 1, "loss": 0.5}])
        ...     size = RunFolder(folder).events.stat().st_size
        ...     mirror(RunFolder(folder), [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
        ...     RunFolder(folder).events.stat().st_size > size
        True
    """
    import io

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = run.events
    now = run.recipe_file.stat().st_mtime if run.exists else 0.0
    whole = io.BytesIO()
    writer = RecordWriter(whole)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for row in rows:
        now += row.get("seconds", 0.0)
        values = [
            Summary.Value(tag=key, simple_value=value)
            for key, value in row.items()
            if key != "epoch" and isinstance(value, int | float) and math.isfinite(value)
        ]
        event = Event(wall_time=now, step=row["epoch"], summary=Summary(value=values))
        writer.write(event.SerializeToString())
    wanted = whole.getvalue()
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with open(path, "r+b") as file:
        held = file.read()
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(held, wanted, strict=False)))
        file.truncate(same)
        file.seek(same)
        file.write(wanted[same:])
