"""A model card: the JSON file in ``model_zoo/`` that says what a model is and how it is built."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Framework = Literal["torch", "onnx", "tensorflow", "mhlo"]
Format = Literal["torchscript", "onnx", "saved_model", "stablehlo", "eager"]
DType = Literal["float32", "float16", "int64", "int32", "uint8", "bool"]


class Tensor(BaseModel):
    """One input of a model.

    ``shape`` is the shape of one sample; the batch dimension is added in front unless ``batched``
    is false. ``content`` says what realistic synthetic data looks like:

    - ``normal``: standard normal; ``uniform``: U(low, high)
    - ``token_ids``: integers in [low, high) up to the sample's length, ``pad`` after it
    - ``mask``: 1 up to the sample's length, 0 after it (the same length as its ``token_ids``)
    - ``padding``: the other way round, 0 up to the sample's length and 1 after it
    - ``segments``: 0 for the first part of the sample, 1 for the second, 0 after its length
    - ``columns``: rows (i, integer in [low, high)), one for each column i of a table
    - ``zeros``

    A sample's length is lognormal with the median ``length``: give a card's token inputs the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    shape: tuple[int, ...]
    dtype: DType
    batched: bool = True
    content: Literal[
        "normal", "uniform", "token_ids", "mask", "padding", "segments", "columns", "zeros"
    ] = "normal"
    low: float = 0.0
    high: float = 1.0
    pad: int = 0
    length: float = Field(default=150.0, gt=0)


class File(BaseModel):
    """One file of a published checkpoint: ``bytemlperf models fetch`` downloads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(
        pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$", description="name in the checkpoint's folder"
    )
    urls: tuple[str, ...] = Field(min_length=1, description="tried in this order")
    sha256: str = Field(
        pattern="^[0-9a-f]{8,64}$", description="hex; where only its beginning is published, that"
    )


class Card(BaseModel):
    """What ``model_zoo/<name>.json`` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str = Field(description="the name that people know, e.g. 'RoBERTa base'")
    domain: str
    purpose: str
    framework: Framework
    format: Format
    precision: str = "fp32"
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    dataset: str | None = Field(description="a name in bytemlperf.datasets, or null for synthetic")
    preprocessing: dict[str, Any] = Field(
        default_factory=dict,
        description="what the data set's reader has to know of the model, e.g. {'crop': 384}",
    )
    max_batch_size: int = Field(ge=1)
    files: tuple[File, ...] = Field(default=(), description="its published checkpoint")
    builder: str = Field(description="module in model_zoo/ that defines the architecture")
    config: dict[str, Any] = Field(default_factory=dict, description="architecture, full size")
    parameters: int = Field(ge=1, description="published parameter count, checked after the build")
    tiny: dict[str, Any] = Field(default_factory=dict, description="overrides of config when tiny")
    tolerance: float = Field(
        default=1e-3, description="largest accepted absolute difference at the card's precision"
    )
    tolerances: dict[str, float] = Field(
        default_factory=dict, description="the same at other precisions, e.g. 'int8/bf16'"
    )
    relative_tolerances: dict[str, float] = Field(
        default_factory=dict,
        description="by precision, for a user's checkpoint: of the RMS of each output, where the "
        "general rule does not fit",
    )

    def tolerance_at(self, precision: str) -> float:
        """Largest accepted absolute difference of an output computed at ``precision``.

        Where the card states none it is the one at the card's own precision.
        """
        return self.tolerances.get(precision.lower(), self.tolerance)

    def states_tolerance(self, precision: str) -> bool:
        """Whether the card has a tolerance of its own for ``precision``."""
        return precision.lower() in (self.precision.lower(), *self.tolerances)

    def with_prompt(self, tokens: int) -> Card:
        """Return the card of the same model with prompts of this many tokens."""
        inputs = tuple(
            t.model_copy(update={"shape": (tokens,)}) if t.content == "token_ids" else t
            for t in self.inputs
        )
        return self.model_copy(update={"inputs": inputs})
