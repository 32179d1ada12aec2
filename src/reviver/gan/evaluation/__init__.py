"""Evaluation of generated images: feature extractors, metrics, scores, and monitoring during training."""
