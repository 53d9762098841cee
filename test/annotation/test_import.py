"""`don_kp data import`: samples in each format, made by its own rules, against what was drawn."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from masked import TURNS, photo, pillow, truth, write
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as pycoco
from truth import CAMERA, Scene

from don_kp_ros.annotation.command import main
from don_kp_ros.annotation.formats import rle
from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.posed import PosedFolder

Mask = NDArray[np.bool_]
HEIGHT, WIDTH = 120, 160
ELBOW = np.zeros((HEIGHT, WIDTH), np.bool_)
ELBOW[30:90, 40:60] = ELBOW[70:90, 40:120] = True
# Its corners on the pixels' edges, as COCO counts; labelme's are pixels that belong to it.
EDGES = [40, 30, 60, 30, 60, 70, 120, 70, 120, 90, 40, 90]
CORNERS = [[40, 30], [59, 30], [59, 70], [119, 70], [119, 89], [40, 89]]
BAR = np.zeros((HEIGHT, WIDTH), np.bool_)
BAR[10:25, 100:150] = True


def imported(source: Path, *more: str, status: int = 0) -> Path:
    target = source.parent / 'imported'
    sheet = ['--sheet', str(source.parent / 'sheet.png')]
    assert main(['import', str(source), str(target), *sheet, *more]) == status
    return target


def masks(root: Path) -> dict[str, Mask]:
    return {sample.path.stem: sample.mask > 0 for sample in ImageFolder.open(root).samples()}


def same(found: dict[str, Mask], expected: dict[str, Mask]) -> bool:
    """Tell whether the intersection over union of each is 1."""
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], mask) for name, mask in expected.items()
    )


def refused(source: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Return why a source is refused, which leaves nothing behind."""
    capsys.readouterr()
    assert not imported(source, *more, status=1).exists()
    assert not list(source.parent.glob('.imported*'))
    return capsys.readouterr().err


def pictures(root: Path, *names: str, **options: int) -> None:
    for number, name in enumerate(names):
        write(root, name, content=pillow(photo(number), **options)[1])


def as_json(root: Path, name: str, content: Any) -> Path:
    return write(root, name, content=json.dumps(content).encode())


def counted(mask: Mask) -> list[int]:
    """Count runs column by column, beginning with background."""
    runs, value = [0], False
    for u in range(mask.shape[1]):
        for v in range(mask.shape[0]):
            if bool(mask[v, u]) != value:
                runs.append(0)
                value = not value
            runs[-1] += 1
    return runs


def compressed(mask: Mask) -> dict[str, Any]:
    found = pycoco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(mask.shape), 'counts': found['counts'].decode()}


def plain(mask: Mask) -> dict[str, Any]:
    return {'size': list(mask.shape), 'counts': counted(mask)}


class TestRunLengths:
    def test_text_is_decoded_as_cocos_own_library_encodes_it(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(100):
            height, width = (int(side) for side in rng.integers(1, 60, 2))
            mask = rng.random((height, width)) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])
            found = rle.decode(compressed(mask)['counts'], (height, width))
            np.testing.assert_array_equal(found, mask)
            np.testing.assert_array_equal(rle.decode(counted(mask), (height, width)), mask)

    @pytest.mark.parametrize('counts', [[3, 1], [3, 100], [-1, 21], '05', 'z' * 40, 'é', '', None])
    def test_what_is_not_a_mask_is_refused(self, counts: Any) -> None:
        with pytest.raises(ValueError, match='its run'):
            rle.decode(counts, (4, 5))

    def test_a_slanted_polygon_covers_the_centres_in_it(self) -> None:
        v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        inside = (u > 20) & (v < 100) & (u - 20 < 1.2 * (v - 10))
        found = rle.from_polygons([[20, 10, 20, 100, 128, 100]], (HEIGHT, WIDTH))
        assert (found & inside).sum() > 0.98 * (found | inside).sum()

    @pytest.mark.parametrize(
        'polygon', [[1, 2, 3, 4], [1, 2, 3, 4, 5], 'abc', [1, 2, 3, 4, 5, 1e9], [0] * 5 + [None]]
    )
    def test_what_is_no_polygon_is_refused(self, polygon: Any) -> None:
        with pytest.raises(ValueError, match='a polygon'):
            rle.from_polygons([polygon], (4, 5))


