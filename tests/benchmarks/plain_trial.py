"""One configuration as one would train it without a pipeline: plain torch, a process of its own, to the full horizon.

    echo '{"p": 113, ...}' | python tests/benchmarks/plain_trial.py

It reads its settings as JSON and prints, as JSON, the CPU seconds of its steps and of its measurements and the last
accuracies.  Nothing of the house is imported.
"""

import json
import sys
import time
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def data(p: int, train_fraction: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One-hot pairs and their sums mod p: inputs and labels for training, then for the test."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))]
    inputs = functional.one_hot(pairs, p).flatten(1).float()
    labels = pairs.sum(1) % p
    rows = int(train_fraction * len(pairs))
    return inputs[:rows], labels[:rows], inputs[rows:], labels[rows:]


@torch.no_grad()
def orthogonalise(parameters: list[Tensor]) -> None:
    """⊥Grad as its released code writes it."""
    for parameter in parameters:
        weights, gradient = parameter.view(-1), parameter.grad.view(-1)
        share = torch.dot(weights, gradient) / (torch.dot(weights, weights) + 1e-30)
        orthogonal = gradient - share * weights
        scale = gradient.norm(2) / (orthogonal.norm(2) + 1e-30)
        parameter.grad.copy_((orthogonal * scale).view_as(parameter.grad))


@torch.no_grad()
def measure(network: nn.Module, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, float]:
    """What a forward pass over each split tells: losses, accuracies, collapse, margins."""
    found = {}
    for split, (inputs, labels) in (("train", train), ("test", test)):
        logits = network(inputs)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        correct = logits.argmax(1) == labels
        found[f"{split}_loss"] = losses.double().mean().item()
        found[f"{split}_accuracy"] = correct.double().mean().item()
        if split == "test":
            break
        total = (logits - logits.max(1, keepdim=True).values).exp().sum(1)
        collapsed = total == 1
        found["sc_any_fraction"] = collapsed.double().mean().item()
        found["sc_true_fraction"] = (collapsed & correct).double().mean().item()
        found["sc_loss_fraction"] = collapsed.double().mean().item()
        found["zero_loss_fraction"] = (losses == 0).double().mean().item()
        others = logits.scatter(1, labels[:, None], -torch.inf).max(1).values
        margins = (logits.gather(1, labels[:, None])[:, 0] - others).double()
        for quantile in (0.1, 0.5, 0.9):
            found[f"margin_q{100 * quantile:.0f}"] = margins.quantile(quantile).item()
    return found


def flat(tensors: list[Tensor]) -> Tensor:
    """All of them as one vector of float64."""
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def train(settings: dict[str, Any]) -> dict[str, float]:
    """Train one configuration, with a measurement at each of its steps of measurement."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(settings["flush"])
    torch.manual_seed(settings["seed"])
    inputs, labels, test_inputs, test_labels = data(settings["p"], settings["train_fraction"], settings["seed"])
    layers: list[nn.Module] = []
    for width, following in pairwise((2 * settings["p"], *settings["hidden"], settings["p"])):
        layers += [nn.Linear(width, following, bias=False), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings["learning_rate"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )
    measured, curves = set(settings["measured_steps"]), []
    measuring_s, began = 0.0, time.process_time()
    for step in range(settings["horizon_steps"] + 1):
        if step in measured:
            start = time.process_time()
            curves.append({"step": step} | measure(network, (inputs, labels), (test_inputs, test_labels)))
            before = flat(parameters)
            measuring_s += time.process_time() - start
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()
        if step in measured:
            start = time.process_time()
            gradient = flat([parameter.grad for parameter in parameters])
            measuring_s += time.process_time() - start
        if settings["orthograd"]:
            orthogonalise(parameters)
        optimizer.step()
        if step in measured:
            start = time.process_time()
            update = flat(parameters) - before
            curves[-1] |= {
                "parameter_norm": before.norm().item(),
                "gradient_norm": gradient.norm().item(),
                "alignment_gradient": -functional.cosine_similarity(before, gradient, dim=0).item(),
                "alignment_update": functional.cosine_similarity(before, update, dim=0).item(),
            }
            measuring_s += time.process_time() - start
    training_s = time.process_time() - began - measuring_s
    last = curves[-1]
    return {"steps_s": training_s, "measuring_s": measuring_s, "measurements": len(curves)} | {
        name: last[name] for name in ("train_accuracy", "test_accuracy")
    }


if __name__ == "__main__":
    print(json.dumps(train(json.load(sys.stdin))))
