"""Correct LSTMs in three styles, and edits that make a mistake in one of them."""

FUNCTIONAL = """
import torch
from torch import nn
from torch.nn import functional
from reviver.recurrent.lstm_step import LSTMGates, LSTMState, LSTMWeights

def lstm_step(x, state, w):
    h, c = state
    i = torch.sigmoid(x @ w.W_i.T + h @ w.U_i.T + w.b_i)
    f = torch.sigmoid(x @ w.W_f.T + h @ w.U_f.T + w.b_f)
    g = torch.tanh(x @ w.W_c.T + h @ w.U_c.T + w.b_c)
    o = torch.sigmoid(x @ w.W_o.T + h @ w.U_o.T + w.b_o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    return LSTMState(h, c), LSTMGates(i, f, g, o)

def reset_weights(w):
    for name in w._fields[:8]:
        nn.init.xavier_uniform_(getattr(w, name))
    for name in w._fields[8:12]:
        nn.init.zeros_(getattr(w, name))
    nn.init.ones_(w.b_f)

class Recaller(nn.Module):
    def __init__(self, input_size, hidden_size=128, dropout=0.5):
        super().__init__()
        self.hidden_size, self.dropout = hidden_size, dropout
        sizes = [(hidden_size, input_size)] * 4 + [(hidden_size, hidden_size)] * 4 + [(hidden_size,)] * 4
        for name, size in zip(LSTMWeights._fields, sizes):
            self.register_parameter(name, nn.Parameter(torch.empty(size)))
        reset_weights(self.weights())
        self.output = nn.Linear(hidden_size, 10)

    def weights(self):
        return LSTMWeights(*(getattr(self, name) for name in LSTMWeights._fields[:12]), None)

    def forward(self, x):
        h = c = x.new_zeros(len(x), self.hidden_size)
        w = self.weights()
        for x_t in x.unbind(dim=1):
            (h, c), _ = lstm_step(x_t, LSTMState(h, c), w)
            h = functional.dropout(h, self.dropout, self.training)
        return self.output(h)

def update(network, optimizer, x, targets, max_norm):
    loss = functional.cross_entropy(network(x), targets)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
"""

LINEAR = """
import torch
from torch import nn

class LSTMCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.input_gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.forget_gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)
        self.output_gate = nn.Linear(input_size + hidden_size, hidden_size)
        for layer in self.children():
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.ones_(self.forget_gate.bias)

    def forward(self, x, state):
        h, c = state
        both = torch.cat([h, x], dim=1)
        c = self.forget_gate(both).sigmoid() * c + self.input_gate(both).sigmoid() * self.candidate(both).tanh()
        return self.output_gate(both).sigmoid() * c.tanh(), c

class Recaller(nn.Module):
    def __init__(self, input_size, hidden_size, dropout=0.0):
        super().__init__()
        self.cell = LSTMCell(input_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, 10)

    def forward(self, x):
        state = x.new_zeros(2, len(x), self.cell.forget_gate.out_features)
        for t in range(x.shape[1]):
            h, c = self.cell(x[:, t], state)
            state = self.dropout(h), c
        return self.head(state[0])

def update(network, optimizer, x, targets, max_norm):
    network.zero_grad()
    logits = network(x)
    loss = -logits.log_softmax(1)[torch.arange(len(x)), targets].mean()
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
    for p in network.parameters():
        p.grad *= (max_norm / norm).clamp(max=1)
    optimizer.step()
"""

FUSED = """
import torch
import torch.nn.functional as F
from torch import nn

class LSTMCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(input_size, 4 * hidden_size))
        self.recurrent = nn.Parameter(torch.empty(hidden_size, 4 * hidden_size))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        for matrix in (self.kernel, self.recurrent):
            for block in matrix.data.chunk(4, dim=1):
                nn.init.xavier_uniform_(block)
        self.bias.data[hidden_size : 2 * hidden_size] = 1

    def forward(self, x, h, c):
        o, f, i, g = (x @ self.kernel + h @ self.recurrent + self.bias).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

class Recaller(nn.Module):
    def __init__(self, input_size, hidden_size=64, dropout=0.5):
        super().__init__()
        self.p, self.cell = dropout, LSTMCell(input_size, hidden_size)
        self.W_out, self.b_out = nn.Parameter(torch.randn(10, hidden_size) / 8), nn.Parameter(torch.zeros(10))

    def forward(self, x):
        batch, steps, _ = x.shape
        h, c = (torch.zeros(batch, len(self.cell.recurrent)) for _ in range(2))
        for t in range(steps):
            h, c = self.cell(x[:, t, :], h, c)
            if self.training:
                h = h * (torch.rand(h.shape) > self.p) / (1 - self.p)
        return F.linear(h, self.W_out, self.b_out)

def update(network, optimizer, x, targets, max_norm):
    optimizer.zero_grad()
    nn.CrossEntropyLoss()(network(x), targets).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
    return 0.0
"""

