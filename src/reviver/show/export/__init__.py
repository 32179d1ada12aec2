"""Export of trained networks: ONNX graphs, and folders for the Hugging Face Hub with a model card."""

from reviver.show.export.hub import to_hub
from reviver.show.export.onnx import to_onnx

__all__ = ["to_hub", "to_onnx"]
