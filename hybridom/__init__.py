"""HybridOM: a differentiable numerical ocean corrected by neural networks."""

__version__ = "0.1.0"
