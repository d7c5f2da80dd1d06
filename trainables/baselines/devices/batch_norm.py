"""Batch normalisation over the rows of all processes, with the statistics of one device that has the whole batch.

Works on any device and backend, unlike ``torch.nn.SyncBatchNorm``, which needs GPUs.
"""

from typing import Any

import torch
from torch import Tensor, nn

from trainables.baselines.devices.group import Group

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Replaces a batch normalisation and takes over its parameters and buffers.  Inputs: (B, C, ...)."""

    def __init__(self, replaced: nn.modules.batchnorm._BatchNorm, group: Group) -> None:
        super().__init__(
            replaced.num_features,
            replaced.eps,
            replaced.momentum,
            affine=replaced.affine,
            track_running_stats=replaced.track_running_stats,
        )
        self._parameters, self._buffers = replaced._parameters, replaced._buffers
        self._group = group

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise; only the leader calls this in evaluation, every process in training."""
        if not self.training:
            return super().forward(inputs)
        mean, variance, count = self._statistics(inputs)
        if self.running_mean is not None:
            self._update_running(mean, variance * (count / (count - 1)))
        return _Normalized.apply(
            inputs, self.weight, self.bias, mean, (variance + self.eps).rsqrt(), count, self._group
        )

    @torch.no_grad()
    def _statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor, int]:
        """Compute each channel's mean, (biased) variance and number of values over all processes (Chan et al. 1983)."""
        group, dims = self._group, _all_but_channels(inputs)
        values_per_row = inputs[0, 0].numel()
        count = sum(group.rows) * values_per_row
        if count == 1:
            raise ValueError(f"batch normalisation: 1 value per channel in a batch of shape {tuple(inputs.shape)}")
        moments = torch.zeros(group.size, 2, inputs.shape[1], dtype=_precise(inputs), device=inputs.device)
        if group.has_rows:
            variance, mean = torch.var_mean(inputs.to(moments.dtype), dims, correction=0)
            moments[group.rank] = torch.stack([mean, variance])
        means, variances = group.total(moments).unbind(1)
        shares = torch.tensor(group.rows, dtype=moments.dtype, device=moments.device).div(sum(group.rows)).unsqueeze(1)
        mean = (shares * means).sum(0)
        return mean, (shares * (variances + (means - mean).square())).sum(0), count

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, as torch does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any input: the replaced module did."""


class _Normalized(torch.autograd.Function):
    """``(x - mean) / deviation * weight + bias``, where the statistics depend on every row of every process."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inverse_deviation: Tensor,
        count: int,
        group: Group,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, mean, inverse_deviation)
        ctx.count, ctx.group = count, group
        scale = inverse_deviation if weight is None else inverse_deviation * weight
        output = (inputs.to(mean.dtype) - _channels(mean, inputs)) * _channels(scale, inputs)
        if bias is not None:
            output = output + _channels(bias, inputs)
        return output.to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        inputs, weight, mean, inverse_deviation = ctx.saved_tensors
        dims = _all_but_channels(inputs)
        precise = gradient.to(mean.dtype)
        normal = (inputs.to(mean.dtype) - _channels(mean, inputs)) * _channels(inverse_deviation, inputs)
        to_bias, to_weight = precise.sum(dims), (precise * normal).sum(dims)
        mean_gradient, mean_product = ctx.group.total(torch.stack([to_bias, to_weight])).div(ctx.count).unbind()
        to_inputs = None
        if ctx.needs_input_grad[0]:
            scale = inverse_deviation if weight is None else inverse_deviation * weight
            centered = precise - _channels(mean_gradient, inputs) - normal * _channels(mean_product, inputs)
            # The placeholder row of a process without rows is in no statistics.
            to_inputs = (centered * _channels(scale, inputs) * float(ctx.group.has_rows)).to(inputs.dtype)
        affine = (None, None) if weight is None else (to_weight.to(weight.dtype), to_bias.to(weight.dtype))
        return (to_inputs, *affine, None, None, None, None)


def with_global_batch_norm(network: nn.Module, group: Group, *, compiled: bool) -> nn.Module:
    """Replace every batch normalisation in the network, in place, and return the network.

    :param compiled: keep the replacements out of ``torch.compile``'s graphs, which cannot hold communication.
    """
    if isinstance(network, KINDS):
        replaced = GlobalBatchNorm(network, group)
        if compiled:
            replaced.forward = torch.compiler.disable(replaced.forward)  # type: ignore[method-assign]
        return replaced
    for name, child in network.named_children():
        setattr(network, name, with_global_batch_norm(child, group, compiled=compiled))
    return network


def _precise(inputs: Tensor) -> torch.dtype:
    return torch.promote_types(inputs.dtype, torch.float32)


def _all_but_channels(inputs: Tensor) -> list[int]:
    return [axis for axis in range(inputs.dim()) if axis != 1]


def _channels(values: Tensor, inputs: Tensor) -> Tensor:
    """Reshape (C,) to (1, C, 1, ...)."""
    return values.view(1, -1, *[1] * (inputs.dim() - 2))
