"""`don_kp evaluate`: figures against arithmetic, a page that needs nothing else, named errors."""

import base64
import importlib
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from don_kp_ros.data.folder import Sample, write_samples
from don_kp_ros.evaluation import command, counting
from don_kp_ros.evaluation.pck import auc, pck
from don_kp_ros.evaluation.peers import PEERS
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration

WIDTH, HEIGHT = 160, 120
CENTRE = np.array([70, 60])
OFFSETS = np.arange(1, 26)  # pixels of the points from the middle of the object
METHODS = ['model', 'untrained', 'centroid', 'random pixel', 'dense SIFT', 'colour patches']
VOID = {'meta', 'img', 'br', 'hr', 'link', 'input'}
QUICK = ['--step=8', '--resamples=50', '--queries=25']


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save_model(path: Path, seed: int = 0) -> Checkpoint:
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=None)
    saved = Checkpoint(network, Preprocessing(input_size=96), {}, 0.0).untrained(seed)
    saved.save(path)
    return saved


def write_data(root: Path) -> Path:
    """Three pictures of noise with a square of 61 pixels, and two pairs of them."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[CENTRE[1] - 30 : CENTRE[1] + 31, CENTRE[0] - 30 : CENTRE[0] + 31] = 255
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        write_samples(root, [Sample(Path(f'{number}.png'), noise, mask)])
    uv = CENTRE + np.stack([OFFSETS, 0 * OFFSETS], axis=1)
    up = CENTRE - np.stack([0 * OFFSETS, OFFSETS], axis=1)
    save_truth(root, np.stack([uv, up]))
    return root


def save_truth(root: Path, uv: np.ndarray) -> None:
    index = np.arange(len(uv))
    uv = uv.astype(np.float32)
    np.savez(root / 'correspondences.npz', image_a=index, image_b=index + 1, uv_a=uv, uv_b=uv)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save_model(tmp_path / 'net.safetensors')
    write_data(tmp_path / 'data')
    return tmp_path


@pytest.fixture(scope='module')
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place whose folder was measured, for those who only look."""
    place = tmp_path_factory.mktemp('done')
    save_model(place / 'net.safetensors')
    write_data(place / 'data')
    assert run(place) == 0
    return place


def run(place: Path, *arguments: str, protocol: str = 'folder', output: str = 'out') -> int:
    options = ['--model', str(place / 'net.safetensors'), '--protocol', protocol]
    options += ['--output', str(place / output), *QUICK]
    return command.main([str(place / 'data'), *options, *arguments])


def results(place: Path, output: str = 'out') -> dict[str, Any]:
    content: dict[str, Any] = json.loads((place / output / 'results.json').read_text())
    return content


