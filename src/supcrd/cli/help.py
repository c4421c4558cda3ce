"""The commands in groups, each with an example."""

GROUPS = {
    "Begin": ("demo", "recipes", "methods", "inspect"),
    "Train": ("train", "distil", "sweep", "benchmark", "reproduce", "reproduce layout"),
    "See what came of it": ("evaluate", "compare", "report", "plot", "teachers"),
    "Use it": ("predict", "export", "card", "push"),
}
"""Titles of the help, and what stands under them."""

EXAMPLES = {
    "demo": "supcrd demo",
    "recipes": "supcrd recipes --keys train",
    "methods": "supcrd methods",
    "inspect": "supcrd inspect folder:photos --samples samples.png",
    "train": "supcrd train digits-joint train.epochs=20 seed=1",
    "distil": "supcrd distil --data folder:photos --teacher auto --student resnet8 data.image_size=32",
    "sweep": "supcrd sweep sweep.toml --workers 2",
    "benchmark": "supcrd benchmark resnet32x4:resnet8x4 --methods dkd,dist,crd_nce --seeds 3",
    "reproduce": "supcrd reproduce --recipe-set small --tables main --out runs",
    "reproduce layout": "supcrd reproduce layout runs --out layout",
    "evaluate": "supcrd evaluate runs/digits-joint --split validation",
    "compare": "supcrd compare runs --baseline digits-cross-entropy",
    "report": "supcrd report runs --out report.html",
    "plot": "supcrd plot curves runs/digits-kd runs/digits-joint --out curves.png",
    "teachers": "supcrd teachers runs",
    "predict": "supcrd predict runs/digits-joint photo.png",
    "export": "supcrd export runs/digits-joint --out model.onnx --int8",
    "card": "supcrd card runs/digits-joint --license mit",
    "push": "supcrd push runs/digits-joint ann/resnet8-digits --private",
}

SOURCES = "folder:PATH, csv:PATH, npz:PATH, shards:PATH, parquet:PATH, hf:NAME, cifar10, cifar100 or digits."
"""Data sources, as `data.source` has them: the end of a help."""

MOVED = {"export-layout": "reproduce layout"}
"""Old names of commands, which still work."""
