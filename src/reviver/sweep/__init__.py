"""Sweeps: many calls of functions, the trials, by the processes of this machine, by Ray or by Slurm."""
