"""A search for better settings of the GAN preset `best`: ideas in a prototype of the training step, screened in short runs.

    python -m benchmarks.gan_search.run [VARIANT ...] [--seeds N] [--jobs N]

- `prototype.py` is the training step with the ideas, and `run.py` names the variants and measures them.
- `second_extractor.py` is a feature extractor of another architecture, and `judge.py` scores with both extractors.
"""
