"""Data-parallel training of one run by several processes that `torchrun` starts."""
