"""Correct GANs in two styles, and edits that make a mistake in the first."""

LINEAR = """
import torch
from math import prod
from torch import nn
from torch.nn import functional

class Generator(nn.Module):
    def __init__(self, latent_size, image_shape):
        super().__init__()
        self.image_shape = image_shape
        self.layers = nn.Sequential(
            nn.Linear(latent_size, 128), nn.LeakyReLU(0.2), nn.Linear(128, 256), nn.BatchNorm1d(256), nn.LeakyReLU(0.2),
            nn.Linear(256, prod(image_shape)), nn.Tanh())

    def forward(self, z):
        return self.layers(z).view(-1, *self.image_shape)

class Discriminator(nn.Module):
    def __init__(self, image_shape):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(prod(image_shape), 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))

    def forward(self, x):
        return self.layers(x)

def generator_loss(fake_logits):
    return functional.softplus(-fake_logits).mean()

def discriminator_loss(real_logits, fake_logits):
    real, fake = functional.softplus(-real_logits).mean(), functional.softplus(fake_logits).mean()
    return (real + fake) / 2

def gan_step(G, D, opt_G, opt_D, real, z):
    fake = G(z)
    g_loss = generator_loss(D(fake))
    d_loss = discriminator_loss(D(real), D(fake.detach()))
    opt_G.zero_grad()
    g_loss.backward()
    opt_D.zero_grad()
    d_loss.backward()
    opt_G.step()
    opt_D.step()
    return g_loss.item(), d_loss.item()

def interpolate(start, end, steps):
    t = torch.linspace(0, 1, steps + 2)[:, None]
    return (1 - t) * start + t * end
"""

CONVOLUTIONS = """
import torch
from torch import nn
import torch.nn.functional as F

class Generator(nn.Module):
    def __init__(self, latent_size, image_shape):
        super().__init__()
        self.first = nn.Linear(latent_size, 32 * 7 * 7)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, image_shape[0], 4, 2, 1))

    def forward(self, z):
        return torch.tanh(self.rest(self.first(z).view(-1, 32, 7, 7)))

class Discriminator(nn.Module):
    def __init__(self, image_shape):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(image_shape[0], 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2))
        self.last = nn.Linear(32 * 7 * 7, 1)

    def forward(self, x):
        return self.last(self.convolutions(x).flatten(1)).squeeze(1)

def generator_loss(fake_logits):
    return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))

def discriminator_loss(real_logits, fake_logits):
    logits = torch.cat([real_logits, fake_logits])
    return F.binary_cross_entropy_with_logits(logits, torch.cat([torch.ones_like(real_logits), torch.zeros_like(fake_logits)]))

def gan_step(G, D, opt_G, opt_D, real, z):
    bce, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(len(z)), torch.zeros(len(z))
    fake = G(z)
    opt_G.zero_grad()
    bce(D(fake), ones).backward()
    opt_G.step()
    opt_D.zero_grad()
    ((bce(D(real), ones) + bce(D(fake.detach()), zeros)) / 2).backward()
    opt_D.step()

def interpolate(start, end, steps):
    return torch.stack([torch.lerp(start, end, k / (steps + 1)) for k in range(steps + 2)])
"""

STYLES = {"linear": LINEAR, "convolutions": CONVOLUTIONS}
SOFTPLUS = "functional.softplus(-fake_logits).mean()"
SUM = "(real + fake) / 2"
TWO = "    g_loss = generator_loss(D(fake))\n    d_loss = discriminator_loss(D(real), D(fake.detach()))\n"
ALTERNATING = """    opt_D.zero_grad()
    discriminator_loss(D(real), D(fake.detach())).backward()
    opt_D.step()
    opt_G.zero_grad()
    generator_loss(D(fake)).backward()
    opt_G.step()
    return
"""
MISTAKES = {
    "generator": {
        "there is no tanh at the end of G": ", nn.Tanh()) -> )",
        "there is a sigmoid at the end of G, not tanh": "nn.Tanh() -> nn.Sigmoid()",
        "all noise gives the same image": "self.layers(z) -> self.layers(z)[:1].expand(len(z), -1).reshape(len(z), -1)",
    },
    "discriminator": {
        "there is a sigmoid at the end of D, and another in the loss": "self.layers(x) -> self.layers(x).sigmoid()",
    },
    "losses": {
        "the loss is the saturating one, log(1 - D(G(z)))": f"{SOFTPLUS} -> torch.log(1 - torch.sigmoid(fake_logits)).mean()",
        "the labels are exchanged": "softplus(-real -> softplus(real && softplus(fake -> softplus(-fake",
        "there are two sigmoids": "softplus(-fake_logits) -> softplus(-fake_logits.sigmoid())",
        "the loss has the wrong sign": f"{SUM} -> -{SUM}",
        "the loss is a sum over the batch": f"{SOFTPLUS} -> functional.softplus(-fake_logits).sum()",
        "the loss is computed from a rounded probability": f"{SOFTPLUS} -> -torch.log(torch.sigmoid(fake_logits)).mean()",
        "the factor ½ is missing": f"{SUM} -> real + fake",
        "the real images are missing": f"{SUM} -> fake / 2",
    },
    "gan_step": {
        "detach is missing: the loss of D reaches G": ".detach() -> ",
        "the gradients are never cleared": "opt_G.zero_grad() -> pass && opt_D.zero_grad() -> pass",
        "the gradients of D from the loss of G are not cleared": "opt_D.zero_grad() -> pass && opt_G.zero -> opt_D.zero_grad(); opt_G.zero",
        "an optimizer steps before the other gradient is there": "    opt_G.step() ->  && g_loss.backward() -> opt_D.zero_grad(); "
        "d_loss.backward(); opt_D.step(); g_loss.backward()",
        "G learns from the new D, with one noise for both": f"{TWO} -> {ALTERNATING}",
        "G is not updated": "    opt_G.step()\n -> ",
        "D is not updated": "    opt_D.step()\n -> ",
        "G gets no gradient from its loss": "generator_loss(D(fake)) -> generator_loss(D(fake.detach()))",
        "BatchNorm is in evaluation mode": "fake = G(z) -> G.eval(); fake = G(z)",
        "all images have one noise vector": "fake = G(z) -> fake = G(z[:1].repeat(len(z), 1))",
        "the step samples its own noise, not z": "fake = G(z) -> fake = G(torch.randn(z.shape))",
        "the labels are exchanged": "D(real), D(fake.detach()) -> D(fake.detach()), D(real) && generator_loss(D -> generator_loss(-D",
    },
    "interpolation": {
        "the ends are missing": "[:, None] -> [1:-1, None]",
        "steps counts the ends, too": "steps + 2 -> steps",
        "the ends are exchanged": "(1 - t) * start + t * end -> t * start + (1 - t) * end",
        "the start keeps its whole weight": "(1 - t) * start -> start",
    },
}
