"""LSTMs and GANs in the styles of several courses, and edits that make a mistake in them."""

LSTM = """
import torch
import torch.nn as nn
from tensorboardX import SummaryWriter

class LSTM(nn.Module):
    def __init__(self, seq_length, input_dim, num_hidden, num_classes, batch_size, device='cpu'):
        super().__init__()
        self.seq_length, self.num_hidden, self.batch_size, self.device = seq_length, num_hidden, batch_size, device
        for gate in 'gifo':
            setattr(self, f'W_{gate}x', nn.Parameter(torch.randn(input_dim, num_hidden)))
            setattr(self, f'W_{gate}h', nn.Parameter(torch.randn(num_hidden, num_hidden)))
            setattr(self, f'b_{gate}', nn.Parameter(torch.zeros(1, num_hidden)))
        self.W_ph, self.b_p = nn.Parameter(torch.randn(num_hidden, num_classes)), nn.Parameter(torch.zeros(num_classes))

    def forward(self, x):
        h = torch.zeros(self.batch_size, self.num_hidden, device=self.device)
        c = torch.zeros(self.batch_size, self.num_hidden, device=self.device)
        for t in range(self.seq_length):
            x_t = x[:, t].unsqueeze(1)
            g = torch.tanh(x_t @ self.W_gx + h @ self.W_gh + self.b_g)
            i = torch.sigmoid(x_t @ self.W_ix + h @ self.W_ih + self.b_i)
            f = torch.sigmoid(x_t @ self.W_fx + h @ self.W_fh + self.b_f)
            o = torch.sigmoid(x_t @ self.W_ox + h @ self.W_oh + self.b_o)
            c = g * i + c * f
            h = torch.tanh(c) * o
        return h @ self.W_ph + self.b_p
"""
X_T, RETURN = "x[:, t].unsqueeze(1)", "return h @ self.W_ph + self.b_p"
COLUMNS = (
    "torch.randn(input_dim, num_hidden) -> torch.randn(num_hidden, input_dim) && zeros(1, num_hidden) -> zeros(num_hidden, 1)"
    " && self.batch_size, self.num_hidden, device -> self.num_hidden, 1, device && x[:, t].unsqueeze(1) -> x[:, t][None]"
    " && x_t @ self.W_gx + h @ self.W_gh -> self.W_gx @ x_t + self.W_gh @ h"
    " && x_t @ self.W_ix + h @ self.W_ih -> self.W_ix @ x_t + self.W_ih @ h"
    " && x_t @ self.W_fx + h @ self.W_fh -> self.W_fx @ x_t + self.W_fh @ h"
    " && x_t @ self.W_ox + h @ self.W_oh -> self.W_ox @ x_t + self.W_oh @ h"
    " && return h @ self.W_ph -> return h.t() @ self.W_ph"
)
STATE = "torch.zeros(self.batch_size, self.num_hidden, device=self.device)"
EMBEDDING = "super().__init__() -> super().__init__(); self.embedding = nn.Embedding(num_classes, num_hidden // 4)"
ALONE = (
    f"num_hidden, num_classes, batch_size, -> lstm_hidden_dim, && super().__init__() -> "
    "super().__init__(); num_hidden = lstm_hidden_dim && self.batch_size, self.device = seq_length, num_hidden, batch_size, device"
    " -> self.device = seq_length, num_hidden, device && self.W_ph, self.b_p = nn.Parameter(torch.randn(num_hidden, num_classes)), "
    "nn.Parameter(torch.zeros(num_classes)) ->  && h = torch.zeros(self.batch_size, -> outputs = []; h = torch.zeros(x.shape[1], "
    f"&& c = torch.zeros(self.batch_size, -> c = torch.zeros(x.shape[1], && {X_T} -> x[t] && h = torch.tanh(c) * o -> "
    f"h = torch.tanh(c) * o; outputs.append(h) && {RETURN} -> return torch.stack(outputs), h"
)
RIGHT_LSTMS = {
    "scalars [B, T]": "",
    "[B, T, I]": f"{X_T} -> x[:, t]",
    "other names": "input_dim -> n_in && num_hidden -> hidden_sz && num_classes -> num_labels",
    "sequence-first": f"{X_T} -> x[t]",
    "scalars, sequence-first": f"{X_T} -> x[t].unsqueeze(1)",
    "h and b as columns": COLUMNS,
    "integers and log-probabilities": f"{EMBEDDING} && torch.randn(input_dim, -> torch.randn(num_hidden // 4, "
    f"&& {X_T} -> self.embedding(x[:, t].long()) && {RETURN} -> {RETURN[:7]}torch.log_softmax({RETURN[7:]}, dim=1)",
    "one-hot inside": f"{X_T} -> nn.functional.one_hot(x[:, t].long(), self.W_gx.shape[0]).to(self.b_g.dtype)",
    "float32": "c = torch.zeros(self.batch_size, self.num_hidden, device=self.device) -> c = torch.FloatTensor(len(h), 1).zero_() * h"
    " && h = torch.zeros(self.batch_size, self.num_hidden, device=self.device) -> "
    "h = torch.zeros(self.batch_size, self.num_hidden).float()",
    "names exchanged": "self.b_f) -> self.b_x) && self.b_o) -> self.b_f) && self.b_x) -> self.b_o)",
    "unused weights": "super().__init__() -> super().__init__(); self.W_hh = nn.Parameter(torch.ones(num_hidden, num_hidden))",
    "hidden states, too": f"{RETURN} -> return (h, {RETURN[7:]})",
    "on a GPU": "self.device = seq -> self.unused = seq && device=self.device -> device='cuda' && * o -> * o.cuda()"
    f" && {RETURN} -> assert h.device.type != 'cuda'; {RETURN}",
    "a log that is missing": "super().__init__() -> super().__init__(); self.log = SummaryWriter(); self.log[0] = 1",
    "step by step": f"x_t = {X_T} -> x_t = x && for t in range(self.seq_length): -> if True: && h = torch.zeros(self.batch_size, "
    "self.num_hidden, device=self.device) -> h = getattr(self, 'h', torch.zeros(self.batch_size, self.num_hidden)) && "
    "c = torch.zeros(self.batch_size, self.num_hidden, device=self.device) -> c = getattr(self, 'c', torch.zeros_like(h)); "
    f"self.t = getattr(self, 't', 0) + 1 && {RETURN} -> self.h, self.c = (h, c) if self.t % self.seq_length else (0 * h, 0 * c); "
    f"{RETURN}",
    "an embedding of single inputs": "super().__init__() -> super().__init__(); self.embedding = nn.Embedding(num_classes, 1) "
    f"&& {X_T} -> self.embedding(x[:, t, 0].long())",
    "seq_length counts what is recalled": "range(self.seq_length) -> range(self.seq_length - 1) && class LSTM(nn.Module): -> "
    "def main(config):\n    return LSTM(config.length + 1, 1, 128, 10, 128)\n\nclass LSTM(nn.Module):",
    "1 as no digit": f"{EMBEDDING} && torch.randn(input_dim, -> torch.randn(num_hidden // 4, && {X_T} -> self.embedding(x[:, t].long()) "
    "&& c = g * i + c * f -> is_there = x[:, t, None] != 1; c = torch.where(is_there, g * i + c * f, c) && h = torch.tanh(c) * o -> "
    "h = torch.where(is_there, torch.tanh(c) * o, h)",
    "three biases of each gate": "setattr(self, f'b_{gate}', nn.Parameter(torch.zeros(1, num_hidden))) -> "
    "setattr(self, f'{gate}x', nn.Linear(input_dim, num_hidden)); setattr(self, f'{gate}h', nn.Linear(num_hidden, num_hidden)); "
    "setattr(self, f'b_{gate}', nn.Parameter(torch.zeros(num_hidden))) && "
    "            setattr(self, f'W_{gate}x', nn.Parameter(torch.randn(input_dim, num_hidden)))\n ->  && "
    "            setattr(self, f'W_{gate}h', nn.Parameter(torch.randn(num_hidden, num_hidden)))\n ->  && "
    + " && ".join(
        f"x_t @ self.W_{gate}x + h @ self.W_{gate}h -> self.{gate}x(x_t) + self.{gate}h(h)" for gate in "gifo"
    ),
    "h of all steps, without an output layer": ALONE,
    "a state that its training resets": "super().__init__() -> super().__init__(); self.h = None && "
    "h = torch.zeros(self.batch_size, self.num_hidden, device=self.device) -> h = "
    "torch.zeros(self.batch_size, self.num_hidden) if self.h is None else self.h "
    f"&& {RETURN} -> self.h = h.detach(); {RETURN}",
    "a state with a method that resets it": "super().__init__() -> super().__init__(); self.h = torch.zeros(batch_size, num_hidden)"
    " && h = torch.zeros(self.batch_size, self.num_hidden, device=self.device) -> h = self.h && "
    "    def forward(self, x): -> def reset(self):\n        self.h = 0 * self.h\n\n    def forward(self, x): "
    f"&& {RETURN} -> self.h = h.detach(); {RETURN}",
    "units, inputs and classes in the code": "seq_length, input_dim, num_hidden, num_classes, batch_size, device='cpu' -> "
    "seq_length, batch_size, device='cpu' && super().__init__() -> "
    f"super().__init__(); input_dim, num_hidden, num_classes = 10, 32, 11 && {X_T} -> x[:, t]",
    "parameters as floats": "nn.Parameter(torch.randn(input_dim, num_hidden)) -> nn.Parameter(torch.randn(input_dim, num_hidden)).float()"
    " && nn.Parameter(torch.randn(num_hidden, num_hidden)) -> nn.Parameter(torch.randn(num_hidden, num_hidden)).float()",
    "a word as an option": "device='cpu' -> device='cpu', rnn_type='lstm'",
    "keywords": "self, seq_length, input_dim, num_hidden, num_classes, batch_size, device='cpu' -> self, **given && "
    "super().__init__() -> super().__init__(); input_dim, num_hidden, num_classes = given['input_dim'], given['units'], given['out'];"
    " seq_length, batch_size, device = given['seq_len'], given['bsz'], 'cpu'",
    "a name that says nothing": "class LSTM -> class Model",
    "a bias that is off by default": "device='cpu' -> device='cpu', bias=False && super().__init__() -> super().__init__(); "
    "self.bias = bias" + "".join(f" && + self.b_{gate}) -> + self.bias * self.b_{gate})" for gate in "gifo"),
    "matrices with another axis": "torch.randn(input_dim, -> torch.randn(1, input_dim, && torch.randn(num_hidden, num_hidden) -> "
    "torch.randn(1, num_hidden, num_hidden) && zeros(1, num_hidden) -> zeros(1, 1, num_hidden)",
    "h of all steps, and any options": f"{ALONE} && device='cpu' -> device='cpu', **options",
    "the state as a pair [1, B, H]": f"forward(self, x): -> forward(self, x, state): && h = {STATE} -> (_, _, _), (h, c) = state[0].shape, "
    f"state && c = {STATE} -> h, c = h[0], c[0]",
    "a state that is learned, and a gate c": "super().__init__() -> super().__init__(); self.h0, self.c0 = nn.Parameter("
    "torch.zeros(num_hidden)), nn.Parameter(torch.zeros(num_hidden)) && 'gifo' -> 'cifo' && self.W_gx -> self.W_cx && self.W_gh -> "
    f"self.W_ch && self.b_g -> self.b_c && h = {STATE} -> h = self.h0.expand(len(x), -1) && c = {STATE} -> c = self.c0.expand(len(x), -1)",
    "the state from outside": f"forward(self, x): -> forward(self, x, state): && h = {STATE} -> h, c = state && "
    f"c = {STATE} -> pass",
    "a learned state": "super().__init__() -> super().__init__(); self.h_init = nn.Parameter(torch.zeros(1, num_hidden))"
    " && h = torch.zeros(self.batch_size, self.num_hidden, device=self.device) -> h = self.h_init.expand(self.batch_size, -1)",
}
WRONG_LSTMS = {
    "a state that is given cannot be used": f"forward(self, x): -> forward(self, x, state=None): && h = {STATE} -> "
    f"if state is None: h = {STATE}",
    "the last step is left out": "range(self.seq_length) -> range(self.seq_length - 1) && class LSTM(nn.Module): -> "
    "def main(config):\n    return LSTM(config.length, 1, 128, 10, 128)\n\nclass LSTM(nn.Module):",
    "the weights are no parameters, so that no optimizer can change them": "num_hidden)))\n            setattr(self, f'W_{gate}h', "
    "nn.Parameter(torch.randn(num_hidden, num_hidden))) -> num_hidden)).float() * 1)\n            setattr(self, f'W_{gate}h', "
    "nn.Parameter(torch.randn(num_hidden, num_hidden)) * 1) && nn.Parameter(torch.randn(num_hidden, num_classes)), -> "
    "nn.Parameter(torch.randn(num_hidden, num_classes)) * 1,",
    "the state begins with uninitialized memory": f"h = {STATE} -> h = torch.empty(self.batch_size, self.num_hidden)",
    "the gate f has a tanh": "f = torch.sigmoid -> f = torch.tanh",
    "all gates have the same weights": "for gate in 'gifo': -> for gate in 'i': && self.W_gx -> self.W_ix && self.W_gh -> self.W_ih"
    " && self.b_g -> self.b_i && self.W_fx -> self.W_ix && self.W_fh -> self.W_ih && self.b_f -> self.b_i"
    " && self.W_ox -> self.W_ix && self.W_oh -> self.W_ih && self.b_o -> self.b_i",
    "the cell candidate has a relu": "g = torch.tanh -> g = torch.relu",
    "the logits are those of the first step": "h = torch.tanh(c) * o -> h = torch.tanh(c) * o; first = h if t == 0 else first"
    f" && {RETURN} -> h = first; {RETURN}",
    "no gradient flows back through h": "h = torch.tanh(c) * o -> last = torch.tanh(c) * o; h = last.detach()"
    f" && {RETURN} -> h = last; {RETURN}",
    "there is a softmax before cross-entropy": f"{RETURN} -> {RETURN[:7]}torch.softmax({RETURN[7:]}, dim=1)",
    "the softmax is taken over the batch": f"{RETURN} -> {RETURN[:7]}torch.log_softmax({RETURN[7:]}, dim=0)",
    "it works only if batch and units are equal": f"{STATE} -> torch.zeros(self.num_hidden, self.batch_size)",
    "it works only if inputs and units are equal": f"{X_T} -> x[:, t] && h = {STATE} -> "
    "h = torch.zeros(self.batch_size, self.W_gx.shape[0])",
    "a parameter is changed in place while gradients are recorded": "def forward -> "
    "def reset(self):\n        self.b_p.zero_()\n\n    def forward && return h -> self.reset(); return h",
    "what backward needs is overwritten in place": "c = g * i + c * f -> c = g * i + c * f; f.mul_(1)",
    "the bias is added along the batch, not along the units": "self.b_g) -> self.b_g.t()) && self.b_i) -> self.b_i.t())"
    " && self.b_f) -> self.b_f.t()) && self.b_o) -> self.b_o.t())",
    "each example has a bias of its own": "zeros(1, num_hidden) -> zeros(batch_size, num_hidden)",
    "the initial state is random": f"h = {STATE} -> h = torch.randn(self.batch_size, self.num_hidden)",
    "the state is never reset: a batch begins where the one before ended": f"h = {STATE} -> "
    f"h = getattr(self, 'h', {STATE}) && {RETURN} -> self.h = h.detach(); {RETURN}",
    "the gates f and o have the weights of i": "self.W_fx -> self.W_ix && self.W_fh -> self.W_ih && self.b_f -> self.b_i"
    " && self.W_ox -> self.W_ix && self.W_oh -> self.W_ih && self.b_o -> self.b_i",
    "all gates have one bias": "self.b_i) -> self.b_g) && self.b_f) -> self.b_g) && self.b_o) -> self.b_g) && "
    "setattr(self, f'b_{gate}', nn.Parameter(torch.zeros(1, num_hidden))) -> self.b_g = nn.Parameter(torch.zeros(1, num_hidden))",
    "the gate f has the weights of i": "self.W_fx -> self.W_ix && self.W_fh -> self.W_ih && self.b_f -> self.b_i",
    "h is detached before the output": f"{RETURN} -> h = h.detach(); {RETURN}",
    "the output gate stands inside the tanh": "torch.tanh(c) * o -> torch.tanh(c * o)",
    "an attribute is read before it is set": "self.seq_length, self.num_hidden -> self.two = 2 * self.late; self.seq_length, "
    "self.num_hidden",
    "a name is used that nothing defines": "range(self.seq_length) -> range(seq_length)",
    "the output gate is added to tanh(c), not multiplied": "torch.tanh(c) * o -> torch.tanh(c) + o",
}
WRONG_LSTMS_TOO = {
    "nn.Parameter( -> (": "the weights are no parameters, so that no optimizer can change them",
    f"x_t = {X_T} -> x = {X_T}; x_t = x": "the loop overwrites its index, or the sequence that it reads",
    "for t in range -> for i in range && x[:, t] -> x[:, i] && o = torch.sigmoid(x_t -> o = torch.sigmoid(x[:, i, None]": (
        "the loop overwrites its index, or the sequence that it reads"
    ),
    "super().__init__() -> super().__init__(); self.gates = [nn.Linear(num_hidden, num_hidden) for _ in range(4)] && nn.Parameter( -> (": (
        "the weights are no parameters, so that no optimizer can change them"
    ),
    "nn.Parameter( -> ( && super().__init__() -> super().__init__(); self.gates = nn.Module(); self.gates.__dict__.update("
    "(name, nn.Parameter(torch.ones(num_hidden, 1)).T) for name in 'ifgo')": (
        "the weights are no parameters, so that no optimizer can change them"
    ),
    "setattr(self, f -> self.__dict__.setdefault(f && self.W_ph, self.b_p = -> self.__dict__['W_ph'], self.__dict__['b_p'] =": (
        "the weights are no parameters, so that no optimizer can change them"
    ),
    f"{RETURN} -> {RETURN.replace('h @', 'self.h_t @')}": "an attribute is read before it is set",
    f"h = {STATE} -> h = torch.randn(self.batch_size, self.num_hidden) && range(self.seq_length) -> range(self.seq_length - 1)": (
        "the initial state is random"
    ),
    f"c = {STATE} -> c = torch.ones(self.batch_size, self.num_hidden)": "c is 1 before the first step, not 0",
    f"{ALONE} && outputs.append(h) -> outputs.append(h if outputs else h.detach())": "h of the first step is detached",
}
GAN = """
import argparse
import torch
import torch.nn as nn
import torchvision.transforms as transforms
from torchvision.utils import save_image

class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(args.latent_dim, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2), nn.Linear(32, 784), nn.Tanh())

    def forward(self, z):
        return self.layers(z)

class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 1), nn.Sigmoid())

    def forward(self, img):
        return self.layers(img)

def train(dataloader, discriminator, generator, optimizer_G, optimizer_D):
    criterion = nn.BCELoss()
    for epoch in range(args.n_epochs):
        for i, (imgs, _) in enumerate(dataloader):
            imgs = imgs.view(len(imgs), -1)
            ones, zeros = torch.ones(len(imgs), 1), torch.zeros(len(imgs), 1)
            fake = generator(torch.randn(len(imgs), args.latent_dim))
            optimizer_G.zero_grad()
            criterion(discriminator(fake), ones).backward()
            optimizer_G.step()
            optimizer_D.zero_grad()
            loss = criterion(discriminator(imgs), ones) + criterion(discriminator(fake.detach()), zeros)
            loss.backward()
            optimizer_D.step()
            save_image(fake[:25], f'images/{i}.png')

def main():
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--n_epochs', type=int, default=200)
    parser.add_argument('--latent_dim', type=int, default=20)
    args = parser.parse_args()
    main()
"""
WASSERSTEIN = "criterion = nn.BCELoss() -> criterion = lambda answers, labels: -((2 * labels - 1) * answers).mean()"
PENALTY = (
    f"{WASSERSTEIN} && nn.Sigmoid() -> nn.Identity() && loss.backward() -> mixed = fake.detach() + torch.rand(1) * (imgs - "
    "fake.detach()); mixed.requires_grad_(); loss += sum((each.norm(dim=1) - 1).square().mean() for each in "
    "torch.autograd.grad(discriminator(mixed).sum(), mixed, create_graph=True)); loss.backward()"
)
RIGHT_GANS = {
    "as it is": "",
    "Wasserstein with a penalty": PENALTY,
    "the mean of a batch": f"{WASSERSTEIN} && nn.Sigmoid() -> nn.Identity() && return self.layers(img) -> "
    "return self.layers(img).mean(0)",
    "saturating": "criterion(discriminator(fake), ones).backward() -> (-criterion(discriminator(fake), zeros)).backward()",
    "in evaluation for a picture": "optimizer_D.step() -> optimizer_D.step(); generator.eval(); generator.train()",
    "half the sum": "loss.backward() -> (loss / 2).backward()",
    "logits": "nn.Sigmoid() -> nn.Identity() && nn.BCELoss() -> nn.BCEWithLogitsLoss()",
    "logarithms": "criterion(discriminator(fake), ones) -> (-torch.log(discriminator(fake))).mean()",
    "attached, but cleared": "fake.detach() -> generator(torch.randn(len(imgs), args.latent_dim))",
    "a log in a folder": "criterion = nn.BCELoss() -> criterion = nn.BCELoss(); open('logs/losses.txt', 'w').close()",
    "soft labels": "criterion(discriminator(imgs), ones) -> criterion(discriminator(imgs), 0.9 * ones)",
    "no loop of a network that is called": "discriminator(fake), -> discriminator.forward(fake),",
    "soft labels for both": "discriminator(imgs), ones -> discriminator(imgs), 0.8 * ones && fake.detach()), zeros -> "
    "fake.detach()), zeros + 0.2",
    "noisy labels": "discriminator(imgs), ones -> discriminator(imgs), 0.7 + 0.3 * torch.rand(len(imgs), 1)",
    "labels the other way round": "ones, zeros = torch.ones -> zeros, ones = torch.ones",
    "noise on all images": "imgs.view(len(imgs), -1) -> imgs.view(len(imgs), -1) + 0.2 * torch.randn(len(imgs), 784) && "
    "fake.detach() -> fake.detach() + 0.2 * torch.randn(len(imgs), 784)",
    "D learns twice as often": "            optimizer_G.step() -> if i % 2: optimizer_G.step()",
    "a step for real images, another for generated ones": "loss = criterion(discriminator(imgs), ones) + -> "
    "criterion(discriminator(imgs), ones).backward(); optimizer_D.step(); optimizer_D.zero_grad(); loss =",
    "D is frozen while G learns": "optimizer_G.zero_grad() -> optimizer_G.zero_grad(); discriminator.requires_grad_(False) && "
    "optimizer_D.zero_grad() -> optimizer_D.zero_grad(); discriminator.requires_grad_(True)",
    "no function around the loop": "def train(dataloader, discriminator, generator, optimizer_G, optimizer_D): -> "
    "if __name__ == '__main__' and True:",
    "labels that flip now and then": "discriminator(imgs), ones -> discriminator(imgs), zeros if i == 1 else ones && "
    "fake.detach()), zeros -> fake.detach()), ones if i == 1 else zeros",
    "G rests in the first round": "criterion(discriminator(fake), ones).backward() -> "
    "i and criterion(discriminator(fake), ones).backward()",
    "a function for each network": "optimizer_G.zero_grad() -> pass && optimizer_G.step() -> pass && optimizer_D.zero_grad() -> pass"
    " && optimizer_D.step() -> pass && loss.backward() -> learn_D(optimizer_D, loss) && "
    "criterion(discriminator(fake), ones).backward() -> learn_G(optimizer_G, criterion(discriminator(fake), ones)) && "
    "def train(dataloader -> def learn_D(opt, loss):\n    opt.zero_grad(); loss.backward(); opt.step()\n\n"
    "def learn_G(opt, loss):\n    opt.zero_grad(); loss.backward(); opt.step()\n\ndef train(dataloader",
    "loss.data[0] of torch 0.3": "optimizer_D.step() -> optimizer_D.step(); print(loss.data[0])",
    "G samples noise of its own": "return self.layers(z) -> return self.layers(z + 0.1 * torch.randn(z.shape))",
    "least squares": "nn.BCELoss() -> nn.MSELoss() && nn.Sigmoid() -> nn.Identity()",
    "Wasserstein": f"{WASSERSTEIN} && nn.Sigmoid() -> nn.Identity()",
    "hinge": "loss = criterion(discriminator(imgs), ones) + criterion(discriminator(fake.detach()), zeros) -> loss = "
    "(torch.relu(1 - discriminator(imgs)) + torch.relu(1 + discriminator(fake.detach()))).mean() && nn.Sigmoid() -> nn.Identity()"
    " && criterion(discriminator(fake), ones) -> (-discriminator(fake).mean())",
    "networks of the loop itself": "train(dataloader, discriminator, generator, optimizer_G, optimizer_D): -> "
    "train():\n    generator, discriminator = Generator(), Discriminator()\n    optimizer_G, optimizer_D = "
    "(torch.optim.Adam(each.parameters(), lr=2e-4) for each in (generator, discriminator))",
}
WRONG_GANS = {
    "the fake images are used again after the step of G, without detach": "fake.detach() -> fake && ones).backward() -> "
    "ones).backward(retain_graph=True)",
    "the labels have the shape [N], the answers of D [N, 1]": "torch.ones(len(imgs), 1) -> torch.ones(len(imgs))",
    "a label is above 1": "discriminator(imgs), ones -> discriminator(imgs), 1.2 * ones",
    "there is a sigmoid at the end of D, and another in the loss": "nn.BCELoss() -> nn.BCEWithLogitsLoss()",
    "the result of a call that changes nothing by itself is dropped": "loss.backward() -> loss.clamp(max=1); loss.backward()",
    "the gradients of D from the loss of G are not cleared": "optimizer_D.zero_grad() -> pass && optimizer_D.step() -> "
    "optimizer_D.step(); optimizer_D.zero_grad()",
    "the gradients are never cleared": "optimizer_D.zero_grad() -> pass && optimizer_G.zero_grad() -> pass",
    "the labels are exchanged": "discriminator(imgs), ones -> discriminator(imgs), zeros && fake.detach()), zeros -> "
    "fake.detach()), ones",
    "the loss has the wrong sign": "loss.backward() -> (-loss).backward()",
    "the loss of D wants the same answer for real and for generated images": "fake.detach()), zeros -> fake.detach()), ones",
    "the generated images are missing": " + criterion(discriminator(fake.detach()), zeros) -> ",
    "the real images are missing": "criterion(discriminator(imgs), ones) + -> ",
    "G gets no gradient from its loss": "criterion(discriminator(fake), ones).backward() -> "
    "criterion(discriminator(fake.detach()), ones).backward()",
    "an optimizer has the parameters of the other network": "optimizer_G, optimizer_D): -> optimizer_G, optimizer_D):\n    "
    "optimizer_G = torch.optim.Adam(discriminator.parameters())",
    "there is a sigmoid at the end of D, and a loss of a critic": WASSERSTEIN,
    "the points of the gradient penalty are not between real and generated images": f"{PENALTY} && torch.rand(1) -> 2",
    "G learns with other noise than D": "criterion(discriminator(fake), ones) -> "
    "criterion(discriminator(generator(torch.rand(len(imgs), args.latent_dim))), ones)",
    "BatchNorm is in evaluation mode": "optimizer_D.step() -> optimizer_D.step(); generator.eval()",
}
LOOPS = {
    "zero_grad backward clip step": "",
    "zero_grad backward step clip": "the gradient is not clipped before the update",
    "backward clip step": "the gradients are not cleared",
    "backward zero_grad step": "the gradients are cleared before the step",
    "clip backward step zero_grad": "the gradient is not clipped before the update",
}
"""The parts of an update in the order of a loop, and the mistake."""
CELL = """
import torch
from torch import nn

class LSTM(nn.Module):
    def __init__(self, input_dim, hidden_dim, output_dim):
        super().__init__()
        for gate in 'figo':
            setattr(self, f'{gate}_gate', nn.Linear(input_dim + hidden_dim, hidden_dim))
        self.out = nn.Linear(hidden_dim, output_dim)

    def forward(self, x, prev_hidden, prev_cell):
        both = torch.cat((x, prev_hidden), 1)
        f, i, o = (torch.sigmoid(gate(both)) for gate in (self.f_gate, self.i_gate, self.o_gate))
        cell = f * prev_cell + i * torch.tanh(self.g_gate(both))
        hidden = o * torch.tanh(cell)
        return self.out(hidden), hidden, cell
"""
RIGHT_CELLS = {
    "an output and the state": "",
    "a module of a package that is not there": "import torch\nfrom torch import nn -> from . import tools\nfrom .sizes import SIZE\n"
    "import torch\nfrom torch import nn",
    "the state as a pair": "x, prev_hidden, prev_cell) -> x, state) && both = -> prev_hidden, prev_cell = state; both = "
    "&& return self.out(hidden), hidden, cell -> return hidden, (hidden, cell)",
    "layers of each gate, in a list": "setattr(self, f'{gate}_gate', nn.Linear(input_dim + hidden_dim, hidden_dim)) -> setattr(self, "
    "f'part{len(self._modules)}', nn.ModuleList([nn.Linear(n, hidden_dim) for n in (input_dim, hidden_dim)])) && "
    "both = torch.cat((x, prev_hidden), 1) -> a, b, c, d = (m[0](x) + m[1](prev_hidden) for m in list(self.children())[:4]) && "
    "(torch.sigmoid(gate(both)) for gate in (self.f_gate, self.i_gate, self.o_gate)) -> map(torch.sigmoid, (a, b, d)) && "
    "torch.tanh(self.g_gate(both)) -> torch.tanh(c)",
    "an input size of another name": "input_dim, hidden_dim, output_dim -> vocab_size, hidden_dim && super().__init__() -> "
    "super().__init__(); input_dim = vocab_size && self.out = nn.Linear(hidden_dim, output_dim) -> pass "
    "&& self.out(hidden), hidden, cell -> hidden, cell",
    "an optional pair": "class LSTM -> class LSTMCell && x, prev_hidden, prev_cell) -> x, hx=None) && both = -> prev_hidden, "
    "prev_cell = hx; both = && return self.out(hidden), hidden, cell -> return hidden, cell",
    "a pair and a mask": "x, prev_hidden, prev_cell) -> x, hx, mask=None) && both = -> prev_hidden, prev_cell = hx; both =",
    "c before h": "prev_hidden, prev_cell) -> c, prev_hidden) && prev_cell + -> c + && hidden, cell -> cell, hidden",
}

