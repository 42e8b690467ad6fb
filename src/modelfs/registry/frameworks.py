"""Model frameworks: one canonical name each, and the spellings other people use for it.

Canonical is the lower-case short form that a path shows (`pytorch`, `tensorflow2`). Owns the
table; pure, no state.
"""

from __future__ import annotations

from modelfs.errors import InvalidName

_PREFIX = "MODEL_FRAMEWORK_"

# The wire's enum names without their prefix, in the order of their numbers, from 1.
_WORDS = (
    "TENSOR_FLOW_1",
    "TENSOR_FLOW_2",
    "TF_LITE",
    "TF_JS",
    "PY_TORCH",
    "JAX",
    "CORAL",
    "SCIKIT_LEARN",
    "MXNET",
    "ONNX",
    "KERAS",
    "API",
    "OTHER",
    "FLAX",
    "PAX",
    "TRANSFORMERS",
    "MAX_TEXT",
    "GEMMA_CPP",
    "GGML",
    "TENSOR_RT_LLM",
    "GGUF",
    "TRITON",
    "VLLM",
)


def _bare(text: str) -> str:
    return text.replace("_", "").lower()


_BY_NAME = {_bare(words): words for words in _WORDS}

CANONICAL = tuple(_BY_NAME)

_HINT = f"possible are {', '.join(CANONICAL)}"


def parse(text: str) -> str:
    """The canonical name of a framework, from any spelling the wire takes.

    `pyTorch`, `PyTorch`, `py_torch`, `PYTORCH` and `MODEL_FRAMEWORK_PY_TORCH` are all `pytorch`.
    Raises InvalidName for anything else.
    """
    name = _bare(text).removeprefix(_bare(_PREFIX))
    if name not in _BY_NAME:
        raise InvalidName(f"framework is not known: {text!r}", hint=_HINT)
    return name


def wire(text: str) -> str:
    """The wire's enum name: `MODEL_FRAMEWORK_PY_TORCH`."""
    return _PREFIX + _BY_NAME[parse(text)]


def camel(text: str) -> str:
    """The short camel-case form, as metadata files and addresses spell it: `pyTorch`."""
    first, *others = _BY_NAME[parse(text)].split("_")
    return first.lower() + "".join(word.capitalize() for word in others)


def pascal(text: str) -> str:
    """The form that download addresses use: `PyTorch`."""
    return "".join(word.capitalize() for word in _BY_NAME[parse(text)].split("_"))
