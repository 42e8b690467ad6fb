"""One canonical name per framework, whatever the spelling."""

from __future__ import annotations

import pytest

from modelfs.errors import InvalidName
from modelfs.registry import frameworks


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("pytorch", "pytorch"),
        ("pyTorch", "pytorch"),
        ("PyTorch", "pytorch"),
        ("PYTORCH", "pytorch"),
        ("py_torch", "pytorch"),
        ("MODEL_FRAMEWORK_PY_TORCH", "pytorch"),
        ("tensorFlow2", "tensorflow2"),
        ("tensor_flow_2", "tensorflow2"),
        ("TensorRtLlm", "tensorrtllm"),
        ("MODEL_FRAMEWORK_API", "api"),
    ],
)
def test_every_spelling_the_wire_takes_means_one_name(spelling: str, canonical: str) -> None:
    assert canonical == frameworks.parse(spelling)


@pytest.mark.parametrize(
    "text", ["", "tensorflow", "sklearn", "TF2", "unspecified", "MODEL_FRAMEWORK_", "py torch"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        frameworks.parse(text)


@pytest.mark.parametrize(
    ("name", "wire", "camel", "pascal"),
    [
        ("pytorch", "MODEL_FRAMEWORK_PY_TORCH", "pyTorch", "PyTorch"),
        ("tensorflow2", "MODEL_FRAMEWORK_TENSOR_FLOW_2", "tensorFlow2", "TensorFlow2"),
        ("tflite", "MODEL_FRAMEWORK_TF_LITE", "tfLite", "TfLite"),
        ("jax", "MODEL_FRAMEWORK_JAX", "jax", "Jax"),
        ("tensorrtllm", "MODEL_FRAMEWORK_TENSOR_RT_LLM", "tensorRtLlm", "TensorRtLlm"),
    ],
)
def test_a_name_is_spelled_as_each_reader_wants_it(
    name: str, wire: str, camel: str, pascal: str
) -> None:
    assert (wire, camel, pascal) == (
        frameworks.wire(name),
        frameworks.camel(name),
        frameworks.pascal(name),
    )


def test_every_canonical_name_survives_each_of_its_spellings() -> None:
    assert 23 == len(frameworks.CANONICAL)
    for name in frameworks.CANONICAL:
        for spelled in (frameworks.wire, frameworks.camel, frameworks.pascal):
            assert name == frameworks.parse(spelled(name))
