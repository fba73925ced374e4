"""Train the embedded digits model: ``python -m bytemlperf.model_zoo.train_digits OUT.safetensors``.

Seeded; a few seconds on one core. Only the training part of the data is seen; a little noise
keeps the network from learning images by heart.
"""

from __future__ import annotations

import sys
from pathlib import Path

import safetensors.torch
import torch
from bytemlperf.model_zoo.digits import torch_module

from bytemlperf.datasets.digits import split

EPOCHS = 40
BATCH = 64
NOISE = 0.1


def main(out: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    (images, labels), (test_images, test_labels) = (
        (torch.from_numpy(x), torch.from_numpy(y)) for x, y in split()
    )
    model = torch_module()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            noisy = images[batch] + NOISE * torch.randn_like(images[batch])
            loss = torch.nn.functional.cross_entropy(model(noisy), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    with torch.inference_mode():
        hits = (model(test_images).argmax(1) == test_labels).float().mean().item()
    print(f"held-out accuracy {hits:.4f} on {len(test_labels)} images")
    safetensors.torch.save_file(model.state_dict(), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
