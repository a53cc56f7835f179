"""The skeleton's day in few passes over memory: numba on CPUs, Triton on GPUs.

The equations are those of the plain form (`hybridom.physics`), which is the reference that these
kernels are tested against; `Skeleton` chooses between the two.
"""
