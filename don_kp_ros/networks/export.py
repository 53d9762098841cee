"""The descriptor network of a model as ONNX, checked against torch.

The graph takes `image` (1, 3, H, W), float32 RGB in 0 to 255, and gives `descriptors` (1, D,
H/stride, W/stride) of unit length; where the size is fixed and the model has keypoints, also
`keypoints` (1, N, 3): pixels u and v of the image, and the standard deviation of each one's
probability, pixels. The graph normalises colours. The user resizes the picture so that its longer
side is the model's input size. The file's metadata are strings:

    format_version   of the checkpoint
    fingerprint      of the checkpoint: which descriptors may be compared
    input_size       pixels of the longer side that the network was trained at
    side_multiple    sides that are multiples of it have cells without a remainder
    match_threshold  cosine similarity below which a peak is no match
    command          that trained the model, where its card tells
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from don_kp_ros.networks.checkpoint import FORMAT_VERSION, Checkpoint
from don_kp_ros.networks.model import normalise
from don_kp_ros.outputs import check_writable, replacing

TOLERANCES = {
    'descriptors': 1e-4,  # of a component of a unit descriptor
    'keypoints': 0.01,  # pixels
}
_OPSET = 17  # of ONNX 1.12 (2022), so that older runtimes on robots read it too
_DYNAMIC_AXES = {
    'image': {2: 'height', 3: 'width'},
    'descriptors': {2: 'rows', 3: 'columns'},
}
_ENDING = '.onnx'


class ExportError(Exception):
    """A model cannot be exported; the message names the file, the reason and the remedy."""


def export_onnx(
    checkpoint: Checkpoint,
    path: Path,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> dict[str, float]:
    """Write a checkpoint's network as ONNX; return its largest differences from torch, by output.

    size: (H, W) of the images, pixels; None for a graph of any size, which leaves keypoints out.
    The differences are those of components of unit descriptors, and of keypoints in pixels, ONNX
    Runtime against torch in float32 on random images. A reader sees the old file or the whole new
    one, and nothing is written before the graph has passed. Raises ExportError for a size with
    sides that are not multiples of the coarsest stride, a file that exists, a missing package, and
    a graph that is invalid or differs by more than TOLERANCES.
    """
    _check_path(path, overwrite)
    _packages()
    multiple = checkpoint.network.coarsest_stride
    if size is not None and not all(side >= multiple and side % multiple == 0 for side in size):
        raise ExportError(
            f'{path}: not written, since height and width are {size[0]} and {size[1]}; '
            f'this network needs positive multiples of {multiple}'
        )
    graph = _graph(checkpoint, path, size)
    sizes = _example_sizes(checkpoint) if size is None else [size]
    differences = _largest_differences(checkpoint, graph, sizes)
    for name, difference in differences.items():
        if not difference <= TOLERANCES[name]:  # nor where it is not a number
            raise ExportError(
                f'{path}: not written, since ONNX Runtime differs from torch by {difference:.1e} '
                f'in {name} (allowed is {TOLERANCES[name]:.0e}); check the model with '
                '`don_kp match`, and the versions of onnx and onnxruntime with '
                'requirements/export.txt'
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(graph)
    return differences


class _ImageNetwork(nn.Module):
    """The network preceded by its normalisation of colours, as in the graph."""

    def __init__(self, checkpoint: Checkpoint, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.network = checkpoint.build()
        self.preprocessing = checkpoint.preprocessing
        self.outputs = ['descriptors']
        if size is not None and checkpoint.network.keypoints is not None:
            self.outputs.append('keypoints')

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        images = normalise(image, self.preprocessing)
        identity = self.network.identity(self.network.features(images))
        descriptors = self.network.descriptors(identity)
        if 'keypoints' not in self.outputs:
            return (descriptors,)
        found = self.network.locate(identity, (image.shape[2], image.shape[3]))
        return descriptors, torch.cat([found.uv, found.variance.sqrt()[..., None]], dim=2)


def _graph(checkpoint: Checkpoint, path: Path, size: tuple[int, int] | None) -> bytes:
    """Build the ONNX file of a network. Batch norms are folded by the exporter."""
    onnx, _ = _packages()
    example = torch.zeros(1, 3, *(size or _example_sizes(checkpoint)[0]))
    network = _ImageNetwork(checkpoint, size).eval()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter that replaces this one needs onnxscript, and writes the paths of the
        # machine's sources into the file.
        warnings.simplefilter('ignore', DeprecationWarning)
        warnings.filterwarnings('ignore', 'Constant folding', UserWarning)
        file = Path(folder) / 'graph.onnx'
        torch.onnx.export(
            network,
            (example,),
            file,
            dynamo=False,
            input_names=['image'],
            output_names=network.outputs,
            dynamic_axes=_DYNAMIC_AXES if size is None else None,
            opset_version=_OPSET,
        )
        model = onnx.load(file)
    model.doc_string = (
        'image: RGB, 0 to 255. descriptors: cell (i, j) of (h, w) describes pixel '
        'u = (j + .5) W / w - .5, v = (i + .5) H / h - .5. keypoints: u, v and the standard '
        'deviation of each one, pixels of the image.'
    )
    shape = model.graph.output[0].type.tensor_type.shape
    shape.dim[0].dim_value, shape.dim[1].dim_value = 1, checkpoint.network.dimension
    onnx.helper.set_model_props(model, _metadata(checkpoint))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f'{path}: not written, since the graph is invalid ({error}); check the versions of '
            'torch and onnx with requirements/export.txt'
        ) from error
    graph: bytes = model.SerializeToString()
    return graph


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    metadata = {
        'format_version': str(FORMAT_VERSION),
        'fingerprint': checkpoint.fingerprint,
        'input_size': str(checkpoint.preprocessing.input_size),
        'side_multiple': str(checkpoint.network.coarsest_stride),
        'match_threshold': str(checkpoint.match_threshold),
    }
    if 'command' in checkpoint.card:
        metadata['command'] = str(checkpoint.card['command'])
    return metadata


def _largest_differences(
    checkpoint: Checkpoint, graph: bytes, sizes: list[tuple[int, int]]
) -> dict[str, float]:
    """Compare a graph's outputs with torch's for random images of sizes (H, W)."""
    _, onnxruntime = _packages()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph, options, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    # Built again, so that it has no changes by the exporter.
    network = _ImageNetwork(checkpoint, sizes[0] if 'keypoints' in names else None).eval()
    generator = torch.Generator().manual_seed(0)
    largest = torch.zeros(len(names))
    for size in sizes:
        image = torch.randint(0, 256, (1, 3, *size), generator=generator).float()
        found = session.run(names, {'image': image.numpy()})
        with torch.inference_mode():
            differences = [
                (torch.from_numpy(ours) - theirs).abs().max()
                for ours, theirs in zip(found, network(image), strict=True)
            ]
            largest = torch.maximum(largest, torch.stack(differences))  # keeps NaN
    return dict(zip(names, largest.tolist(), strict=True))


def longer_side(checkpoint: Checkpoint) -> int:
    """Return the longer side that pictures are resized to (networks.model.resize), pixels."""
    multiple = checkpoint.network.coarsest_stride
    return max(multiple, round(checkpoint.preprocessing.input_size / multiple) * multiple)


def _example_sizes(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Return the sizes at which a graph of any size is checked; it is traced at the first."""
    multiple, longer = checkpoint.network.coarsest_stride, longer_side(checkpoint)
    shorter = max(multiple, round(longer * 3 / 4 / multiple) * multiple)
    return [(shorter, longer), (3 * multiple, 2 * multiple)]


def _check_path(path: Path, overwrite: bool) -> None:
    if path.suffix != _ENDING:
        raise ExportError(f"{path}: does not end with '{_ENDING}'; give a path that does")
    if path.is_file() and not overwrite:
        raise ExportError(f'{path}: exists; --overwrite replaces it')
    check_writable(path)


def _packages() -> tuple[Any, Any]:
    """Import onnx and onnxruntime; only the export needs them, so they may be missing."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            f'the package {error.name} is missing ({error}); it comes with the extra '
            "'export': pip install '.[export]' in the checkout"
        ) from error
    return onnx, onnxruntime
