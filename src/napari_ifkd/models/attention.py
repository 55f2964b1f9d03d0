"""Criss-cross self-attention: every pixel looks along its row and its column, twice, and so at the whole image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CrissCrossAttention(nn.Module):
    """Two passes of criss-cross attention that share their weights (CCNet, arXiv 1811.11721).

    Parameters
    ----------
    channels : of the features
    reduction : queries and keys have ``channels / reduction`` channels (at least 1)
    passes : after two, every pixel has seen every other
    """

    def __init__(self, channels: int, reduction: int = 8, passes: int = 2) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))  # starts as the identity, so a pretrained trunk keeps its sense
        self.passes = passes

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``: x + gamma * (what the cross of each pixel says), ``passes`` times."""
        for _ in range(self.passes):
            query, key, value = self.query(x), self.key(x), self.value(x)
            if torch.is_grad_enabled() and query.requires_grad:
                # the weights take (H + W) numbers a pixel and pass: cheaper to compute twice than to keep
                seen = checkpoint(criss_cross, query, key, value, use_reentrant=False, preserve_rng_state=False)
            else:
                seen = criss_cross(query, key, value)
            x = x + self.gamma * seen
        return x


def criss_cross(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend along the row and the column of every pixel.

    The softmax runs over the H + W - 1 **keys** of a cross; the pixel itself counts once.

    Parameters
    ----------
    query, key : ``(B, D, H, W)``
    value : ``(B, C, H, W)``

    Returns
    -------
    Tensor, ``(B, C, H, W)``
    """
    height, width = query.shape[-2:]
    q, k, v = (t.permute(0, 2, 3, 1) for t in (query, key, value))  # (B, H, W, channels)
    q_down, k_down, v_down = (t.transpose(1, 2) for t in (q, k, v))  # (B, W, H, channels)
    along = q @ k.transpose(-1, -2)  # (B, H, W, W keys)
    down = q_down @ k_down.transpose(-1, -2)  # (B, W, H, H keys)
    itself = torch.eye(height, dtype=torch.bool, device=query.device)
    down = down.masked_fill(itself, float("-inf")).transpose(1, 2)  # (B, H, W, H keys)
    weights = torch.cat([along, down], dim=-1).softmax(dim=-1)  # (B, H, W, W + H keys)
    weights = weights.to(v.dtype)
    from_row = weights[..., :width] @ v  # (B, H, W, C)
    from_column = (weights[..., width:].transpose(1, 2) @ v_down).transpose(1, 2)
    return (from_row + from_column).permute(0, 3, 1, 2)
