"""skorch: a classifier in scikit-learn's interface."""

import io
from typing import Any

import torch
from scripts import Build, Classifier, compare, make_data, with_weights_of_torch
from skorch import NeuralNetClassifier

from reviver import LSTM


def make_net(build: Build) -> NeuralNetClassifier:
    training = {"optimizer": torch.optim.Adam, "lr": 0.02, "max_epochs": 8, "batch_size": 16, "train_split": None}
    training |= {"criterion": torch.nn.CrossEntropyLoss, "iterator_train__shuffle": True, "verbose": 0}
    return NeuralNetClassifier(Classifier, module__build=build, **training)


def test_fit_and_predict() -> None:
    def script(build: Build) -> dict[str, Any]:
        net = make_net(build)
        x, y = make_data()
        net.fit(x, y)
        return {"losses": net.history[:, "train_loss"], "probabilities": net.predict_proba(x)}

    compare(script)


def test_learns_with_hidden_dropout_and_loads_what_it_saved() -> None:
    torch.manual_seed(0)
    x, y = make_data(256)
    net = make_net(with_weights_of_torch(LSTM, hidden_dropout=0.3)).fit(x, y)
    assert (net.predict(x) == y.numpy()).mean() > 0.9
    file = io.BytesIO()
    net.save_params(f_params=file)
    file.seek(0)
    again = make_net(LSTM).initialize()
    again.load_params(f_params=file)
    assert (again.predict_proba(x) == net.predict_proba(x)).all()
