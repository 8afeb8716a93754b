"""A character-level GPT on this repository's own text, and what it writes.

A decoder-only transformer with causal attention, as small as it can be and still learn to spell.
"""

from pathlib import Path

import sley
import sley.nn as nn
import sley.nn.functional as F
import sley.optim as optim

CONTEXT, WIDTH, HEADS, LAYERS = 48, 64, 4, 2
TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
CHARACTERS = sorted(set(TEXT))
NUMBER = {character: number for number, character in enumerate(CHARACTERS)}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def attention(self, x):
        batch, time, _ = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.project(y.transpose(1, 2).reshape(batch, time, WIDTH))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(len(CHARACTERS), WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(CHARACTERS))

    def forward(self, numbers):
        x = self.tokens(numbers) + self.places.weight[: numbers.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def train(compiled: bool, steps: int = 200, batch: int = 16):
    sley.manual_seed(0)
    model = GPT()
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    text = sley.tensor([NUMBER[character] for character in TEXT])
    losses = []
    for _ in range(steps):
        starts = sley.randint(0, len(text) - CONTEXT - 1, (batch, 1))
        places = starts + sley.arange(CONTEXT)
        losses.append(step(text[places], text[places + 1]).item())
    return model, losses


@sley.no_grad()
def sample(model, prompt: str, length: int, temperature: float = 0.7):
    """Write on, one character after the other, each drawn from what the model expects."""
    model.eval()
    numbers = [NUMBER[character] for character in prompt]
    for _ in range(length):
        scores = model(sley.tensor([numbers[-CONTEXT:]]))[0, -1]
        chances = (scores / temperature).softmax(0)
        numbers.append(sley.multinomial(chances, 1).item())
    return "".join(CHARACTERS[number] for number in numbers)


def main():
    model, losses = train(compiled=True)
    print(f"loss {losses[0]:.2f} -> {sum(losses[-20:]) / 20:.2f} over {len(CHARACTERS)} characters")
    print(sample(model, "A compiled ", 120))
    # Guessing gives log(characters), about 4.4; counting pairs of characters about 2.6.
    assert sum(losses[-20:]) / 20 < 2.6

    # Eager for the first steps: the same numbers, but for the order in which sums are taken.
    _, eager_losses = train(compiled=False, steps=5)
    assert sley.allclose(sley.tensor(losses[:5]), sley.tensor(eager_losses), rtol=1e-3)


if __name__ == "__main__":
    main()
