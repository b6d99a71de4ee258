import importlib.util

import pytest

from embeddings.encoder import EncoderUnavailable
from embeddings.transformer import SentenceTransformerEncoder

is_installed = importlib.util.find_spec("sentence_transformers") is not None


@pytest.mark.skipif(is_installed, reason="sentence-transformers is installed")
def test_without_the_library_the_error_names_the_extra() -> None:
    with pytest.raises(EncoderUnavailable, match=r"pip install sentence-transformers"):
        SentenceTransformerEncoder("all-MiniLM-L6-v2")
