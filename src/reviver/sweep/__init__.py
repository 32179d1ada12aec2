"""Sweeps: many calls of functions, the cells, by the processes of this machine, by Ray or by Slurm."""
