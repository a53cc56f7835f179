"""Weights shared out between processes: FSDP2, and what it asks of whole tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from hybridom.training.distributed import Ranks


class Shards:
    """Networks of which every process holds a part of each weight, its average and its moments.

    A network is called on every day of a window. Its weights are gathered with the first call of an
    optimiser step and let go after the last backward pass, and its gradients travel once, when
    autograd has summed up those of all days: no more traffic than without shards. Between steps a
    process holds its share of all five copies (weight, gradient, average, two moments), within one
    it holds two of them whole. To gather each layer for each call would save one of the two, for
    as many times the traffic as there are days, forwards and backwards.

    Args:
        networks: The networks, on the device of `ranks`, with the same weights on all processes.
        ranks: The processes, more than one.
    """

    def __init__(self, networks: Iterable[nn.Module], ranks: Ranks) -> None:
        mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        self.networks: list[FSDPModule] = []
        for network in networks:
            # The hooks of sharded layers would cut compiled code into pieces.
            layers = () if network._compiled_call_impl is not None else _layers(network)
            for part in (*layers, network):
                fully_shard(part, mesh=mesh, reshard_after_forward=False)
            assert isinstance(network, FSDPModule)
            network.set_reshard_after_backward(False)
            self.networks.append(network)

    def exchange(self, now: bool) -> None:
        """Whether the next backward pass sums gradients over processes, or only keeps its own."""
        for network in self.networks:
            network.set_requires_gradient_sync(now)

    def gather(self) -> None:
        """Give every process the whole weights, until they are released; all have to call it."""
        for part in self._parts():
            part.unshard()

    def release(self) -> None:
        """Leave every process its own shard of the weights."""
        for part in self._parts():
            part.reshard()

    def _parts(self) -> Iterator[FSDPModule]:
        for network in self.networks:
            assert isinstance(network, nn.Module)
            yield from (x for x in network.modules() if isinstance(x, FSDPModule))


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The members of lists of layers, which a network calls one by one."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from (x for x in child if not isinstance(x, nn.ModuleList) and _learns(x))
            yield from _layers(child)


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def local(x: Tensor) -> Tensor:
    """The part of a tensor that this process holds, sharing its memory."""
    return x.to_local() if isinstance(x, DTensor) else x


def whole(x: Tensor) -> Tensor:
    """The whole of a tensor; where it is sharded, all processes have to ask for it."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def share_of(x: Tensor, like: Tensor) -> Tensor:
    """The part of the whole tensor `x` that this process holds of `like`."""
    if not isinstance(like, DTensor):
        return x
    # Every process has read the whole tensor: nothing needs to travel.
    return distribute_tensor(
        x.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
