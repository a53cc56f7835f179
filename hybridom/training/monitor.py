"""Norms of gradients and of updates, by component of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from hybridom.training.distributed import Ranks
from hybridom.training.sharding import local


class Monitor:
    """Watches the gradients and weights of a model's components.

    Args:
        parameters: All weights that are trained.
        components: Parts of the model by name, none sharing a weight with another.
        ranks: The processes.
        sharded: Whether each process holds but a part of every weight.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        components: Mapping[str, nn.Module],
        ranks: Ranks,
        sharded: bool,
    ) -> None:
        self.parameters, self.ranks, self.sharded = list(parameters), ranks, sharded
        place = {id(p): i for i, p in enumerate(self.parameters)}
        self.members = {
            name: torch.tensor([place[id(p)] for p in part.parameters()], device=ranks.device)
            for name, part in components.items()
        }

    def gradient_norms(self) -> Tensor:
        """Norm of the whole gradient and those of the components (1 + components,)."""
        # A weight that took no part in the loss has no gradient.
        return self._norms(
            [p.grad if p.grad is not None else p.new_zeros(()) for p in self.parameters]
        )

    @torch.no_grad()
    def update_ratios(self, update: Callable[[], object]) -> dict[str, float]:
        """|w_new - w_old| / |w_old| of each component.

        The old weights are copied for as long as the update runs. No activation is alive then, so
        that the copy lies below the peak of the step; to take the update from the optimiser's
        moments instead would need as much memory, and a second AdamW beside that of the library.

        Args:
            update: Changes the weights.
        """
        sizes = self._norms(self.parameters)
        weights = [local(p) for p in self.parameters]
        changes = [w.clone() for w in weights]
        update()
        torch._foreach_sub_(changes, weights)
        ratios = (self._norms(changes) / sizes)[1:].tolist()
        return dict(zip(self.members, ratios, strict=True))

    def _norms(self, tensors: Sequence[Tensor]) -> Tensor:
        norms = torch.stack(torch._foreach_norm([local(x.detach()) for x in tensors]))
        if self.sharded:
            norms = self.ranks.add(norms**2).sqrt()
        parts = [norms, *(norms[members] for members in self.members.values())]
        return torch.stack([torch.linalg.vector_norm(part) for part in parts])
