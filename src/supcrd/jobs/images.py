"""The images that a `[data]` table names."""

from supcrd import data
from supcrd.data import ImageSet
from supcrd.data.classes import renamed
from supcrd.recipe.settings import DataSettings


def load_images(
    settings: DataSettings, folder: str | None = None, *, require_train: bool = True, whole_test: bool = False
) -> ImageSet:
    """Load them, with the names that the table gives their classes.

    Args:
        settings: the table.
        folder: of the CIFAR archives; the table's own if not given.
        require_train, whole_test: as `supcrd.data.load`.

    Raises:
        DataError: as `supcrd.data.load`; names that do not fit the classes.

    Example:
        >>> load_images(DataSettings(source="digits", limit=20)).num_classes
        10
    """
    loaded = data.load(
        settings.source,
        folder=settings.folder if folder is None else folder,
        validation=settings.validation,
        split_seed=settings.split_seed,
        image_size=settings.image_size,
        channels=settings.channels,
        limit=settings.limit,
        require_train=require_train,
        stream=settings.stream,
        workers=settings.workers,
        levels=settings.levels,
        damaged=settings.damaged,
        unlabelled=settings.labelled.unlabelled,
        test=settings.test,
        whole_test=whole_test,
        split_file=settings.split_file,
        groups=settings.groups,
        file_column=settings.file_column,
        label_column=settings.label_column,
        split_column=settings.split_column,
        draft=settings.draft,
    )
    return renamed(loaded, settings.classes)