class Page(HTMLParser):
    """Checks that tags are balanced, and collects references, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.words = ''
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith('on')
            if name in ('src', 'href', 'xlink:href', 'srcset', 'data', 'action'):
                self.references.append(value or '')
            if name == 'id':
                self.ids.append(value or '')

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


class TestFigures:
    def test_the_constant_guess_scores_what_arithmetic_says(self, done: Path) -> None:
        summary = results(done)['summary']
        assert list(summary['methods']) == METHODS
        assert (summary['pairs'], summary['queries']) == (2, 50)
        centroid = summary['methods']['centroid']
        # A pixel of a picture of 160 counts as four of one of 640.
        within = [sum(4 * d < k for d in OFFSETS) / len(OFFSETS) for k in range(1, 101)]
        assert centroid['pck_curve'] == pytest.approx(within, abs=1e-4)
        assert centroid['auc'] == pytest.approx(sum(within) / 100, abs=1e-4)
        assert centroid['median_px'] == 4 * 13
        assert centroid['interval_95']['auc'] == [centroid['auc']] * 2  # both pairs are alike

    def test_the_random_guess_scores_what_counting_says(self, done: Path) -> None:
        found = results(done)['summary']['methods']['random pixel']
        pixels = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 2), axis=-1).reshape(-1, 2)
        errors = [4 * np.linalg.norm(pixels - [d, 0], axis=1) for d in OFFSETS]
        expected = np.concatenate(errors)
        assert found['auc'] == pytest.approx(auc(expected), abs=0.12)  # of 50 guesses
        assert found['pck_50'] == pytest.approx(pck(expected, 50), abs=0.12)
        assert found['mean_px'] == pytest.approx(expected.mean(), rel=0.25)

    def test_identical_pictures_are_matched_without_error(self, place: Path) -> None:
        (place / 'data/rgbs/1.png').write_bytes((place / 'data/rgbs/0.png').read_bytes())
        save_truth(place / 'data', (CENTRE + np.stack([OFFSETS, 0 * OFFSETS], axis=1))[None])
        assert run(place, '--step=1') == 0
        methods = results(place)['summary']['methods']
        assert methods['colour patches']['auc'] == methods['dense SIFT']['auc'] == 1
        assert methods['model']['second_peak']['queries'] == 16

    def test_equal_seeds_give_equal_results(self, place: Path) -> None:
        texts = []
        for output, seed in (('a', '1'), ('b', '1'), ('c', '2')):
            options = ['--pairs=3', f'--seed={seed}']
            assert run(place, *options, protocol='held_views', output=output) == 0
            content = results(place, output)
            assert set(content.pop('run')) == {'date', 'seconds', 'command', 'device'}
            texts.append(json.dumps(content))
        assert texts[0] == texts[1] != texts[2]

    def test_results_say_what_they_were_made_of(self, done: Path) -> None:
        content = results(done)
        assert content['model']['fingerprint'] == save_model(done / 'again').fingerprint
        assert content['model']['dimension'] == 8
        assert content['protocol']['kind'] == 'folder'
        assert content['protocol']['queries'] == 25
        assert set(content['versions']) == {'don_kp', 'python', 'torch', 'numpy', 'opencv'}

    def test_every_point_of_a_curve_is_measured(self, place: Path) -> None:
        options = ['--pairs=2', '--rotation=[0, 90]', '--scale=[1]', '--tilt=[]']
        assert run(place, *options, protocol='invariance') == 0
        content = results(place)
        rotation, scale = content['curves'].values()
        assert [point['value'] for point in rotation] == [0, 90]
        assert [point['value'] for point in scale] == [1]
        assert content['summary']['pairs'] == 6
        # Upright descriptors find what is upright, and not what is turned.
        upright, turned = (point['methods']['dense SIFT']['auc'] for point in rotation)
        assert upright > turned + 0.2
        page = Page((place / 'out/report.html').read_text())
        assert page.tags.count('svg') == 3


def test_the_default_folder_keeps_what_was_measured_of_others(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    write_data(place / 'others')
    (place / 'trained').mkdir()
    save_model(place / 'trained/net.safetensors', seed=1)

    def measure(model: str, data: str, *arguments: str) -> int:
        options = ['--model', model, '--protocol', 'folder', '--pairs=1', *QUICK]
        return command.main([data, *options, *arguments])

    assert measure('net.safetensors', 'data') == 0
    file = Path('output/evaluation/net-folder/results.json')
    before = file.read_bytes()
    for model, data in (('trained/net.safetensors', 'data'), ('net.safetensors', 'others')):
        assert measure(model, data) == 1
        assert f'{file}: holds other results' in (error := capsys.readouterr().err)
        assert '--output' in error
        assert file.read_bytes() == before
        assert measure(model, data, '--output', 'own') == 0
    assert measure('net.safetensors', 'data') == 0  # the same again
    file.write_text('{"model":')
    assert measure('net.safetensors', 'data') == 1
    assert f'{file}: holds other results' in capsys.readouterr().err


def test_peers_are_measured_or_said_to_be_missing(
    place: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', '140')
    for name in ('peers', 'evaluate'):
        module = importlib.import_module(f'don_kp_ros.evaluation.{name}')
        monkeypatch.setattr(module, 'absent', lambda: 'not measured: all is missing')
    assert run(place, '--peers=true', '--pairs=1', '--queries=4') == 0
    summary = results(place)['summary']
    features, others = PEERS[:2], PEERS[2:]
    assert list(summary['methods']) == [*METHODS, *features]
    assert list(summary['missing']) == list(others)
    output, page = capsys.readouterr().out, Page((place / 'out/report.html').read_text()).words
    assert output.count('│ not measured │') == len(others)
    assert output.count('all is missing') == 1
    for name in others:
        assert name in output and name in page
    assert page.count('all is missing') == len(others)


class TestReport:
    def test_it_is_balanced_and_needs_nothing_else(self, done: Path) -> None:
        text = (done / 'out/report.html').read_text()
        page = Page(text)
        assert all(r.startswith(('data:image/', '#')) for r in page.references)
        assert '@import' not in text and 'url(http' not in text
        assert not {'script', 'link', 'iframe', 'object'} & set(page.tags)
        assert page.tags.count('img') == 6
        assert len(page.ids) == len(set(page.ids))
        for name in METHODS:
            assert name in page.words
        for title in ('Best pair', 'Median pair', 'Worst pair', 'Best match', 'Worst match'):
            assert title in page.words

    def test_its_pictures_can_be_read(self, done: Path) -> None:
        page = Page((done / 'out/report.html').read_text())
        for reference in page.references:
            if reference.startswith('data:image/jpeg;base64,'):
                encoded = np.frombuffer(base64.b64decode(reference.partition(',')[2]), np.uint8)
                picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
                assert picture is not None and picture.shape[1] > 2 * 500

    def test_text_is_escaped(self, place: Path) -> None:
        words = '<script>alert("&")</script>'
        assert run(place, f'--description={json.dumps(words)}') == 0
        text = (place / 'out/report.html').read_text()
        assert words not in text and words in Page(text).words

    def test_what_is_measured_is_counted(
        self, place: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(counting, 'LINE_EVERY_S', -1)
        assert run(place) == 0
        lines = capsys.readouterr().out.splitlines()
        methods = [method for method in METHODS for _ in range(2)]
        assert lines[1:13] == [f'measured {n} of 12 pairs ({m})' for n, m in enumerate(methods, 1)]

    def test_what_was_left_out_is_said(self, place: Path, capsys: Any) -> None:
        (place / 'data/rgbs/2.png').write_bytes(b'broken')
        assert run(place, '--skip-broken') == 0
        assert '2.png' in results(place)['data']['skipped'][0]
        assert '2.png' in Page((place / 'out/report.html').read_text()).words
        assert '2.png' in capsys.readouterr().out
        assert results(place)['summary']['methods']['model']['interval_95'] is None  # one pair


class TestBadInput:
    def fails(self, place: Path, capsys: Any, *arguments: str, **options: str) -> str:
        assert run(place, *arguments, **options) == 1
        assert not (place / 'out').exists()
        text: str = capsys.readouterr().err
        assert text.startswith('don_kp evaluate: ') and 'Traceback' not in text
        return text

    def test_a_missing_model(self, place: Path, capsys: Any) -> None:
        (place / 'net.safetensors').unlink()
        assert 'net.safetensors: no such file' in self.fails(place, capsys)

    def test_a_model_of_another_fingerprint(self, place: Path, capsys: Any) -> None:
        own = save_model(place / 'net.safetensors').fingerprint
        text = self.fails(place, capsys, '--fingerprint', '0123456789abcdef')
        assert own in text and '0123456789abcdef' in text
        assert run(place, '--fingerprint', own) == 0

    def test_a_model_of_another_dimension(self, place: Path, capsys: Any) -> None:
        text = self.fails(place, capsys, '--dimension', '64')
        assert 'D is 8' in text and '64' in text

    def test_a_missing_folder(self, place: Path, capsys: Any) -> None:
        (place / 'data').rename(place / 'elsewhere')
        assert f'{place / "data"}: no such folder' in self.fails(place, capsys)

    def test_an_empty_set(self, place: Path, capsys: Any) -> None:
        save_truth(place / 'data', np.zeros((0, 4, 2)))
        assert 'correspondences.npz: holds no pairs' in self.fails(place, capsys)

    def test_a_set_that_is_empty_without_its_broken_pictures(
        self, place: Path, capsys: Any
    ) -> None:
        (place / 'data/rgbs/1.png').write_bytes(b'broken')
        assert 'there are no pairs' in self.fails(place, capsys, '--skip-broken')

    def test_a_broken_picture(self, place: Path, capsys: Any) -> None:
        (place / 'data/rgbs/1.png').write_bytes(b'broken')
        text = self.fails(place, capsys)
        assert 'rgbs/1.png' in text and '--skip-broken' in text

    def test_a_mask_without_pixels(self, place: Path, capsys: Any) -> None:
        cv2.imwrite(str(place / 'data/masks/2.png'), np.zeros((HEIGHT, WIDTH), np.uint8))
        assert 'masks/2.png: empty' in self.fails(place, capsys)

    def test_masks_that_cannot_be_right(self, place: Path, capsys: Any) -> None:
        for path in (place / 'data/masks').iterdir():
            cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        text = self.fails(place, capsys)
        assert 'inverted' in text and '3 files' in text and '--trust-masks' in text
        assert run(place, '--trust-masks') == 0
        assert 'are the masks right?' in capsys.readouterr().out

    def test_masks_of_several_values(self, place: Path, capsys: Any) -> None:
        for path in (place / 'data/masks').iterdir():
            mask = np.minimum(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 1)
            mask[:9, :9] = 200
            cv2.imwrite(str(path), mask)
        assert '--mask-value N' in self.fails(place, capsys)
        assert run(place, '--mask-value', '1') == 0

    def test_a_pair_without_correspondences(self, place: Path, capsys: Any) -> None:
        uv = np.full((2, 4, 2), 60.0)
        uv[1] = np.nan
        save_truth(place / 'data', uv)
        assert 'pair 1 (1.png, 2.png) has no correspond' in self.fails(place, capsys)

    @pytest.mark.parametrize(
        ('argument', 'named'),
        [
            ('--pairs=none', "pairs is 'none'"),
            ('--speed=3', 'unknown key speed'),
            ('--seed=-1', '--seed is -1'),
            ('--device=abacus', '--device abacus'),
            ('stray', 'stray: overrides are written'),
        ],
    )
    def test_arguments(self, place: Path, capsys: Any, argument: str, named: str) -> None:
        assert named in self.fails(place, capsys, argument)

    def test_a_missing_protocol(self, place: Path, capsys: Any) -> None:
        text = self.fails(place, capsys, protocol=str(place / 'none.yaml'))
        assert 'none.yaml: cannot be read' in text

    @pytest.mark.parametrize('study', ['leave_one_out', 'ablation'])
    def test_a_study_is_named_with_its_command(self, place: Path, capsys: Any, study: str) -> None:
        assert f'don_kp study {study} DATA' in self.fails(place, capsys, protocol=study)
        (place / 'own.yaml').write_text(f'kind: {study}\n')
        text = self.fails(place, capsys, protocol=str(place / 'own.yaml'))
        assert f'don_kp study {study} DATA' in text