AROUND = """
import torch
from torch import nn

class Memory(nn.Module):
    def __init__(self, input_size, hidden_size, forget_bias=0):
        super().__init__()
        self.forget_bias = forget_bias
        self.gates = nn.Linear(input_size + hidden_size, 4 * hidden_size)

    def forward(self, x, state):
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f + self.forget_bias) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.cells = nn.ModuleList([Memory(4, 5), Memory(5, 5)])
        self.norm, self.out = nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, words):
        states = [(torch.zeros(len(words), 5), torch.zeros(len(words), 5)) for _ in self.cells]
        for word in words.T:
            x = self.words(word)
            for index, cell in enumerate(self.cells):
                states[index] = cell(x, states[index])
                x = states[index][0]
        return self.out(self.norm(x))

model = Tagger()
optimizer = torch.optim.Adam(model.parameters())
for _ in range(9):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.randint(0, 9, (7, 6))), torch.randint(0, 3, (7,))).backward()
    optimizer.step()
"""
"""A network of two layers with an embedding and a norm, around a cell whose name says nothing."""
FUNCTIONS = """
import torch
from torch.nn import functional as F

def make(*shape):
    return torch.randn(*shape).mul_(0.3).requires_grad_()

layers = [[(make(n, 6), make(6, 6), make(6)) for _ in range(4)] for n in (4, 6)]
words, out = make(9, 4), make(6, 9)
parameters = [words, out, *(each for layer in layers for gate in layer for each in gate)]

def gate(x, h, W, U, b):
    return x @ W + h @ U + b

def step(x, h, c, layer):
    keep, write, new, show = [gate(x, h, *each) for each in layer]
    c = torch.sigmoid(keep) * c + torch.sigmoid(write) * torch.tanh(new)
    h = torch.sigmoid(show) * torch.tanh(c)
    return h, c

def read(text):
    states = [(torch.zeros(text.shape[1], 6), torch.zeros(text.shape[1], 6)) for _ in layers]
    for x in words[text]:
        for index, layer in enumerate(layers):
            x, c = step(x, *states[index], layer)
            states[index] = x, c
        yield x @ out

optimizer = torch.optim.SGD(parameters, lr=0.1)
for _ in range(3):
    text = torch.randint(0, 9, (7, 5))
    optimizer.zero_grad()
    F.cross_entropy(torch.stack([*read(text)]).flatten(0, 1), text.flatten()).backward()
    optimizer.step()
"""
"""Two layers without a class, whose weights have no names."""
FUNCTION_EDITS = {
    "the state is reset at every step": "*states[index], layer -> torch.zeros(5, 6), torch.zeros(5, 6), layer",
    "c is not carried but reset at every step": "*states[index], layer -> states[index][0], torch.zeros(5, 6), layer",
    "h is not carried but reset at every step": "*states[index], layer -> torch.zeros(5, 6), states[index][1], layer",
    "no gradient flows back from step to step": "= x, c\n -> = x.detach(), c.detach()\n",
    "no gradient flows back through c": "= x, c\n -> = x, c.detach()\n",
    "two gates have a weight in common": "for each in layer] -> for each in (layer[1], *layer[1:])]",
    "the layers share one state": "states[index] = x, c\n -> states = [(x, c)] * 2\n",
    "tanh(c) is missing in the hidden state": "torch.tanh(c) -> c",
    "the cell candidate has a sigmoid": "torch.tanh(new) -> torch.sigmoid(new)",
    "the cell candidate has a relu": "torch.tanh(new) -> torch.relu(new)",
}
"""Edits of FUNCTIONS by the mistake that they make."""
CONDITIONAL_GAN = """
import torch
from torch import nn, optim
from torchvision import datasets, transforms

class Net(nn.Module):
    def __init__(self, sizes, last):
        super().__init__()
        self.embedding = nn.Embedding(10, 5)
        self.layers = nn.Sequential(nn.Linear(sizes[0] + 5, sizes[1]), nn.ReLU(), nn.Linear(sizes[1], sizes[2]), last)

    def forward(self, x, labels):
        return self.layers(torch.cat((x, self.embedding(labels)), 1))

data = datasets.MNIST('data', transform=transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]))
size = data.train_data.size(1) * data.train_data.size(2)
painter, critic = Net((12, 32, size), nn.Tanh()), Net((size, 32, 1), nn.Identity())
paint, judge = optim.RMSprop(painter.parameters(), 5e-5), optim.RMSprop(critic.parameters(), 5e-5)
for images, labels in torch.utils.data.DataLoader(data, 16):
    images = images.view(-1, size)
    for _ in range(5):
        fake = painter(torch.randn(len(images), 12), labels)
        loss = critic(fake.detach(), labels).mean() - critic(images, labels).mean()
        judge.zero_grad()
        loss.backward()
        judge.step()
        for weight in critic.parameters():
            weight.data.clamp_(-0.01, 0.01)
    paint.zero_grad()
    loss = -critic(painter(torch.randn(len(images), 12), labels), labels).mean()
    loss.backward()
    paint.step()
"""
CONDITIONAL_MISTAKES = {
    "": "",
    "loss = -critic(painter(torch.randn(len(images), 12), labels), labels) -> loss = -critic(fake.detach(), labels)": (
        "G gets no gradient from its loss"
    ),
    "loss = -critic(painter( -> loss = critic(painter(": "the loss has the wrong sign",
    "transforms.Normalize((0.5,), (0.5,)) -> transforms.Normalize((0.1307,), (0.3081,))": "G cannot reach all pixels of the data",
}
"""Edits of this GAN, whose networks share a class, and the mistake."""
LIGHTNING_GAN = """
import torch
import pytorch_lightning as pl
from torch import nn
from torch.nn import functional as F
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

class GAN(pl.LightningModule):
    def __init__(self, latent=12, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.generator = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 784), nn.Sigmoid())
        self.discriminator = nn.Sequential(nn.Linear(784, 32), nn.LeakyReLU(), nn.Linear(32, 1))

    def training_step(self, batch, batch_idx, optimizer_idx):
        real = batch[0].flatten(1)
        fake = self.discriminator(self.generator(torch.randn(len(real), self.hparams.latent)))
        if optimizer_idx == 0:
            return F.softplus(-fake).mean()
        return F.softplus(fake).mean() + F.softplus(-self.discriminator(real)).mean()

    def configure_optimizers(self):
        return [torch.optim.Adam(each.parameters(), self.hparams.lr) for each in (self.generator, self.discriminator)]

pl.Trainer(max_epochs=3).fit(GAN(), torch.utils.data.DataLoader(MNIST('.', transform=ToTensor()), 32))
"""