def coco(*marks: tuple[int, int, Any], crowd: Sequence[int] = (), **sizes: int) -> dict[str, Any]:
    """Write annotations (image, category, segmentation) of two images and two categories."""
    size = {'height': HEIGHT, 'width': WIDTH, **sizes}
    return {
        'images': [{'id': i, 'file_name': f'images/{i}.png', **size} for i in (7, 9)],
        'categories': [{'id': 1, 'name': 'cap'}, {'id': 4, 'name': 'mug'}],
        'annotations': [
            {'id': i, 'image_id': im, 'category_id': c, 'segmentation': s, 'iscrowd': i in crowd}
            for i, (im, c, s) in enumerate(marks)
        ],
    }


class TestCoco:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        pictures(tmp_path / 'source', 'images/7.png', 'images/9.png')
        return tmp_path / 'source'

    @pytest.mark.parametrize('write', [plain, compressed], ids=['plain', 'compressed'])
    def test_polygons_and_run_lengths(
        self, source: Path, write: Callable[[Mask], dict[str, Any]]
    ) -> None:
        as_json(source, 'instances.json', coco((7, 1, [EDGES]), (9, 1, write(truth(2)))))
        found = masks(imported(source))
        assert same(found, {'7': ELBOW, '9': truth(2)})

    def test_the_pictures_are_those_that_were_annotated(self, source: Path) -> None:
        file = as_json(source / 'annotations', 'x.json', coco((7, 1, [EDGES]), (9, 1, [EDGES])))
        other = photo(5)
        write(source, 'others', '9.png', content=pillow(other)[1])
        target = imported(file, '--pictures', str(source))
        samples = {s.path.stem: s.image for s in ImageFolder.open(target).samples()}
        np.testing.assert_array_equal(samples['9'], photo(1))

    def test_an_object_is_chosen_by_name_or_number(
        self, source: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        marks = (7, 1, [EDGES]), (7, 4, plain(BAR)), (9, 4, plain(truth(1)))
        as_json(source, 'x.json', coco(*marks))
        text = refused(source, capsys)
        assert 'marks 2 kinds of objects: mug (4) in 2 pictures, cap (1) in 1 picture' in text
        assert 'did you mean mug?' in refused(source, capsys, '--object', 'mugg')
        assert same(masks(imported(source, '--object', 'cap')), {'7': ELBOW})
        assert 'left out 1 picture (9): the object is not marked' in capsys.readouterr().out
        (source.parent / 'imported').rename(source.parent / 'first')
        assert same(masks(imported(source, '--object', '4')), {'7': BAR, '9': truth(1)})

    def test_several_marks_in_one_picture_are_refused_until_told(
        self, source: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        marks = (7, 1, [EDGES]), (7, 1, plain(BAR)), (9, 1, plain(truth(1)))
        as_json(source, 'x.json', coco(*marks))
        assert 'several times in 1 picture (7); say --several' in refused(source, capsys)
        found = masks(imported(source, '--several', 'together'))
        assert same(found, {'7': ELBOW | BAR, '9': truth(1)})
        (source.parent / 'imported').rename(source.parent / 'first')
        assert same(masks(imported(source, '--several', 'leave-out')), {'9': truth(1)})

    def test_a_crowd_is_no_object(self, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
        marks = (7, 1, [EDGES]), (9, 1, [EDGES]), (9, 1, plain(truth(1)))
        as_json(source, 'x.json', coco(*marks, crowd=[2]))
        assert same(masks(imported(source)), {'7': ELBOW})
        assert 'left out 1 picture (9): it is marked in a crowd' in capsys.readouterr().out

    @pytest.mark.parametrize(
        ('content', 'said'),
        [
            (coco((7, 1, [])), 'annotation 0 has no region, only a box'),
            (coco((7, 1, {'size': [9, 9], 'counts': [81]})), 'its mask has the size [9, 9]'),
            (coco((7, 1, {'size': [HEIGHT, WIDTH], 'counts': [81]})), 'its runs cover 81 pixels'),
            (coco((5, 1, [EDGES])), 'unknown image_id'),
            (coco((7, 3, [EDGES])), 'KeyError(3)'),
            (coco((7, 1, [EDGES]), height=-1), 'an image is 160x-1'),
            (coco((7, 1, [EDGES]), height=121), '7 as it was annotated: 160x121 pixels, but'),
            (coco(), 'nothing is marked in its 2 pictures'),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, source: Path, content: Any, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        as_json(source, 'x.json', content)
        assert said in refused(source, capsys)

    def test_missing_and_doubled_pictures_are_named(
        self, source: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content = coco((7, 1, [EDGES]))
        content['images'][0]['file_name'] = '7.png'
        as_json(source, 'x.json', content)
        pictures(source, 'other/7.png')
        assert 'which may be ' in refused(source, capsys)
        for path in source.rglob('7.png'):
            path.unlink()
        assert 'names the picture 7.png, which does not lie in' in refused(source, capsys)

    def test_two_files_are_two_sources(
        self, source: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ('train.json', 'val.json'):
            as_json(source, name, coco((7, 1, [EDGES])))
        assert 'holds 2 files (train.json, val.json) of COCO' in refused(source, capsys)

    @pytest.mark.parametrize('tag', [6, 8, 3])
    @pytest.mark.parametrize('shown', [True, False], ids=['as shown', 'as stored'])
    def test_a_turned_picture_is_annotated_as_shown_or_as_stored(
        self, source: Path, tag: int, shown: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stored = np.ascontiguousarray(TURNS[tag](photo(0)))
        write(source, 'images', '7.png', content=pillow(stored, exif=tag)[1])
        mask = truth(0) if shown else np.ascontiguousarray(TURNS[tag](truth(0)))
        size = {'height': mask.shape[0], 'width': mask.shape[1]}
        as_json(source, 'x.json', coco((7, 1, plain(mask)), **size))
        if tag == 3:  # nothing tells which
            assert 'exiftool' in refused(source, capsys)
        else:
            assert same(masks(imported(source)), {'7': truth(0)})


def labelme(*shapes: dict[str, Any], data: bytes | None = None, path: str = '0.png') -> Any:
    text = None if data is None else base64.b64encode(data).decode()
    size = {'imageHeight': HEIGHT, 'imageWidth': WIDTH}
    given = [{'label': 'cap', 'group_id': None, 'flags': {}, **shape} for shape in shapes]
    return {'version': '5.5.0', 'shapes': given, 'imagePath': path, 'imageData': text, **size}


def shape(kind: str, points: Any, **more: Any) -> dict[str, Any]:
    return {'shape_type': kind, 'points': points, **more}


def pasted(mask: Mask) -> dict[str, Any]:
    rows, columns = np.nonzero(mask)
    (top, bottom), (left, right) = ((int(a.min()), int(a.max())) for a in (rows, columns))
    file = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(file, 'PNG')
    text = base64.b64encode(file.getvalue()).decode()
    return shape('mask', [[left, top], [right, bottom]], mask=text)


class TestLabelme:
    V, U = np.mgrid[:HEIGHT, :WIDTH]

    @pytest.mark.parametrize(
        ('drawn', 'true'),
        [
            (shape('polygon', CORNERS), ELBOW),
            (shape('rectangle', [[149, 24], [100, 10]]), BAR),
            (shape('circle', [[70, 60], [70, 80]]), np.hypot(U - 70, V - 60) <= 20.5),
            (pasted(truth(0)), truth(0)),
        ],
        ids=['polygon', 'rectangle', 'circle', 'mask'],
    )
    @pytest.mark.parametrize('inside', [True, False], ids=['imageData', 'imagePath'])
    def test_regions(
        self, tmp_path: Path, drawn: dict[str, Any], true: Mask, inside: bool
    ) -> None:
        picture = pillow(photo(0))[1]
        if not inside:
            write(tmp_path, 'source', 'pictures', '0.png', content=picture)
        content = labelme(drawn, data=picture if inside else None, path='../pictures/0.png')
        source = as_json(tmp_path / 'source' / 'labels', '0.json', content).parent.parent
        target = imported(source)
        assert same(masks(target), {'0': true})
        (sample,) = ImageFolder.open(target).samples()
        np.testing.assert_array_equal(sample.image, photo(0))

    def test_pictures_keep_all_of_their_names(self, tmp_path: Path) -> None:
        drawn = shape('rectangle', [[149, 24], [100, 10]])
        for name in ('1700000000.25', '1700000000.50'):
            content = labelme(drawn, data=pillow(photo(0))[1], path=f'{name}.png')
            as_json(tmp_path / 'source', f'{name}.json', content)
        target = imported(tmp_path / 'source')
        assert same(masks(target), {'1700000000.25': BAR, '1700000000.50': BAR})

    def test_shapes_of_a_group_are_one_object(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        pictures(source, '0.png')
        parts = shape('polygon', CORNERS), shape('rectangle', [[100, 10], [149, 24]])
        as_json(source, '0.json', labelme(*parts))
        assert 'several times in 1 picture (0)' in refused(source, capsys)
        as_json(source, '0.json', labelme(*({**part, 'group_id': 1} for part in parts)))
        assert same(masks(imported(source)), {'0': ELBOW | BAR})

    @pytest.mark.parametrize(
        ('drawn', 'said'),
        [
            (shape('linestrip', CORNERS), 'it is a linestrip, which has no area'),
            (shape('polygon', CORNERS[:2]), 'a polygon with 2 points'),
            (shape('circle', CORNERS), 'a circle with 6 points'),
            (shape('polygon', [[1, 2], [3, float('nan')], [4, 5]]), 'a point is not finite'),
            (pasted(truth(0)) | {'points': [[0, 0], [5, 5]]}, 'a mask of shape'),
        ],
    )
    def test_what_has_no_area_is_refused(
        self, tmp_path: Path, drawn: Any, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        pictures(source, '0.png')
        as_json(source, '0.json', labelme(drawn))
        assert said in refused(source, capsys)


PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, *[7] * 750, 224, 224, 192]


class TestVoc:
    def source(self, root: Path, classes: NDArray[np.uint8], objects: Any = None) -> Path:
        source = root / 'source'
        pictures(source / 'JPEGImages', '0.png')
        content = pillow(classes, palette=PALETTE)[1]
        write(source, 'SegmentationClass', '0.png', content=content)
        if objects is not None:
            content = pillow(objects, palette=PALETTE)[1]
            write(source, 'SegmentationObject', '0.png', content=content)
        return source

    def test_classes_are_indices_and_255_is_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        classes = np.where(ELBOW, 5, np.where(BAR, 39, 0)).astype(np.uint8)
        classes[100:, :] = 255
        source = self.source(tmp_path, classes)
        assert 'bottle (5) in 1 picture, class 39 (39)' in refused(source, capsys)
        assert same(masks(imported(source, '--object', 'bottle')), {'0': ELBOW})

    def test_masks_of_two_values_are_told_from_classes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = self.source(tmp_path, np.where(ELBOW, 255, 0).astype(np.uint8))
        told = refused(source, capsys)
        assert '(0.png): 255 means in VOC' in told and 'put them into masks/' in told

    def test_objects_of_one_class_are_told_apart(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        classes = np.where(ELBOW | BAR, 5, 0).astype(np.uint8)
        source = self.source(tmp_path, classes, np.where(BAR, 2, ELBOW).astype(np.uint8))
        assert 'several times in 1 picture' in refused(source, capsys)
        assert same(masks(imported(source, '--several', 'together')), {'0': ELBOW | BAR})

    def test_cvat_names_colours(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = tmp_path / 'source'
        pictures(source / 'images', '0.png')
        colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        colours[:] = 0, 128, 0
        colours[ELBOW], colours[BAR] = (250, 50, 83), (51, 221, 255)
        write(source, 'SegmentationClass', '0.png', content=pillow(colours)[1])
        assert 'there is no labelmap.txt to tell' in refused(source, capsys)
        labels = b'# label:color_rgb:parts:actions\nbackground:0,128,0::\ncap:250,50,83::\n'
        write(source, 'labelmap.txt', content=labels)
        assert 'holds the colour 0x33ddff, which labelmap.txt' in refused(source, capsys)
        write(source, 'labelmap.txt', content=labels + b'mug:51,221,255::\n')
        assert same(masks(imported(source, '--object', 'mug')), {'0': BAR})
        (source.parent / 'imported').rename(source.parent / 'first')
        assert same(masks(imported(source, '--object', 'cap')), {'0': ELBOW})


class TestCutOuts:
    def test_alpha_is_the_mask(self, tmp_path: Path) -> None:
        source = tmp_path / 'source'
        for number in range(2):
            alpha = (255 * truth(number)).astype(np.uint8)
            content = pillow(np.dstack([photo(number), alpha]))[1]
            write(source, f'{number}.png', content=content)
        assert same(masks(imported(source)), {str(n): truth(n) for n in range(2)})

    def test_whole_pictures_among_them_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        alpha = (255 * truth(0)).astype(np.uint8)
        write(source, '0.png', content=pillow(np.dstack([photo(0), alpha]))[1])
        write(source, '1.png', content=pillow(photo(1))[1])
        assert '1 file (1.png) are not' in refused(source, capsys)


class TestSam:
    def test_json_of_the_data_set(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        pictures(source, '0.png', '1.png')
        both = enumerate((ELBOW, BAR), 70)
        marks = [{'id': i, 'segmentation': compressed(mask)} for i, mask in both]
        for number in range(2):
            image = {'file_name': f'{number}.png', 'height': HEIGHT, 'width': WIDTH}
            as_json(source, f'{number}.json', {'image': image, 'annotations': marks})
        assert 'in 0 there are 2 marks: 70, 71, without names' in refused(source, capsys)
        assert 'numbers in each picture of their own' in refused(source, capsys, '--object', '71')
        text = refused(source, capsys, '--object', '0=3', '--object', '1=71')
        assert 'in 0 no object is 3' in text
        found = masks(imported(source, '--object', '0=70', '--object', '1=71'))
        assert same(found, {'0': ELBOW, '1': BAR})

    def test_json_of_the_generator(self, tmp_path: Path) -> None:
        source = tmp_path / 'source'
        pictures(source, 'photos/0.png')
        as_json(source, 'masks/0.json', [{'segmentation': compressed(ELBOW), 'area': 5}])
        assert same(masks(imported(source)), {'0': ELBOW})

    def test_folders_of_the_generator(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        pictures(source, 'photos/1.png')
        for number, mask in enumerate((ELBOW, BAR)):
            content = pillow((255 * mask).astype(np.uint8))[1]
            write(source, 'masks', '1', f'{number}.png', content=content)
        write(source, 'masks', '1', 'metadata.csv', content=b'id,area\n0,5\n1,5\n')
        assert 'in 1 there are 2 marks: 0, 1' in refused(source, capsys)
        assert same(masks(imported(source, '--object', '1')), {'1': BAR})


class TestBop:
    PLACES = ((-0.08, 0.0, 0.4), (0.06, 0.03, 1.2))

    def source(self, root: Path, scale: float = 0.1) -> tuple[Path, Scene]:
        """Write a scene of two eggs with different numbers, lengths in millimetres."""
        scene = Scene.of(*self.PLACES)
        source = root / 'source' / '000048'
        size = (CAMERA.height, CAMERA.width)
        write(source, 'rgb', '000003.png', content=pillow(photo(0, size))[1])
        depth = scene.view().depth
        assert depth is not None
        steps = np.rint(1000 * depth.metres() / scale).astype(np.uint16)
        write(source, 'depth', '000003.png', content=pillow(steps)[1])
        truths = []
        for index, egg in enumerate(scene.eggs):
            content = pillow((255 * scene.mask(index)).astype(np.uint8))[1]
            write(source, 'mask_visib', f'000003_00000{index}.png', content=content)
            R, t = egg.T_camera_object[:3, :3], 1000 * egg.T_camera_object[:3, 3]
            R, t = R.ravel().tolist(), t.tolist()
            truths.append({'cam_R_m2c': R, 'cam_t_m2c': t, 'obj_id': 5 + index})
        as_json(source, 'scene_gt.json', {'3': truths})
        camera = {'cam_K': CAMERA.K.ravel().tolist(), 'depth_scale': scale}
        as_json(source, 'scene_camera.json', {'3': camera})
        return source.parent, scene

    @pytest.mark.parametrize('scale', [0.1, 1.0])
    def test_a_scene_becomes_posed_views(self, tmp_path: Path, scale: float) -> None:
        source, scene = self.source(tmp_path, scale)
        root = imported(source, '--object', '6')
        (sample,) = PosedFolder.open(root).samples()
        np.testing.assert_array_equal(sample.mask > 0, scene.mask(1))
        assert (sample.path.stem, sample.object) == ('000003', 'obj_000006')
        expected = np.linalg.inv(scene.eggs[1].T_camera_object)
        np.testing.assert_allclose(sample.T_object_camera, expected, atol=1e-9)
        # The points that its pixels show lie on the object's surface, in its own frame.
        v, u = np.nonzero(sample.mask)
        points = sample.camera.deproject(np.stack([u, v], axis=1), sample.depth[v, u])
        own = points @ sample.T_object_camera[:3, :3].T + sample.T_object_camera[:3, 3]
        radius = np.linalg.norm(own / scene.eggs[1].axes, axis=1)
        assert np.abs(radius - 1).max() < 30 * scale / 1000

    def test_what_is_ambiguous_or_broken_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source, _ = self.source(tmp_path)
        text = refused(source, capsys)
        assert 'obj_000005 (5) in 1 picture, obj_000006 (6) in 1 picture' in text
        truths = json.loads((source / '000048' / 'scene_gt.json').read_text())
        truths['3'][1]['obj_id'] = 5
        as_json(source / '000048', 'scene_gt.json', truths)
        assert 'several times' in refused(source, capsys)
        assert 'a view has one pose' in refused(source, capsys, '--several', 'together')
        truths['3'][0]['cam_R_m2c'][0] += 0.1
        as_json(source / '000048', 'scene_gt.json', truths)
        assert 'cam_R_m2c is no rotation' in refused(source, capsys)

    def test_two_cameras_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source, _ = self.source(tmp_path)
        (source / '000048').rename(source.parent / 'kept')
        other, _ = self.source(tmp_path)
        camera = json.loads((other / '000048' / 'scene_camera.json').read_text())
        camera['3']['cam_K'][0] += 20
        as_json(other / '000048', 'scene_camera.json', camera)
        (source.parent / 'kept').rename(source / '000007')
        text = refused(source, capsys, '--object', '5')
        assert 'a folder of posed views has one camera' in text

    def test_a_hidden_object_is_left_out(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source, scene = self.source(tmp_path)
        (source / '000048').rename(source / '000007')
        self.source(tmp_path)
        empty = pillow(np.zeros((CAMERA.height, CAMERA.width), np.uint8))[1]
        write(source, '000048', 'mask_visib', '000003_000000.png', content=empty)
        (sample,) = PosedFolder.open(imported(source, '--object', '5')).samples()
        assert sample.path.stem == '000007_000003'
        assert 'left out 000048_000003: the object has 0 pixels' in capsys.readouterr().out


class TestSources:
    def test_a_target_that_exists_is_left_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        pictures(source, '0.png')
        as_json(source, '0.json', labelme(shape('polygon', CORNERS)))
        kept = write(tmp_path, 'imported', 'mine.txt', content=b'mine')
        imported(source, status=1)
        assert 'is there already' in capsys.readouterr().err
        assert kept.read_bytes() == b'mine'

    def test_two_formats_are_refused_and_one_is_chosen(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / 'source'
        pictures(source, 'images/7.png', 'images/9.png')
        as_json(source, 'x.json', coco((7, 1, [EDGES])))
        drawn = shape('rectangle', [[100, 10], [149, 24]])
        as_json(source, '9.json', labelme(drawn, path='images/9.png'))
        text = refused(source, capsys)
        assert 'coco: 1 file (x.json); labelme: 1 file (9.json); choose by --format' in text
        assert same(masks(imported(source, '--format', 'labelme')), {'9': BAR})

    @pytest.mark.parametrize(
        ('name', 'content', 'said'),
        [
            ('rgbs/0.png', pillow(photo(0))[1], 'has pictures in rgbs already'),
            ('x.xml', b'<annotations/>', 'export polygons or masks as COCO'),
            ('x.json', b'{', 'cannot be read as JSON'),
            ('x.json', b'[' * 100_000, 'cannot be read as JSON'),
            ('x.json', b'{"a": 1}', 'holds nothing that is known, but 1 file (x.json)'),
            ('0.png', pillow(photo(0))[1], 'holds nothing that is known, but 1 file (0.png)'),
        ],
    )
    def test_what_is_not_known_is_told_as_it_was_seen(
        self,
        tmp_path: Path,
        name: str,
        content: bytes,
        said: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        write(tmp_path, 'source', name, content=content)
        assert said in refused(tmp_path / 'source', capsys)