STYLES = {"functional": FUNCTIONAL, "linear": LINEAR, "fused": FUSED}
C, H, LOOP = "c = f * c + i * g", "h = o * torch.tanh(c)", "for x_t in x.unbind(dim=1):"
DROP, CALL = "h = functional.dropout(h, self.dropout, self.training)", "(h, c), _ = lstm_step(x_t, LSTMState(h, c), w)"
CLIP = "nn.utils.clip_grad_norm_(network.parameters(), max_norm)"
MISTAKES = {
    "lstm_step": {
        "the input and the forget gate are exchanged": "W_i -> W_x && U_i -> U_x && b_i -> b_x && _f -> _i && _x -> _f",
        "the forget and the output gate are exchanged": "W_f -> W_x && U_f -> U_x && b_f) -> b_x) && _o -> _f && _x -> _o",
        "the gates have the weights of the order i, f, o, g": "_c -> _x && _o -> _c && _x -> _o",
        "i and f are exchanged in the cell state": "f * c + i * g -> i * c + f * g",
        "tanh(c) is missing in the hidden state": f"{H} -> h = o * c",
        "h is computed from c before the step": f"{C} -> {H} && {H}\n    return -> {C}\n    return",
        "the output gate is missing": f"{H} -> h = torch.tanh(c)",
        "the biases are missing": " + w.b_i) -> ) && + w.b_f) -> ) && + w.b_c) -> ) && + w.b_o) -> )",
        "the forget bias of 1 is added in the step": "w.b_f) -> w.b_f + 1)",
        "sigmoid and tanh are exchanged": "torch.tanh(x -> torch.TANH(x && torch.sigmoid -> torch.tanh && TANH -> sigmoid",
        "the cell candidate has a sigmoid": "torch.tanh(x -> torch.sigmoid(x",
        "the gates have a tanh": "torch.sigmoid -> torch.tanh",
        "W and U are exchanged": "w.W -> w.V && w.U -> w.W && w.V -> w.U",
        "U is transposed": "w.U_i.T -> w.U_i && w.U_f.T -> w.U_f && w.U_c.T -> w.U_c && w.U_o.T -> w.U_o",
        "W and U are transposed": ".T -> ",
        "c is not carried: the memory is replaced, not added to": f"{C} -> c = i * g",
        "the forget gate is missing in the cell state": f"{C} -> c = c + i * g",
        "the input gate is missing in the cell state": f"{C} -> c = f * c + g",
        "1 - f takes the place of the input gate": f"{C} -> c = f * c + (1 - f) * g",
        "h and c are returned in the wrong order": "LSTMState(h, c), LSTMG -> LSTMState(c, h), LSTMG",
        "the gates are returned in another order than i, f, g, o": "(i, f, g, o) -> (i, f, o, g)",
        "no gradient flows back through h and c": "h, c = state -> h, c = state[0].detach(), state[1].data",
        "no gradient flows back through c": "h, c = state -> h, c = state[0], state[1].detach()",
        "the step changes its arguments in place": f"{C} -> c *= f; c += i * g",
    },
    "initialization": {
        "the forget bias is 0": "nn.init.ones_(w.b_f) -> pass",
        "all biases are 1": "nn.init.zeros_ -> nn.init.ones_",
        "all weights are equal": "nn.init.xavier_uniform_ -> nn.init.ones_",
        "the weights are standard normal": "nn.init.xavier_uniform_ -> nn.init.normal_",
    },
    "sequence": {
        "batch and time are mixed up": "unbind(dim=1) -> unbind(dim=0) && new_zeros(len(x) -> new_zeros(x.shape[1]",
        "batch and time are mixed up by view or reshape": "x.unbind(dim=1) -> x.view(x.shape[1], x.shape[0], -1)",
        "the state is reset at every step": f"{CALL} -> h = c = torch.zeros_like(h); {CALL}",
        "c is not carried but reset at every step": f"{CALL} -> c = torch.zeros_like(c); {CALL}",
        "h is not carried but reset at every step": f"{CALL} -> h = torch.zeros_like(h); {CALL}",
        "the sequence is read backward": "x.unbind -> x.flip(1).unbind",
        "the last step is left out": "x.unbind(dim=1) -> x.unbind(dim=1)[:-1]",
        "the logits are computed from c": "self.output(h) -> self.output(c)",
        "there is a softmax before cross-entropy": "self.output(h) -> self.output(h).softmax(1)",
        "no gradient flows back from step to step": f"{CALL} -> h, c = h.detach(), c.detach(); {CALL}",
    },
    "dropout": {
        "there is no dropout in training": f"{DROP} -> pass",
        "dropout acts in evaluation, too": "self.dropout, self.training) -> self.dropout)",
        "dropout acts on the input x": f"{DROP} -> pass && (x_t, -> (functional.dropout(x_t, self.dropout, self.training),",
        "dropout acts on the cell state c": f"{DROP} -> {DROP.replace('h', 'c').replace('c =', 'c =')}",
        "dropout acts once, after the last step": f"{DROP} -> pass && return self.output -> {DROP}\n        return self.output",
        "all steps have the same dropout mask": f"{DROP} -> h = h * m && {LOOP} -> m = torch.ones_like(h); "
        f"{DROP.replace('h,', 'm,').replace('h =', 'm =')}\n        {LOOP}",
        "the units that are kept are not scaled": f"{DROP} -> h = h * (torch.rand_like(h) >= self.dropout * self.training)",
        "p is the probability of keeping a unit": "(h, self.dropout, -> (h, 1 - self.dropout,",
    },
    "training": {
        "the gradients are not cleared": "optimizer.zero_grad() -> pass",
        "the gradient is not clipped before the update": f"{CLIP} -> pass",
        "each entry of the gradient is clipped, not its norm": "clip_grad_norm_ -> clip_grad_value_",
        "there is a softmax before cross-entropy": "(network(x), -> (network(x).softmax(1),",
        "the loss rises": "loss.backward() -> (-loss).backward()",
        "the weights do not change": f"{CLIP} -> optimizer.zero_grad()",
    },
}
