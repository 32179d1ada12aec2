"""C and JavaScript that the page downloads, against the networks of Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver import LSTMClassifier, RNNClassifier
from reviver.recurrent.classifier import RecurrentClassifier
from tests.explorer.node import compute, needs_node
from tests.programs import exact_logits, needs_compiler, run_c

pytestmark = [needs_node, needs_compiler]
OWN = (
    "q = W_q @ x + U_q @ h + V_q @ c + b_q\nc = 0.5 * c + tanh(U_c @ (q * h))\nh = sigmoid(p_h * c) - normalize(q) / 4"
)


def networks() -> dict[str, RecurrentClassifier]:
    torch.manual_seed(1)
    dropout: Any = {"hidden_dropout": 0.2, "hidden_dropout_kind": "zoneout"}
    found: dict[str, RecurrentClassifier] = {
        "lstm": LSTMClassifier(3, 33, 4, num_layers=2),
        "gru": RNNClassifier("gru", 3, 5, 4, pooling="attention", patch_size=2),
        "norm": RNNClassifier("layer-norm", 3, 6, 17, pooling="mean", **dropout),
        "slstm": RNNClassifier("slstm", 3, 5, 4, pooling="max"),
        "own": RNNClassifier(OWN, 3, 5, 1),
    }
    for network in found.values():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return {name: network.eval() for name, network in found.items()}


def test_the_page_emits_code_with_pythons_numbers(tmp_path: Path) -> None:
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))
    requests, found = [], networks()
    for name, network in found.items():
        spec = network._spec_values()
        content = {
            "name": f"{name} */ ??/",
            "inputSize": 3,
            "hiddenSize": spec["hidden_size"],
            "outputSize": len(network.W_out),
        }
        content |= {"numLayers": spec["num_layers"], "pooling": spec["pooling"], "patchSize": spec["patch_size"]}
        content |= {"bidirectional": False, "standardization": None, "classNames": ['"é\\'] * len(network.W_out)}
        content |= {"hiddenDropout": spec["hidden_dropout"], "hiddenDropoutKind": spec["hidden_dropout_kind"]}
        content |= {"cell": "lstm" if name == "lstm" else spec["cell"]}
        weights = {key: weight.flatten().tolist() for key, weight in network.weights_by_name().items()}
        requests.append({"content": content, "weights": weights, "x": x.tolist()})
    emitted = dict(zip(found, compute("emit", requests), strict=True))
    codes = {
        name: one["C"].replace("net_", f"{name}_").replace("NET_", f"{name.upper()}_") for name, one in emitted.items()
    }
    in_c = run_c(codes, dict.fromkeys(codes, x.numpy()), tmp_path)
    for name, network in found.items():
        exact = exact_logits(network, x)
        assert np.array(emitted[name]["logits"]) == pytest.approx(exact, abs=2e-6), name
        assert in_c[name] == pytest.approx(exact, abs=2e-6), name
