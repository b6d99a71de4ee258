import numpy as np
import pytest

from embeddings.encoder import EncoderUnavailable, cut, normalise


def test_normalised_rows_have_length_one_and_keep_their_direction() -> None:
    vectors = np.array([[3, 4], [0, -2]], dtype=np.float32)

    unit = normalise(vectors)

    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, np.array([[0.6, 0.8], [0.0, -1.0]]), rtol=1e-6)


@pytest.mark.parametrize("row", [[0, 0], [np.nan, 1], [np.inf, 1]])
def test_a_vector_without_a_direction_is_refused(row: list[float]) -> None:
    vectors = np.array([[1, 0], row], dtype=np.float32)

    with pytest.raises(EncoderUnavailable, match="zero or not finite"):
        normalise(vectors)


def test_cutting_keeps_the_beginning_and_replaces_what_utf8_cannot_hold() -> None:
    assert cut("naïve\ud83d text", 6) == "naïve?"
