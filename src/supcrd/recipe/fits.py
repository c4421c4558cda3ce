"""How something is optimised: the tables of the main training, the projection head and the final probe."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from supcrd.recipe.types import BelowOne, Count, Natural, NonNegative, Positive, Rate, Settings, Temperature

TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class FitSettings(Settings):
    """One optimisation: what `training.fit` needs to know."""

    epochs: Natural
    """passes over the training images"""
    batch_size: Count = 128
    """images in a step, each with all its views"""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """algorithm that updates the weights"""
    lr: Rate = 1e-3
    """peak learning rate"""
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """factor of the weights that is added to their gradient (adam, sgd) or taken off them, times lr (adamw)"""
    momentum: BelowOne = 0.9
    """momentum of sgd (Nesterov); adam and adamw use their standard betas"""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """learning rate over the epochs: constant; half a cosine from lr to 0; or a rise over 30% and a fall to 0"""
    warmup_epochs: NonNegative = 0.0
    """linear warm-up of the learning rate, in epochs; one_cycle has its own"""
    grad_clip: Positive | None = None
    """largest norm of the gradient; encoder with projection head, classifier and teacher's head are clipped
    separately; no clipping if not given"""


MILESTONES = (5 / 8, 6 / 8, 7 / 8)
"""Shares of the epochs after which `step` lowers the rate if no milestones are given: 150, 180 and 210 of 240, as in
RepDistiller and mdistiller."""


class TrainSettings(FitSettings):
    """The main training of a run."""

    epochs: Annotated[int, Field(ge=0, le=10**6, json_schema_extra={"range": "a whole number of 1 to 1000000"})]
    """passes over the training images; minutes may stand in its place"""
    # 0 stands in the folder of imported weights, and where minutes are given and not yet turned into epochs
    minutes: Positive | None = None
    """time for the training in place of epochs: some steps are timed on this machine first, and as many epochs
    as fit are trained; teacher, head, final classifier and measuring are not counted. See docs/training.md"""
    schedule: Literal["constant", "cosine", "one_cycle", "step"] = "constant"  # type: ignore[assignment]
    """learning rate over the epochs: constant; half a cosine from lr to 0; a rise over 30% and a fall to 0; or, step,
    lower by decay_factor after each of the milestones"""
    milestones: Annotated[tuple[Count, ...], Field(strict=False, max_length=100)] = ()
    """epochs after which the schedule step lowers the learning rate, such as [150, 180, 210]; if not given 5/8, 6/8 and
    7/8 of the epochs, which are these of 240"""
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """factor of the learning rate at each milestone of the schedule step"""
    device: Annotated[str, Field(json_schema_extra={"range": "auto, cpu, cuda, cuda:N or mps"})] = "auto"
    """where to compute; auto: a GPU if there is one"""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """number format of the networks; auto: bfloat16 autocast if the hardware gains from it, else float32. float16, with
    loss scaling, is for CUDA devices without bfloat16 and one process; steps whose scaled gradient is not finite are
    skipped and counted (skipped_steps in metrics.jsonl)"""
    compile: Literal["off", "default", "reduce-overhead"] = "off"
    """torch.compile of student's and teacher's encoder in this mode (reduce-overhead: CUDA graphs); costs a start-up
    of a minute or more and needs a C++ compiler, so it is for long runs: see docs/performance.md"""
    ema: BelowOne = 0.0
    """decay of an exponential moving average of the student's weights, such as 0.999; it is validated after every epoch
    too, and saved in place of the last weights if its validation accuracy at the end is higher; 0 for none"""
    accumulate: Count = 1
    """parts that a batch is computed in, one after another, with one step of the optimizer: less memory. Batch
    normalisation sees one part at a time, of 2 images or more; terms that compare images see the whole batch, for which
    every part is run twice"""
    shards: Count = 1
    """parts of a batch that have statistics of batch normalisation and dropout of their own, whatever number of
    processes computes them, one that divides it: the numbers are then those of one process, and a run may be resumed on
    another number. 1: every process has one part; see docs/scale.md"""
    sync_batchnorm: bool = True
    """whether several processes on GPUs share the statistics of batch normalisation; not with shards"""
    quantize: bool = False
    """train on what an int8 file computes: in every step weights and inputs of the student's layers are rounded as
    export --int8 rounds them; for the last epochs of a student (model.checkpoint) that loses too much as int8"""
    patience: Natural = 0
    """epochs without a higher validation accuracy after which training stops; the weights of the best epoch are saved.
    0: all epochs are trained and the last weights saved"""
    decay: Literal["all", "weights"] = "all"
    """what weight_decay acts on: all parameters, or weights only, leaving out biases and the parameters of norms"""
    dot: BelowOne = 0.0
    """how much more momentum the gradient of terms that read a teacher gets, and that of the others less, with a buffer
    for each (DOT, Zhao et al. 2023), such as 0.075; sgd only, without Nesterov; 0 for one momentum"""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """which images an epoch has: every one once; or as many in all, but of every class equally many"""
    tensorboard: bool = False
    """mirror metrics.jsonl to a TensorBoard event file in the run folder, live; needs supcrd[tensorboard]"""
    track: Annotated[tuple[TrackerName, ...], Field(strict=False, max_length=10)] = ()
    """trackers that show the run, live: tensorboard, wandb, mlflow, such as ["wandb", "mlflow"], or wandb,mlflow on the
    command line; each needs its extra, such as supcrd[wandb]. One that fails does not stop the run: docs/tracking.md"""

    @field_validator("track", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, table: Any) -> Any:
        if isinstance(table, dict) and table.get("minutes") is not None and "epochs" not in table:
            return table | {"epochs": 0}
        return table

    @model_validator(mode="after")
    def _consistent(self) -> "TrainSettings":
        if self.minutes is not None and self.epochs > 0:
            raise ValueError(f"train.epochs = {self.epochs} and train.minutes = {self.minutes:g}: give one of them")
        for key, parts in (("accumulate", self.accumulate), ("shards", self.shards)):
            if parts > 1 and self.batch_size < 2 * parts:
                raise ValueError(
                    f"train.{key} = {parts} leaves less than 2 images of train.batch_size = {self.batch_size} to a "
                    f"part; at most {max(self.batch_size // 2, 1)} is right"
                )
        if self.accumulate > 1 and self.shards > 1:
            raise ValueError(
                f"train.accumulate = {self.accumulate} and train.shards = {self.shards} both say in how many parts a "
                "batch is computed: give one of them"
            )
        if self.quantize and self.compile != "off":
            raise ValueError("train.quantize = true: its rounded weights need train.compile = 'off'")
        if self.dot > 0:
            self._check_dot()
        if self.milestones:
            self._check_milestones()
        return self

    def _check_milestones(self) -> None:
        given = f"train.milestones = {list(self.milestones)}"
        if self.schedule != "step":
            raise ValueError(f"{given}: they are for train.schedule = 'step', not {self.schedule!r}")
        if self.minutes is not None:
            raise ValueError(
                f"{given} and train.minutes = {self.minutes:g}: how many epochs there will be is not known; without "
                "milestones they are 5/8, 6/8 and 7/8 of them"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"{given}: epochs in rising order are right, none of them twice")
        if self.milestones[-1] >= self.epochs:
            raise ValueError(f"{given} with train.epochs = {self.epochs}: numbers below {self.epochs} are right")

    def _check_dot(self) -> None:
        if self.optimizer != "sgd":
            raise ValueError(f"train.dot = {self.dot:g} is for train.optimizer = 'sgd', not {self.optimizer!r}")
        most = min(self.momentum, 1 - self.momentum)
        if self.momentum + self.dot >= 1 or self.dot > self.momentum:
            raise ValueError(
                f"train.dot = {self.dot:g} with train.momentum = {self.momentum:g}: momenta of "
                f"{self.momentum - self.dot:.3g} and {self.momentum + self.dot:.3g} must lie in [0, 1); a number below "
                f"{most:.3g} is right"
            )
        if self.precision == "float16":
            raise ValueError(
                f"train.dot = {self.dot:g}: its two gradients have no loss scaling; train.precision = 'auto'"
            )
        if self.compile != "off":
            raise ValueError(f"train.dot = {self.dot:g}: its two backward passes need train.compile = 'off'")


class HeadSettings(FitSettings):
    """The projection head of a model whose method does not train it: cosine prototypes on frozen features."""

    epochs: Natural = 10
    """passes over the training images; 0 leaves the head as it was initialised"""
    temperature: Temperature = 0.07
    """divides cosine similarities between projections and prototypes"""


class ProbeSettings(FitSettings):
    """The final linear probe on frozen, cached features, which are standardised first."""

    epochs: Natural = 50
    """passes over the training images; 0 for no final probe"""
    batch_size: Count = 512
    """images in a step"""
    lr: Rate = 1e-2
    """peak learning rate"""
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    """learning rate over the epochs: constant; half a cosine from lr to 0; or a rise over 30% and a fall to 0"""
