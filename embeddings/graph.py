"""all-MiniLM-L6-v2 as an ONNX graph, built from its weights: token ids in, the mean of the last layer out.

The graph has no attention mask: `MiniLM` encodes one text at a time, so no text is padded. In int8, every
product of activations with weights is one operator of onnxruntime, and so is the attention between them:
operators of the standard alone leave as much time between the products as in them.

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
from embeddings.weights import WEIGHTS

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
OF_ONNXRUNTIME = "com.microsoft"  # the domain of its own operators
# Seven bits: processors without VNNI saturate at eight, so vectors would differ between machines.
LARGEST_WEIGHT, LARGEST_WORD = 64, 127

Floats = NDArray[np.float32]
Weights = dict[str, Floats]


def minilm_graph(source: Path, *, int8: bool, n_layers: int = LAYERS) -> ModelProto:
    """Build the graph of the weights folder `source`: `ids` (n, tokens) int32 -> `embedding` (n, 384).

    Args:
        int8: the weights are rounded to int8, with one scale per channel, and so are the activations when it
            runs, with one scale per input; else everything is float32.
        n_layers: the mean is taken after this many layers.

    Raises:
        EncoderUnavailable: the folder does not hold all-MiniLM-L6-v2.
        OSError: the folder cannot be read.
    """
    try:
        config = json.loads((source / "config.json").read_bytes())
        differing = {key: config.get(key) for key, value in CONFIG.items() if config.get(key) != value}
        if differing:
            raise EncoderUnavailable(f"{source} is not all-MiniLM-L6-v2: its config.json has {differing}")
        return _Graph(load_file(source / WEIGHTS), int8).model(n_layers)
    except (SafetensorError, ValueError, AttributeError, KeyError) as error:
        raise EncoderUnavailable(f"{source} does not hold all-MiniLM-L6-v2: {error!r}") from error


class _Graph:
    """Nodes and constants, added one by one; every method returns the name of the one it added."""

    def __init__(self, weights: Weights, int8: bool) -> None:
        self._weights = weights
        self._is_int8 = int8
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def model(self, n_layers: int) -> ModelProto:
        tokens = self._tokens()
        for number in range(n_layers):
            tokens = self._layer(tokens, f"encoder.layer.{number}")
        pooled = self._op("ReduceMean", tokens, self._constant("tokens_axis", np.array([1])), keepdims=0)
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [pooled], ["embedding"])],
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT32, ["n", "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", D])],
            list(self._constants.values()),
        )
        versions = [helper.make_opsetid("", OPSET), helper.make_opsetid(OF_ONNXRUNTIME, 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION)

    def _tokens(self) -> str:
        # Every text is one segment, so the segment's embedding is added to every position's once.
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._constant(
            "positions", self._weights["embeddings.position_embeddings.weight"] + segment
        )
        n_tokens = self._op("Shape", "ids", start=1, end=2)
        first = self._op("Slice", positions, self._constant("start", np.array([0])), n_tokens)
        return self._norm(self._op("Add", self._words(), first), "embeddings.LayerNorm")

    def _words(self) -> str:
        words = self._weights["embeddings.word_embeddings.weight"]
        if not self._is_int8:
            return self._op("Gather", self._constant("words", words), "ids")
        rounded, scales = _rounded(words, LARGEST_WORD)
        chosen = self._op("Gather", self._constant("words", rounded), "ids")
        return self._op(
            "Mul",
            self._op("Cast", chosen, to=TensorProto.FLOAT),
            self._op("Gather", self._constant("words.scales", scales), "ids"),
        )

    def _layer(self, tokens: str, name: str) -> str:
        attended = self._linear(
            self._attention(tokens, f"{name}.attention.self"), f"{name}.attention.output.dense"
        )
        tokens = self._norm(self._op("Add", tokens, attended), f"{name}.attention.output.LayerNorm")
        hidden = self._op("Gelu", self._linear(tokens, f"{name}.intermediate.dense"))
        widened = self._linear(hidden, f"{name}.output.dense")
        return self._norm(self._op("Add", tokens, widened), f"{name}.output.LayerNorm")

    def _attention(self, tokens: str, name: str) -> str:
        inputs = [f"{name}.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self._weights[f"{part}.weight"] for part in inputs])
        bias = np.concatenate([self._weights[f"{part}.bias"] for part in inputs])
        parts = [f"{part}.output" for part in inputs]
        joined = self._product(tokens, name, weight, bias)
        self._nodes.append(helper.make_node("Split", [joined], parts, axis=-1, num_outputs=3))
        return self._op("MultiHeadAttention", *parts, domain=OF_ONNXRUNTIME, num_heads=HEADS)

    def _linear(self, tokens: str, name: str) -> str:
        return self._product(tokens, name, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _product(self, tokens: str, name: str, weight: Floats, bias: Floats) -> str:
        """The tokens times a weight of shape (outputs, inputs), plus a bias of shape (outputs,)."""
        bias_name = self._constant(f"{name}.bias", bias)
        if not self._is_int8:
            product = self._op("MatMul", tokens, self._constant(f"{name}.weight", weight.T))
            return self._op("Add", product, bias_name)
        rounded, scales = _rounded(weight, LARGEST_WEIGHT)
        return self._op(
            "DynamicQuantizeMatMul",
            tokens,
            self._constant(f"{name}.weight", rounded.T),
            self._constant(f"{name}.scales", scales[:, 0]),
            self._constant(f"{name}.zeros", np.zeros(bias.shape, dtype=np.int8)),
            bias_name,
            domain=OF_ONNXRUNTIME,
        )

    def _norm(self, tokens: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._weights[f"{name}.weight"])
        bias = self._constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self._op("LayerNormalization", tokens, weight, bias, axis=-1, epsilon=EPSILON)

    def _constant(self, name: str, value: Floats | NDArray[np.int64] | NDArray[np.int8]) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def _rounded(weights: Floats, largest: int) -> tuple[NDArray[np.int8], Floats]:
    """Whole numbers of at most `largest`, and the scale of each row."""
    scales = np.abs(weights).max(axis=1, keepdims=True) / largest
    scales[scales == 0] = 1.0  # an unused word
    return np.round(weights / scales).astype(np.int8), scales.astype(np.float32)
