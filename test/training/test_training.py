import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from don_kp_ros.evaluation import counting
from don_kp_ros.matching import command as match
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.training import progress, train
from don_kp_ros.training.budget import Budget, Stopwatch, learning_rate_factor
from don_kp_ros.training.objective import negative_cells
from don_kp_ros.training.threshold import Threshold

Run = Callable[..., int]


def model(folder: Path, name: str = 'm') -> Checkpoint:
    """Load what was trained of a folder."""
    return checkpoint.load(folder.parent / f'{name}.safetensors')


def test_a_training_writes_a_model_and_its_card(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(counting, 'LINE_EVERY_S', -1)
    output = folder.parent / 'models' / 'square.safetensors'
    assert run(folder, '--steps', '4', output='models/square.safetensors') == 0
    said = capsys.readouterr().out
    assert 'Measuring on 3 pairs.\nmeasured 1 of 6 pairs (model)\n' in said
    assert 'measured 6 of 6 pairs (untrained)\n' in said
    trained = DescriptorModel.load(output)
    assert trained.describe(np.zeros((96, 128, 3), np.uint8)).shape == (8, 16, 24)
    assert trained.card['steps'] == 4
    assert set(trained.card['metrics']) == {'model', 'untrained', 'centroid'}
    threshold = trained.card['match_threshold']
    assert not threshold['drawn']
    assert threshold['value'] == pytest.approx(trained.match_threshold, abs=1e-4)
    assert json.loads(json.dumps(trained.card)) == trained.card
    text = output.with_suffix('.md').read_text()
    assert trained.fingerprint in text and '--steps 4' in text
    written = sorted(p.name for p in output.parent.iterdir())
    assert written == [
        'square.masks.jpg', 'square.md', 'square.safetensors', 'square.tensorboard'
    ]  # fmt: skip

    assert run(folder, '--steps', '4', output='models/square.safetensors') == 1
    assert '--overwrite' in capsys.readouterr().err


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    options = ['--steps', '6', '--loss.negatives=0']
    assert run(folder, *options, output='whole.safetensors') == 0
    original = progress.TrainingProgress.on_train_batch_end

    def interrupt(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        if self.steps == 3 and not self.first_step:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.TrainingProgress, 'on_train_batch_end', interrupt)
    assert run(folder, *options) == 130
    assert not (folder.parent / 'm.safetensors').exists()
    assert run(folder, '--steps', '7', '--loss.negatives=0') == 1
    assert 'budget' in capsys.readouterr().err
    assert run(folder, *options) == 0
    assert 'Going on at step 3' in capsys.readouterr().out
    torch.testing.assert_close(
        model(folder).weights, model(folder, 'whole').weights, atol=1e-3, rtol=1e-2
    )


def test_a_training_that_goes_on_tells_what_it_began_with(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state holds the weights: the model that it began with may change, or be gone."""
    base = folder.parent / 'base.safetensors'
    assert run(folder, '--steps=1', output=base.name) == 0
    first = checkpoint.load(base).fingerprint

    def interrupt(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        if self.steps == self.first_step + 1:
            raise KeyboardInterrupt

    original = progress.TrainingProgress.on_train_batch_end
    options = ['--steps=3', f'--weights={base}']
    with monkeypatch.context() as context:
        context.setattr(progress.TrainingProgress, 'on_train_batch_end', interrupt)
        assert run(folder, *options) == 130
    assert run(folder, '--steps=1', '--seed=1', '--overwrite', output=base.name) == 0
    assert checkpoint.load(base).fingerprint != first
    with monkeypatch.context() as context:
        context.setattr(progress.TrainingProgress, 'on_train_batch_end', interrupt)
        assert run(folder, *options) == 130
    base.unlink()
    assert run(folder, *options) == 0
    assert model(folder).card['steps'] == 3
    assert first in model(folder).card['initialisation']


def test_before_anything_is_saved_a_training_starts_anew(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, 'read_dataset', interrupted)
    assert run(folder, '--steps=2') == 130
    assert 'nothing was saved yet' in capsys.readouterr().err


@pytest.mark.parametrize('given', ['negatives', 'backgrounds', 'nothing'])
def test_a_threshold_without_pictures_of_what_else_there_is_is_not_sure(
    run: Run, folder: Path, capsys: Any, given: str
) -> None:
    others = folder / 'negatives'
    if given != 'negatives':
        others = others.rename(folder.parent / 'others')
    options = ['--steps=2', '--validation.held=0.5']
    assert run(folder, *options, *[f'--backgrounds={others}'] * (given == 'backgrounds')) == 0
    printed = capsys.readouterr().out.replace('\n', ' ')
    card = model(folder).card['match_threshold']
    text = (folder.parent / 'm.md').read_text()
    doubt = 'no pictures without the object were given'
    assert card['drawn'] == (given == 'nothing')
    for told in (card['doubt'], text, printed):
        assert (doubt in told) == (given == 'nothing')
    assert 0 <= card['false'] <= 1 and f'{card["found"]:.1%} of the points' in text
    picture = str(folder / 'rgbs' / '0.png')
    files = [f'--model={folder.parent / "m.safetensors"}', f'--output={folder / "match.png"}']
    match.main([picture, '60', '40', picture, *files])
    assert (doubt in capsys.readouterr().out) == (given == 'nothing')


def test_a_training_goes_on_with_the_same_pictures_alone(
    run: Run, folder: Path, held: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    options = ['--steps=4', '--epoch=1', f'--backgrounds={folder / "negatives"}']

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(train, '_finish', interrupted)
        assert run(folder, *options) == 130
    for name in ('masks/1.png', 'negatives/2.png', 'validation/rgbs/0.png'):
        content = (folder / name).read_bytes()
        image = cv2.imread(str(folder / name))
        image[0, 0] = 255 - image[0, 0]
        cv2.imwrite(str(folder / name), image)
        capsys.readouterr()
        assert run(folder, *options) == 1
        error = capsys.readouterr().err
        assert name in error and 'pictures have changed' in error and '--overwrite' in error
        (folder / name).write_bytes(content)
    (folder / 'rgbs' / 'new.png').write_bytes((folder / 'rgbs' / '0.png').read_bytes())
    (folder / 'masks' / 'new.png').write_bytes((folder / 'masks' / '0.png').read_bytes())
    assert run(folder, *options) == 1
    assert '(masks/new.png, rgbs/new.png)' in capsys.readouterr().err
    for kind in ('rgbs', 'masks'):
        (folder / kind / 'new.png').unlink()
    # Neither their dates nor their place count.
    moved = folder.rename(folder.parent / 'moved')
    os.utime(moved / 'masks' / '0.png')
    assert run(moved, *options[:2], f'--backgrounds={moved / "negatives"}') == 0
    assert 'Going on at step 4' in capsys.readouterr().out


def test_a_state_that_is_damaged_is_told_with_what_helps(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(train, '_finish', interrupted)
        assert run(folder, '--steps=2') == 130
    (state,) = folder.parent.rglob('last.ckpt')
    for content in (b'', b'nothing', state.read_bytes()[:5000]):
        state.write_bytes(content)
        capsys.readouterr()
        assert run(folder, '--steps=2') == 1
        error = capsys.readouterr().err
        assert str(state) in error and 'start anew with --overwrite' in error
    assert run(folder, '--steps=2', '--overwrite') == 0


def test_held_correspondences_outside_of_the_pictures_are_named(
    run: Run, folder: Path, held: Path, capsys: Any
) -> None:
    truth = dict(np.load(held / 'correspondences.npz'))
    truth['uv_b'][0, 3] = [40, 110]  # u and v of a picture that is wider than high, swapped
    np.savez(held / 'correspondences.npz', **truth)
    assert run(folder, '--steps=2') == 1
    error = capsys.readouterr().err
    assert 'pair 0 (0.png, 0.png): pixel (40, 110)' in error and 'swapped' in error


def test_validation_folders_are_used(run: Run, folder: Path, held: Path) -> None:
    assert run(folder, '--steps', '2') == 0
    assert '1 pairs of 2 held pictures' in model(folder).card['data']
    # A picture is always found in itself, even by a network that has learned nothing yet.
    assert model(folder).card['metrics']['model']['median_px'] < 10


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (['--steps', '2', '--views.sise=3'], 'views.sise'),
        (['--steps', '0'], 'positive'),
        (['--steps', '2', '--config', 'missing.yaml'], 'missing.yaml'),
        (['--steps', '2', '--backgrounds=nowhere'], 'nowhere'),
        (['--steps', '2', '--weights=nowhere.pth'], 'nowhere.pth'),
        (['--steps', '2', '--validation.patience=3'], 'validation.patience is 3'),
        (['--steps', '2', '--validation.times=9', '--validation.patience=3'], 'none is held'),
        (['--steps', '2', '--seed', '-1'], '--seed is -1'),
        (['--steps', '2', '--seed', '4294967296'], '--seed is 4294967296; 0 to 4294967295'),
        (['--steps', '2', '--accelerator', 'tpu'], '--accelerator tpu'),
        (['--minutes=0'], 'positive'),
        (['--steps', '2', '--views.warp.scale=[9.9,10]'], 'views.warp.scale'),
    ],
)
def test_bad_input_is_named_and_nothing_is_written_but_masks_to_look_at(
    run: Run, folder: Path, capsys: Any, arguments: list[str], part: str
) -> None:
    assert run(folder, *arguments, output='out/m.safetensors') == 1
    assert part in capsys.readouterr().err
    out = folder.parent / 'out'
    assert not out.exists() or [path.name for path in out.iterdir()] == ['m.masks.jpg']


def test_of_enough_pictures_some_are_held_if_the_share_is_raised(
    run: Run, folder: Path, capsys: Any
) -> None:
    for number in range(3, 10):
        for kind in ('rgbs', 'masks'):
            content = (folder / kind / '0.png').read_bytes()
            (folder / kind / f'{number}.png').write_bytes(content)
    patient = ['--validation.times=9', '--validation.patience=3', '--validation.held=0']
    assert run(folder, '--steps=1', *patient) == 1
    error = capsys.readouterr().err
    assert 'of the 10 pictures' in error and 'raise validation.held' in error


def test_values_of_the_masks_of_scenes_are_refused(run: Run, scenes: Path, capsys: Any) -> None:
    assert run(scenes, '--steps=1', '--network.keypoints=null', '--mask-value=2') == 1
    assert 'leave out --mask-value' in capsys.readouterr().err


def test_a_picture_of_which_no_view_shows_enough_is_named(
    run: Run, folder: Path, capsys: Any
) -> None:
    corners = np.zeros((96, 128), np.uint8)
    corners[:10, :10] = corners[-10:, -10:] = 255  # nothing of it lies about its middle
    cv2.imwrite(str(folder / 'masks' / '1.png'), corners)
    assert run(folder, '--steps=1', '--views.size=32') == 1
    start = f'don_kp train: {folder / "rgbs" / "1.png"}: '
    assert capsys.readouterr().err.startswith(start)
    # Seen well enough now and then, it is trained on then, and others in between.
    now_and_then = ['--steps=20', '--views.size=32', '--views.warp.scale=[0.2,2]']
    assert run(folder, *now_and_then) == 0


def test_an_earlier_model_stays_until_the_new_one_is_done(
    run: Run, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(folder, '--steps=2') == 0
    first = model(folder).fingerprint
    anew = ['--steps=4', '--epoch=1', '--seed=1']
    assert run(folder, *anew) == 1
    assert '--overwrite' in capsys.readouterr().err
    assert run(folder / 'nowhere', *anew, '--overwrite', output='../m.safetensors') == 1
    assert model(folder).fingerprint == first

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(train, '_finish', interrupted)
        assert run(folder, *anew, '--overwrite') == 130
    assert 'without --overwrite goes on' in capsys.readouterr().err
    assert model(folder).fingerprint == first
    # What makes the pairs, and how fast, may change; what is learned may not.
    assert run(folder, *anew, '--workers=1', '--loss.temperature=0.2') == 1
    assert 'another loss.temperature;' in capsys.readouterr().err
    assert run(folder, *anew, '--workers=1') == 0
    assert model(folder).card['steps'] == 4


def test_a_model_that_cannot_be_written_is_named(run: Run, folder: Path, capsys: Any) -> None:
    (folder.parent / 'file').write_text('not a folder')
    assert run(folder, '--steps=1', output='file/m.safetensors') == 1
    assert str(folder.parent / 'file') in capsys.readouterr().err
    assert run(folder, '--steps=1', '--overwrite', output='') == 1
    assert 'is a folder' in capsys.readouterr().err


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    assert learning_rate_factor(0, 0.1) == 0
    assert learning_rate_factor(0.05, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(0.1, 0.1) == pytest.approx(1)
    assert learning_rate_factor(0.55, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(1.2, 0) == pytest.approx(0)


def test_a_stopwatch_goes_on_from_where_it_was() -> None:
    watch = Stopwatch(wall=5, cpu=100)
    watch.worker(0, 3.0)
    watch.worker(0, 4.0)
    watch.worker(1, 1.0)
    assert watch.wall == 5
    assert watch.cpu >= 105
    watch.start()
    watch.pause()
    assert watch.wall >= 5
    assert watch.used('steps', 7) == 7
    with pytest.raises(ValueError, match='positive'):
        Budget('wall', 0)


def test_the_threshold_lies_between_matches_and_others() -> None:
    present, absent = np.linspace(0.8, 1, 101), np.linspace(0, 0.5, 101)
    threshold = Threshold.choose(present, absent, drawn=False)
    assert threshold.present == pytest.approx(0.804)
    assert threshold.absent == pytest.approx(0.4975)
    assert threshold.value == pytest.approx((0.804 + 0.4975) / 2)
    assert (threshold.found, threshold.false, threshold.doubt) == (1, 0, '')
    overlapping = Threshold.choose(present, absent + 0.45, drawn=False)
    assert overlapping.value == overlapping.absent == pytest.approx(0.9475)
    assert overlapping.found == pytest.approx(27 / 101)
    assert '73% of the points' in overlapping.doubt
    drawn = Threshold.choose(present, absent, drawn=True)
    assert drawn.absent == pytest.approx(0.475)
    assert 'no pictures without the object' in drawn.doubt


class TestNegatives:
    """Maps of three views whose cells hold the number of their view, or 0 beside its object."""

    @pytest.fixture
    def maps(self) -> torch.Tensor:
        maps = torch.zeros(3, 1, 8, 8)
        for number in range(3):
            maps[number, :, :5] = number + 1
        return maps

    @pytest.fixture
    def masks(self) -> torch.Tensor:
        masks = torch.zeros(3, 32, 32, dtype=torch.uint8)
        masks[:, :17] = 255  # a row of pixels in the fifth row of cells
        return masks

    def test_of_one_kind_they_never_show_an_object(
        self, maps: torch.Tensor, masks: torch.Tensor
    ) -> None:
        cells, counted = negative_cells(maps, masks, torch.tensor([7, 7, 7]), 200)
        assert cells.shape == (200, 1) and not cells.any()
        assert counted.shape == (3, 200) and counted.all()

    def test_objects_of_another_kind_count_and_those_of_the_same_do_not(
        self, maps: torch.Tensor, masks: torch.Tensor
    ) -> None:
        cells, counted = negative_cells(maps, masks, torch.tensor([0, 1, 0]), 400)
        assert set(cells.unique().tolist()) == {0, 1, 2, 3}
        of_each = [set(cells[counts].unique().tolist()) for counts in counted]
        assert of_each == [{0, 2}, {0, 1, 3}, {0, 2}]

    def test_where_objects_fill_everything_there_are_none(
        self, maps: torch.Tensor, masks: torch.Tensor
    ) -> None:
        whole = torch.full_like(masks, 255)
        cells, counted = negative_cells(maps, whole, torch.tensor([0, 0, 0]), 100)
        assert cells.shape == (0, 1) and counted.shape == (3, 0)


class TestMasks:
    """What a training makes of masks that need a word of the user's."""

    def test_are_shown_over_their_pictures_before_it_begins(
        self, run: Run, folder: Path, capsys: Any
    ) -> None:
        for path in (folder / 'masks').iterdir():
            cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        assert run(folder, '--steps=1') == 1
        shown = capsys.readouterr()
        sheet = folder.parent / 'm.masks.jpg'
        assert str(sheet) in shown.out and sheet.is_file()
        assert 'inverted' in shown.err and '--trust-masks' in shown.err
        assert '79.7% of 0.png' in shown.out and 'Training on' not in shown.out
        assert run(folder, '--steps=1', '--trust-masks') == 0
        assert 'inverted' in capsys.readouterr().out
        assert model(folder).card['configuration']['masks'] == {'values': [], 'trust': True}

    def test_of_several_values_need_to_be_told_which_is_the_object(
        self, run: Run, folder: Path, capsys: Any
    ) -> None:
        for path in (folder / 'masks').iterdir():
            mask = np.minimum(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 1)
            mask[-10:, -10:] = 200
            cv2.imwrite(str(path), mask)
        assert run(folder, '--steps=2') == 1
        error = capsys.readouterr().err
        assert '3 values' in error and '--mask-value N' in error
        assert run(folder, '--steps=2', '--mask-value=thing') == 1
        assert '--mask-value is thing; whole numbers' in capsys.readouterr().err
        assert run(folder, '--steps=2', '--mask-value', '0x1') == 0
        assert '20.3% of 0.png' in capsys.readouterr().out
        assert model(folder).card['configuration']['masks']['values'] == [1]

    def test_that_are_read_differently_make_another_training(
        self, run: Run, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        options = ['--steps=2', '--epoch=1', '--overwrite', '--mask-value=255']
        with monkeypatch.context() as context:
            context.setattr(train, '_finish', interrupted)
            assert run(folder, *options) == 130
        assert run(folder, '--steps=2', '--epoch=1') == 1
        assert 'another masks.values' in capsys.readouterr().err
        assert run(folder, '--steps=2', '--epoch=1', '--mask-value=255', '--trust-masks') == 0


def test_what_cannot_be_written_is_found_out_before_a_picture_is_read(
    run: Run, folder: Path, capsys: Any
) -> None:
    for path in (folder / 'rgbs').iterdir():
        path.write_bytes(b'no picture')
    assert run(folder, '--steps=1', output='/proc/models/m.safetensors') == 1
    assert '/proc' in capsys.readouterr().err
    assert run(folder, '--steps=1', output='models') == 1
    assert 'models: name a file like' in capsys.readouterr().err
    assert not (folder.parent / 'models').exists()
