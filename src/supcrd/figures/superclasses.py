"""CIFAR-100's twenty superclasses of five classes each: the order of its classes in legends and heat maps."""

from collections.abc import Sequence
from typing import NamedTuple

# Source: A. Krizhevsky 2009, Learning multiple layers of features from tiny images, and the data set's own page.
SUPERCLASSES = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}


class Order(NamedTuple):
    """In which order classes are shown."""

    classes: tuple[int, ...]  # (C,) the class that stands at each place
    groups: tuple[str, ...]  # (C / 5,) names of the groups of five, or () where classes have none


def order(class_names: Sequence[str]) -> Order:
    """CIFAR-100's classes by superclass, all others as they come.

    Args:
        class_names: (C,) names.

    Returns:
        Order: a permutation of 0..C-1, and the superclasses where the names are CIFAR-100's hundred.

    Example:
        >>> order(("cat", "dog"))
        Order(classes=(0, 1), groups=())
        >>> hundred = sorted(name for names in SUPERCLASSES.values() for name in names)
        >>> hundred[order(hundred).classes[5]], order(hundred).groups[1]
        ('aquarium_fish', 'fish')
    """
    flat = [name for names in SUPERCLASSES.values() for name in names]
    if len(class_names) != len(flat) or set(class_names) != set(flat):
        return Order(tuple(range(len(class_names))), ())
    number = {name: place for place, name in enumerate(class_names)}
    return Order(tuple(number[name] for name in flat), tuple(SUPERCLASSES))
