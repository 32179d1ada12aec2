"""Evaluation of generated images: feature extractor, metrics, reference statistics, scores, training monitor."""
