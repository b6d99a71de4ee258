import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from embeddings.encoder import EncoderUnavailable
from embeddings.remote import RemoteEncoder


class Endpoint(ThreadingHTTPServer):
    """An `/embeddings` endpoint: a text becomes (its length, 1, 0); rows are in reverse, which is allowed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.requests: list[tuple[str, str | None, dict[str, object]]] = []
        self.status = 200
        self.answer: bytes | None = None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        rows = [{"index": i, "embedding": [len(text), 1, 0]} for i, text in enumerate(body["input"])]
        answer = self.server.answer or json.dumps({"data": rows[::-1]}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, to keep the test output clean."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(endpoint: Endpoint) -> Iterator[RemoteEncoder]:
    encoder = RemoteEncoder(f"{endpoint.url}/", "small", "s3cret", timeout_s=30)
    yield encoder
    encoder.close()


def test_the_first_call_finds_the_dimension(remote: RemoteEncoder, endpoint: Endpoint) -> None:
    assert remote.dimension == 3
    assert len(endpoint.requests) == 1


def test_one_model_at_two_dimensions_is_two_vector_spaces(remote: RemoteEncoder, endpoint: Endpoint) -> None:
    endpoint.answer = b'{"data": [{"index": 0, "embedding": [1, 2]}]}'

    smaller = RemoteEncoder(endpoint.url, "small", None, timeout_s=30)
    smaller.close()

    assert (remote.name, smaller.name) == ("http-small-3", "http-small-2")


def test_vectors_come_back_as_unit_rows_in_the_order_of_the_texts(remote: RemoteEncoder) -> None:
    vectors = remote.encode(["abc", "abcdefg"])

    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:, 0] / vectors[:, 1], [3, 7], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_the_request_is_openais(remote: RemoteEncoder, endpoint: Endpoint) -> None:
    remote.encode(["abc"])

    assert endpoint.requests[-1] == ("/v1/embeddings", "Bearer s3cret", {"model": "small", "input": ["abc"]})


def test_without_a_key_none_is_sent(endpoint: Endpoint) -> None:
    RemoteEncoder(endpoint.url, "small", None, timeout_s=30).close()

    assert endpoint.requests[-1][1] is None


def test_texts_are_made_fit_to_send(remote: RemoteEncoder, endpoint: Endpoint) -> None:
    remote.encode(["", "\ud83d", "x" * 1_000_000])

    assert endpoint.requests[-1][2]["input"] == [" ", "?", "x" * 8_000]


def test_an_error_status_is_reported_without_the_body(remote: RemoteEncoder, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.answer = 401, b'{"error": "bad key s3cret"}'

    with pytest.raises(EncoderUnavailable) as failure:
        remote.encode(["abc"])

    assert str(failure.value) == f"{endpoint.url}/embeddings answered 401 Unauthorized"


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'"text"',
        b"{}",
        b'{"data": [{"embedding": [1, 2, 3]}]}',
        b'{"data": [{"index": 0, "embedding": "AACAPw=="}]}',
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, 2, 3]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": [0, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [1, null, 0]}]}',
    ],
)
def test_an_answer_without_one_good_vector_for_each_text_is_refused(
    remote: RemoteEncoder, endpoint: Endpoint, answer: bytes
) -> None:
    endpoint.answer = answer

    with pytest.raises(EncoderUnavailable):
        remote.encode(["abc"])


def test_an_endpoint_that_recovers_is_used_again(remote: RemoteEncoder, endpoint: Endpoint) -> None:
    endpoint.status = 503
    with pytest.raises(EncoderUnavailable, match="503"):
        remote.encode(["abc"])

    endpoint.status = 200

    assert remote.encode(["abc"]).shape == (1, 3)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "no-scheme", "http://[::bad"])
def test_an_endpoint_that_cannot_be_reached_is_unavailable(base_url: str) -> None:
    with pytest.raises(EncoderUnavailable, match="did not answer"):
        RemoteEncoder(base_url, "small", None, timeout_s=5)
