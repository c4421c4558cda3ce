"""A run as TensorBoard shows it: event files that are functions of the run's history, evaluation and figures."""

import io
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.files import replacing
from supcrd.runs.folder import RunFolder
from supcrd.tracking.tracker import is_number, missing, numbers


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
        raise missing("tensorboard") from None


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
    now = _begin(run)
    events = []
    for row in rows:
        now += row.get("seconds", 0.0)
        events.append((now, row["epoch"], _scalars({key: value for key, value in row.items() if key != "epoch"})))
    wanted = _encoded(run, events)
    path = run.events
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with open(path, "r+b") as file:
        held = file.read()
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(held, wanted, strict=False)))
        file.truncate(same)
        file.seek(same)
        file.write(wanted[same:])


class Tracker:
    """See `supcrd.tracking.tracker.Tracker`: an event file each of epochs, evaluation and figures.

    Args:
        run: whose event files these are.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.last = 0, _begin(run)
        """epoch and time of the last row"""
        self.whole = "tensorboard" in run.recipe.train.track
        """train.tensorboard alone is a mirror of metrics.jsonl"""

    def epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Bring the event file to the rows, see `mirror`."""
        mirror(self.run, rows)
        if rows:
            self.last = rows[-1]["epoch"], _begin(self.run) + sum(row.get("seconds", 0.0) for row in rows)

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Scalars at the last epoch, and the recipe as text."""
        if not self.whole:
            return
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        text = "".join(f"    {line}\n" for line in recipes.to_toml(self.run.recipe).splitlines())  # code in Markdown
        plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        written = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        recipe = Summary.Value(tag="recipe", metadata=plugin, tensor=written)
        self._write(self.run.events_end, [*_scalars(numbers(evaluation)), recipe])

    def pictures(self, files: Mapping[str, Path]) -> None:
        """Images at the last epoch."""
        if not self.whole:
            return
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = []
        for name, file in files.items():
            with Image.open(file) as image:
                shape = {"width": image.width, "height": image.height, "colorspace": len(image.getbands())}
            picture = Summary.Image(**shape, encoded_image_string=file.read_bytes())
            values.append(Summary.Value(tag=f"figures/{name}", image=picture))
        self._write(self.run.events_pictures, values)

    def model(self, files: Sequence[Path]) -> None:
        """TensorBoard has no models."""

    def close(self, status: str) -> None:
        """Nothing is open between two calls."""

    def _write(self, path: Path, values: Sequence[Any]) -> None:
        epoch, now = self.last
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(_encoded(self.run, [(now, epoch, values)]))


def _begin(run: RunFolder) -> float:
    return run.recipe_file.stat().st_mtime if run.exists else 0.0


def _scalars(values: Mapping[str, Any]) -> list[Any]:
    """Of what is no number, nothing."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return [Summary.Value(tag=key, simple_value=value) for key, value in values.items() if _shown(value)]


def _shown(value: Any) -> bool:
    return isinstance(value, bool) or is_number(value)  # false and true are 0 and 1, as this file has always had them


def _encoded(run: RunFolder, events: Sequence[tuple[float, int, Sequence[Any]]]) -> bytes:
    """An event file of (time, epoch, values)."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    whole = io.BytesIO()
    writer = RecordWriter(whole)
    writer.write(Event(wall_time=_begin(run), file_version="brain.Event:2").SerializeToString())
    for time, epoch, values in events:
        event = Event(wall_time=time, step=epoch, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return whole.getvalue()
