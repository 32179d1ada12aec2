"""Sweeps: many runs over the axes of a settings file, by the processes of this machine, by Ray or by Slurm."""
