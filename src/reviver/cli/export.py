"""`reviver export`: write a trained network for use elsewhere."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from reviver.cli import options
from reviver.errors import ConfigError
from reviver.settings.fields import Text


def export(
    run: Annotated[Text, Parameter(name="RUN", help="Run folder of a trained LSTM or GAN.")],
    /,
    *,
    format_: Annotated[Literal["onnx", "hub"], Parameter(name="--format")],
    out: Text | None = None,
    opset: int | None = None,
    license_: Annotated[Text | None, Parameter(name="--license")] = None,
    checkpoint: options.Checkpoint = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Export a trained network as an ONNX file or as a folder for the Hugging Face Hub.

    onnx: a file that runs without Python and torch, such as in ONNX Runtime.
      LSTM: x [batch, time, channels], lengths [batch] if they differ
            -> logits, probabilities [batch, classes]; raw numbers go in
      GAN:  z [batch, Z], of a conditional one also classes [batch]
            -> images [batch, C, H, W] in [-1, 1]
      Metadata name the classes, the standardization and the run.

    hub: a folder with config.json, model.safetensors and a model card
      (README.md) with results, data and limits. from_pretrained of
      LSTMClassifier and Generator read it, on disk or from the hub.

    Examples:
      reviver export runs/lstm --format onnx --out lstm.onnx
      reviver export runs/gan --format onnx --out generator.onnx --opset 18
      reviver export runs/lstm --format hub --out recall --checkpoint best
      reviver export runs/mine --format hub --out mine --license cc-by-4.0

    Args:
        format_: Format: onnx, a file; or hub, a folder.
        out: File or new folder to write; by default model.onnx, which is replaced if it exists, or model/.
        opset: Version of the ONNX operators; by default the smallest that has all of them, 13.
        license_: License in the model card, such as mit; by default that of the data: cc-by-sa-3.0 for MNIST, mit for
            generated sequences, unknown for your own data.
    """
    if opset is not None and format_ != "onnx":
        raise ConfigError("opset is only for the format onnx; leave it out", field="opset")
    if license_ is not None and format_ != "hub":
        raise ConfigError("license is only for the model card of the format hub; leave it out", field="license")

    from reviver.show.export.hub import to_hub
    from reviver.show.export.onnx import to_onnx
    from reviver.train.loading import load
    from reviver.train.lstm.run import LSTMRun

    path = Path(out or {"onnx": "model.onnx", "hub": "model"}[format_])
    loaded = load(run, checkpoint=checkpoint, device="cpu" if common.device == "auto" else common.device)
    used = loaded.checkpoint if isinstance(loaded, LSTMRun) else "last"
    result: dict[str, Any] = {"run": run, "checkpoint": used, "step": loaded.step, "format": format_, "out": str(path)}
    if format_ == "hub":
        files = [str(file) for file in to_hub(loaded, path, license_id=license_)]
        common.show({**result, "files": files}, *files)
        return
    exported = to_onnx(loaded, path, opset=opset)
    result |= {"opset": exported.opset, "bytes": exported.num_bytes}
    lines = [f"{path}: {exported.num_bytes} bytes, opset {exported.opset}"]
    for kind, ports in (("input", exported.inputs), ("output", exported.outputs)):
        result[f"{kind}s"] = [port._asdict() for port in ports]
        for port in ports:
            shape = ", ".join(map(str, port.shape))
            lines.append(f"  {kind:<6}  {port.name:<13} {port.dtype} [{shape}]  {port.description}")
    common.show(result, *lines)
