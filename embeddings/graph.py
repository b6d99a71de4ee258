"""all-MiniLM-L6-v2 as an ONNX graph, built from its weights: token ids in, the mean of the last layer out.

The graph has no attention mask: `MiniLM` encodes one text at a time, so no text is padded.

Source: Devlin et al. (2019), BERT; Wang et al. (2020), MiniLM; Reimers & Gurevych (2019), Sentence-BERT.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file

from embeddings.encoder import EncoderUnavailable

D, HEADS, LAYERS, EPSILON = 384, 12, 6, 1e-12
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": D,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "layer_norm_eps": EPSILON,
}
# The oldest versions with all operators of this graph, so that any recent onnxruntime reads it.
OPSET, IR_VERSION = 20, 9

Weights = dict[str, NDArray[np.float32]]


def minilm_graph(source: Path) -> ModelProto:
    """Build the float32 graph of the weights folder `source`: `ids` (n, tokens) -> `embedding` (n, 384).

    Raises:
        EncoderUnavailable: the folder does not hold all-MiniLM-L6-v2.
        OSError: the folder cannot be read.
    """
    try:
        config = json.loads((source / "config.json").read_bytes())
        differing = {key: config.get(key) for key, value in CONFIG.items() if config.get(key) != value}
        if differing:
            raise EncoderUnavailable(f"{source} is not all-MiniLM-L6-v2: its config.json has {differing}")
        return _Graph(load_file(source / "model.safetensors")).model()
    except (SafetensorError, ValueError, AttributeError, KeyError) as error:
        raise EncoderUnavailable(f"{source} does not hold all-MiniLM-L6-v2: {error!r}") from error


class _Graph:
    """Nodes and constants, added one by one; every method returns the name of the one it added."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def model(self) -> ModelProto:
        tokens = self._tokens()
        for number in range(LAYERS):
            tokens = self._layer(tokens, f"encoder.layer.{number}")
        pooled = self._op("ReduceMean", tokens, self._constant("tokens_axis", np.array([1])), keepdims=0)
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [pooled], ["embedding"])],
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", D])],
            list(self._constants.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _tokens(self) -> str:
        words = self._constant("words", self._weights["embeddings.word_embeddings.weight"])
        # Every text is one segment, so the segment's embedding is added to every position's once.
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._constant(
            "positions", self._weights["embeddings.position_embeddings.weight"] + segment
        )
        n_tokens = self._op("Shape", "ids", start=1, end=2)
        first = self._op("Slice", positions, self._constant("start", np.array([0])), n_tokens)
        return self._norm(self._op("Add", self._op("Gather", words, "ids"), first), "embeddings.LayerNorm")

    def _layer(self, tokens: str, name: str) -> str:
        attended = self._linear(
            self._attention(tokens, f"{name}.attention.self"), f"{name}.attention.output.dense"
        )
        tokens = self._norm(self._op("Add", tokens, attended), f"{name}.attention.output.LayerNorm")
        hidden = self._op("Gelu", self._linear(tokens, f"{name}.intermediate.dense"))
        widened = self._linear(hidden, f"{name}.output.dense")
        return self._norm(self._op("Add", tokens, widened), f"{name}.output.LayerNorm")

    def _attention(self, tokens: str, name: str) -> str:
        query = self._heads(self._linear(tokens, f"{name}.query"), [0, 2, 1, 3])
        key = self._heads(self._linear(tokens, f"{name}.key"), [0, 2, 3, 1])
        value = self._heads(self._linear(tokens, f"{name}.value"), [0, 2, 1, 3])
        scale = self._constant("scale", np.array((D // HEADS) ** -0.5, dtype=np.float32))
        weights = self._op("Softmax", self._op("Mul", self._op("MatMul", query, key), scale), axis=-1)
        mixed = self._op("Transpose", self._op("MatMul", weights, value), perm=[0, 2, 1, 3])
        return self._op("Reshape", mixed, self._constant("joined", np.array([0, -1, D])))

    def _heads(self, tokens: str, order: list[int]) -> str:
        split = self._constant("split", np.array([0, -1, HEADS, D // HEADS]))
        return self._op("Transpose", self._op("Reshape", tokens, split), perm=order)

    def _linear(self, tokens: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._weights[f"{name}.weight"].T)
        bias = self._constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self._op("Add", self._op("MatMul", tokens, weight), bias)

    def _norm(self, tokens: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._weights[f"{name}.weight"])
        bias = self._constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self._op("LayerNormalization", tokens, weight, bias, axis=-1, epsilon=EPSILON)

    def _constant(self, name: str, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output
