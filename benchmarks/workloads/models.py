"""Whole models, in torch's API, which sley shares."""

from __future__ import annotations

from typing import Any

from ..workload import Library


def mlp(library: Library, tiny: bool) -> Any:
    """Images of 28x28 as rows to 10 classes."""
    nn = library.module.nn
    a, b = (8, 6) if tiny else (512, 256)
    return nn.Sequential(nn.Linear(784, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 10))


def cnn(library: Library, tiny: bool) -> Any:
    """Images of 1x28x28 to 10 classes."""
    nn = library.module.nn
    a, b = (3, 4) if tiny else (32, 64)
    return nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(b * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def resnet18(library: Library, tiny: bool) -> Any:
    """Images of three channels to 1000 classes; with `tiny` narrow, and one block a stage."""
    nn, F = library.module.nn, library.functional
    widths, blocks = ((4, 6), 1) if tiny else ((64, 128, 256, 512), 2)

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.shortcut = None
            if stride != 1 or inputs != width:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
                )

        def forward(self, x: Any) -> Any:
            h = F.relu(self.norm1(self.conv1(x)))
            h = self.norm2(self.conv2(h))
            return F.relu(h + (x if self.shortcut is None else self.shortcut(x)))

    stem, classes = widths[0], 10 if tiny else 1000
    layers = [
        nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(stem), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inputs = stem
    for stage, width in enumerate(widths):
        for k in range(blocks):
            layers.append(Block(inputs, width, 2 if stage > 0 and k == 0 else 1))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def lstm(library: Library, tiny: bool) -> Any:
    """Sequences of vectors to 10 classes: two layers, the last step into a linear layer."""
    nn = library.module.nn
    inputs, hidden = (6, 8) if tiny else (256, 512)

    class Classifier(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(inputs, hidden, num_layers=2, batch_first=True)
            self.head = nn.Linear(hidden, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Classifier()


def _transformer(
    library: Library, vocabulary: int, width: int, heads: int, layers: int, length: int,
    causal: bool,
) -> Any:  # fmt: skip
    """Token numbers to scores for each place. Causal: norms before the parts (GPT), else after
    them (BERT)."""
    nn, F = library.module.nn, library.functional
    approximate = "tanh" if causal else "none"

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def attention(self, x: Any) -> Any:
            batch, length, _ = x.shape
            parts = self.qkv(x).view(batch, length, 3, heads, width // heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            h = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            return self.out(h.transpose(1, 2).reshape(batch, length, width))

        def forward(self, x: Any) -> Any:
            if causal:
                x = x + self.attention(self.norm1(x))
                return x + self.down(F.gelu(self.up(self.norm2(x)), approximate=approximate))
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.down(F.gelu(self.up(x), approximate=approximate)))

    class Transformer(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            h = self.tokens(tokens) + self.places.weight
            return self.head(self.norm(self.blocks(h)))

    return Transformer()


def gpt(library: Library, tiny: bool) -> Any:
    sizes = (17, 8, 2, 1, 5) if tiny else (4096, 384, 6, 6, 512)
    return _transformer(library, *sizes, causal=True)


def bert(library: Library, tiny: bool) -> Any:
    sizes = (17, 8, 2, 1, 5) if tiny else (2048, 512, 8, 4, 128)
    return _transformer(library, *sizes, causal=False)


def unet(library: Library, tiny: bool) -> Any:
    """Images of three channels to scores of two classes for each pixel; two levels down."""
    nn, F = library.module.nn, library.functional
    width = 2 if tiny else 32

    def twice(inputs: int, outputs: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(),
        )  # fmt: skip

    class UNet(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down1 = twice(3, width)
            self.down2 = twice(width, 2 * width)
            self.middle = twice(2 * width, 4 * width)
            self.enlarge2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
            self.up2 = twice(4 * width, 2 * width)
            self.enlarge1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
            self.up1 = twice(2 * width, width)
            self.head = nn.Conv2d(width, 2, 1)

        def forward(self, x: Any) -> Any:
            a = self.down1(x)
            b = self.down2(F.max_pool2d(a, 2))
            h = self.middle(F.max_pool2d(b, 2))
            h = self.up2(library.module.cat([self.enlarge2(h), b], 1))
            return self.head(self.up1(library.module.cat([self.enlarge1(h), a], 1)))

    return UNet()
