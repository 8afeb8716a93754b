"""Models of sequences: a transformer of several lengths, recurrent loops over time."""

import numpy as np
from model_training import check_training, labelled, usual_step

import sley
import sley.nn.functional as F
from sley import nn, optim

VOCABULARY, WIDTH, HEADS, LENGTH = 30, 16, 2, 12


class Attention(nn.Module):
    """Causal self-attention, written out."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", sley.tril(sley.ones(LENGTH, LENGTH)))

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (
            part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.qkv(x).split(WIDTH, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) / (WIDTH // HEADS) ** 0.5
        scores = scores.masked_fill(self.mask[:length, :length] == 0, float("-inf"))
        y = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous()
        return self.out(y.view(batch, length, WIDTH))


class Transformer(nn.Module):
    """One block; the embedding is the last weight too."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.attention = Attention()
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places(sley.arange(tokens.shape[1]))
        x = x + self.attention(self.norms[0](x))
        x = x + self.narrow(F.gelu(self.wide(self.norms[1](x))))
        return self.head(self.norms[2](x))


def test_transformer_of_several_batches_and_lengths():
    def make():
        model = Transformer()

        def next_token(model, x, y):
            flat = model(x).view(-1, VOCABULARY)
            return F.cross_entropy(flat, y.view(-1), ignore_index=-1)

        # Not Adam: the gradient of the keys' bias is rounding only, which Adam blows up.
        return usual_step(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), next_token)

    rng = np.random.default_rng(0)
    batches = []
    for batch, length in ((3, 12), (3, 7), (2, 7), (1, 3), (2, 1)):
        tokens = rng.integers(0, VOCABULARY, (batch, length + 1))
        targets = np.where(rng.random((batch, length)) < 0.2, -1, tokens[:, 1:])
        targets[0, 0] = 0
        batches.append((tokens[:, :-1].copy(), targets))
    # One for the first sizes, one where the length is a symbol, one where the batch is too.
    check_training(make, batches, programs=3, rtol=1e-3, atol=1e-4)


class Elman(nn.Module):
    def __init__(self):
        super().__init__()
        self.input, self.hidden, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        h = sley.zeros(x.shape[0], 8)
        for time in range(x.shape[1]):
            h = sley.tanh(self.input(x[:, time]) + self.hidden(h))
        return self.out(h)


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates, self.out = nn.Linear(6 + 8, 32), nn.Linear(8, 5)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 8)
        c, states = sley.zeros_like(h), []
        for now in x.unbind(1):
            i, f, g, o = self.gates(sley.cat([now, h], dim=-1)).chunk(4, dim=-1)
            c = sley.sigmoid(f) * c + sley.sigmoid(i) * sley.tanh(g)
            h = sley.sigmoid(o) * sley.tanh(c)
            states.append(h)
        return self.out(sley.stack(states, dim=1).mean(dim=1))


def recurrent_step(kind):
    def make():
        model = kind()
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        return usual_step(model, optimizer, lambda m, x, y: F.cross_entropy(m(x), y))

    return make


def test_elman_loop():
    check_training(recurrent_step(Elman), labelled((8, 3, 1, 5), (5, 6), 5), programs=2)


def test_lstm_loop():
    check_training(recurrent_step(LSTM), labelled((8, 3, 1, 5), (4, 6), 5), programs=2)
