"""How a mask is meant is decided for each file by its set of levels, and told."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from seas_train.data import Fit, Kind, Masks, PhotographsConfig, Preprocessing, load_product, read_mask
from seas_train.data.masks import MaskKind, open_mask
from tests.train.data.product_folders import photograph, save, write_mvtec

SIZE = (96, 80)
PLAIN = Preprocessing(80, Fit.STRETCH)
BILINEAR = Image.Resampling.BILINEAR


def areas(*levels: int, rim: int | None = None) -> Image.Image:
    """Rectangles side by side on 0, one for each level, with a rim around each."""
    values = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for index, level in enumerate(levels):
        left = 6 + 22 * index
        if rim is not None:
            values[19:51, left - 1 : left + 17] = rim
        values[20:50, left : left + 16] = level
    return Image.fromarray(values)


def colours(*colours: tuple[int, int, int], ground: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    picture = Image.new("RGB", SIZE, ground)
    for index, colour in enumerate(colours):
        picture.paste(colour, (6 + 22 * index, 20, 22 + 22 * index, 50))
    return picture


def strokes(width: int = 3, level: int = 255) -> Image.Image:
    """Slanted lines and a disc, anti-aliased by drawing eight times as large."""
    large = Image.new("L", (SIZE[0] * 8, SIZE[1] * 8))
    draw = ImageDraw.Draw(large)
    for index in range(3):
        draw.line((40 + 150 * index, 60, 300 + 130 * index, 560), fill=level, width=8 * width)
    draw.ellipse((40, 400, 200, 560), fill=level)
    return large.resize(SIZE, Image.Resampling.BOX)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


def palette(image: Image.Image, *colours: int) -> Image.Image:
    """Label ids as a palette picture."""
    made = Image.fromarray(np.asarray(image)).convert("P")
    made.putpalette(colours)
    return made


def contour() -> Image.Image:
    picture = photograph(4, SIZE)
    ImageDraw.Draw(picture).ellipse((20, 20, 60, 60), outline="red", width=2)
    return picture


def smooth(noise: float) -> Image.Image:
    """A photograph as cameras make them: gradients, and a little noise."""
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    values = 120 + 60 * np.sin(across / 15) + 40 * np.cos(down / 11)
    values = values + np.random.default_rng(0).normal(0, noise, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


ONE, TWO, THREE = 480, 960, 1440  # pixels of one to three rectangles

# The file, how it is found to be meant, the pixels of defect, and whether that is asked about.
EXACT: dict[str, tuple[Callable[[], Image.Image], MaskKind, int, bool]] = {
    "0 and 255": (lambda: areas(255), MaskKind.TWO_LEVELS, ONE, False),
    "0 and 75": (lambda: areas(75), MaskKind.TWO_LEVELS, ONE, False),
    "0 and 1": (lambda: areas(1), MaskKind.TWO_LEVELS, ONE, False),
    "1 and 2, without 0": (lambda: areas(1).point([1, 2] * 128), MaskKind.TWO_LEVELS, ONE, True),
    "75 beside 200": (lambda: areas(75, 200), MaskKind.LABELS, TWO, True),
    "ids": (lambda: areas(1, 2, 3), MaskKind.LABELS, THREE, False),
    "ids around 127": (lambda: areas(126, 127, 128), MaskKind.LABELS, THREE, True),
    "ids with a rim of 255": (lambda: areas(1, 2, 3, rim=255), MaskKind.LABELS, 3 * 32 * 18, True),
    "one id with a rim of 255": (lambda: areas(15, rim=255), MaskKind.LABELS, 32 * 18, True),
    "dark class colour": (
        lambda: colours((48, 112, 32), (176, 112, 32)),
        MaskKind.COLOURS,
        TWO,
        False,
    ),
    "dark class colour alone": (lambda: colours((48, 112, 32)), MaskKind.TWO_LEVELS, ONE, False),
    "dark blue beside white": (lambda: colours((0, 0, 90), (255, 255, 255)), MaskKind.COLOURS, TWO, False),
    "colours on white": (
        lambda: colours((200, 30, 30), (90, 90, 200), ground=(255, 255, 255)),
        MaskKind.COLOURS,
        TWO,
        True,
    ),
    "palette of class colours": (
        lambda: palette(areas(1, 2), 0, 0, 0, 128, 0, 0, 0, 60, 0),
        MaskKind.COLOURS,
        TWO,
        False,
    ),
    "palette of one class": (
        lambda: palette(areas(1), 0, 0, 0, 60, 0, 0),
        MaskKind.TWO_LEVELS,
        ONE,
        False,
    ),
    "alpha that says nothing": (
        lambda: Image.merge("LA", [areas(75, 200), Image.new("L", SIZE)]),
        MaskKind.LABELS,
        TWO,
        True,
    ),
}


@pytest.mark.parametrize("case", EXACT)
def test_no_class_of_a_mask_becomes_background(tmp_path: Path, case: str) -> None:
    """Was: what is below 128 was dropped, in part or whole, and the product called usable."""
    make, kind, pixels, asked = EXACT[case]
    path = save(make(), tmp_path / "m.png")
    mask = open_mask(path)
    assert mask.reading.kind is kind
    assert bool(mask.reading.doubt) is asked
    assert (np.asarray(mask.foreground) > 0).sum() == pixels


@pytest.mark.parametrize("thin", [1, 2])
def test_a_thin_class_is_a_class(tmp_path: Path, thin: int) -> None:
    values = np.asarray(areas(200)).copy()
    values[60 : 60 + thin, 10:80] = 75
    mask = open_mask(save(Image.fromarray(values), tmp_path / "m.png"))
    assert mask.reading.kind is MaskKind.LABELS
    assert (np.asarray(mask.foreground) > 0).sum() == ONE + 70 * thin


@pytest.mark.parametrize("step", [1, 4])
def test_many_instances_are_labels(tmp_path: Path, step: int) -> None:
    """More ids than a class list has: parts that were numbered one by one."""
    values = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for index in range(48):
        row, column = divmod(index, 8)
        values[2 + 13 * row : 12 + 13 * row, 2 + 12 * column : 11 + 12 * column] = step * (index + 1)
    mask = open_mask(save(Image.fromarray(values), tmp_path / "m.png"))
    assert mask.reading.kind is MaskKind.LABELS
    assert (np.asarray(mask.foreground) > 0).sum() == 48 * 90


SOFT: dict[str, Callable[[], Image.Image]] = {
    "anti-aliased": strokes,
    "anti-aliased hairlines": lambda: strokes(width=1),
    "JPEG": lambda: jpeg(strokes(), 75),
    "JPEG of the highest quality": lambda: jpeg(areas(255, 255), 100),
    "JPEG of hard edges": lambda: jpeg(areas(255, 255), 90),
    "JPEG of low quality": lambda: jpeg(strokes(width=5), 40),
    "JPEG in colour": lambda: jpeg(strokes().convert("RGB"), 85),
    "blurred": lambda: strokes(width=12).resize((48, 40), BILINEAR).resize(SIZE, BILINEAR),
    "one row of grey": lambda: areas(255).resize((96, 81), BILINEAR).resize(SIZE, BILINEAR),
    "grey at the most": lambda: strokes(level=200),
}


@pytest.mark.parametrize("case", SOFT)
def test_soft_edges_and_ringing_are_no_classes(tmp_path: Path, case: str) -> None:
    values = SOFT[case]()
    mask = open_mask(save(values, tmp_path / "m.png"))
    assert mask.reading.kind is MaskKind.SOFT
    assert not mask.reading.doubt
    levels = np.asarray(values.convert("L"))
    expected = levels > (127 if levels.max() > 215 else levels.max() // 2)
    assert ((np.asarray(mask.foreground) > 0) == expected).all()


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize("levels", [(75, 200), (100, 100, 200), (60, 120, 180)])
def test_a_label_map_saved_as_jpeg_is_asked_about(
    tmp_path: Path, levels: tuple[int, ...], quality: int
) -> None:
    mask = open_mask(save(jpeg(areas(*levels), quality), tmp_path / "m.png"))
    assert mask.reading.kind is MaskKind.LABELS
    assert "a label map with loss" in mask.reading.doubt
    assert (np.asarray(mask.foreground) > 0).sum() == pytest.approx(ONE * len(levels), rel=0.1)


def test_the_real_photographs_are_not_masks(tmp_path: Path) -> None:
    data = Path(__file__).parents[4] / "shared" / "data"
    files = (
        sorted((data / "bottle").glob("t*/*/*.png"))[::3]
        + sorted((data / "magnetic_tile").glob("t*/*/*"))[::90]
    )
    if not files:
        pytest.skip("real photographs are expected in ../shared/data")
    for file in files:
        with Image.open(file) as opened:
            picture = opened.convert("RGB").resize((opened.width // 2, opened.height // 2))
        with_contour = picture.copy()
        ImageDraw.Draw(with_contour).ellipse((30, 30, 90, 80), outline="red", width=2)
        for made in (
            picture,
            picture.convert("L"),
            with_contour,
            jpeg(with_contour, 80),
        ):
            reading = open_mask(save(made, tmp_path / "m.png")).reading
            assert reading.kind is MaskKind.NOT_A_MASK, (file, reading)
        few = open_mask(save(picture.quantize(32), tmp_path / "m.png")).reading
        assert few.kind is MaskKind.NOT_A_MASK or few.doubt, file


NO_MASKS: dict[str, Callable[[], Image.Image]] = {
    "photograph with a red contour": contour,
    "photograph": lambda: photograph(4, SIZE),
    "grey photograph": lambda: photograph(4, SIZE).convert("L"),
    "smooth photograph": lambda: smooth(3),
    "photograph of few colours": lambda: photograph(4, SIZE).quantize(32),
    "photograph of few greys": lambda: smooth(12).point([v // 16 * 16 for v in range(256)]),
    "dark photograph": lambda: smooth(3).point([v // 4 for v in range(256)]),
    "photograph as JPEG": lambda: jpeg(contour(), 90),
    "grey photograph on black": lambda: Image.composite(
        smooth(3), Image.new("L", SIZE), areas(255, 255, 255)
    ),
    "photograph on black": lambda: Image.composite(
        photograph(4, SIZE), Image.new("RGB", SIZE), areas(255, 255, 255)
    ),
}


@pytest.mark.parametrize("case", NO_MASKS)
def test_a_photograph_is_not_a_mask(tmp_path: Path, case: str) -> None:
    """Was: 45 % of the picture became defect."""
    assert open_mask(save(NO_MASKS[case](), tmp_path / "m.png")).reading.kind is MaskKind.NOT_A_MASK


def test_the_report_says_how_masks_were_read_and_asks_where_it_is_not_sure(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 6})
    for index, mask in enumerate((areas(255), areas(75, 200), strokes(), contour(), areas(1, 2, 3))):
        image = photograph(50 + index, SIZE)
        save(image, folder / f"test/crack/{index:03}.png")
        save(mask, folder / f"ground_truth/crack/{index:03}_mask.png")
    product = load_product(folder, size=64)
    text = product.report.to_text()
    assert "masks read as two levels: 2, with levels 0 and 255 (2)" in text
    assert "masks read as label ids: 2, with levels 0, 75 and 200 (1); 0, 1, 2 and 3 (1)" in text
    assert "masks read as black and white with soft edges: 1, with levels 0 to 255 (1)" in text
    assert product.report.to_dict()["pictures"]["masks"]["not a mask"] == 1
    asked = [p for p in product.report.problems if p.kind is Kind.MASK_DOUBT]
    assert [p.path.name for p in asked if p.path] == ["001_mask.png"]
    assert asked[0].message == (
        "has the levels 0, 75, 200: each is taken as a class, all but 0 as defect; --masks binary reads it "
        "otherwise"
    )
    refused = [p for p in product.report.problems if p.kind is Kind.NOT_A_MASK]
    assert [p.path.name for p in refused if p.path] == ["003_mask.png"]
    assert "--masks binary or labels reads it all the same" in refused[0].message
    assert len(product.defects[0].train) + len(product.defects[0].test) == 5


def test_the_option_answers_the_question(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    save(photograph(50, SIZE), folder / "test/crack/000.png")
    save(areas(75, 200), folder / "ground_truth/crack/000_mask.png")
    found = {}
    for masks in (Masks.AUTO, Masks.BINARY, Masks.LABELS):
        product = load_product(folder, PhotographsConfig(masks=masks, fit=Fit.STRETCH), size=80)
        asked = [p for p in product.report.problems if p.kind is Kind.MASK_DOUBT]
        assert bool(asked) is (masks is Masks.AUTO)
        found[masks] = product.mask(product.defects[0].train[0]).sum(), product.fingerprint
        assert Preprocessing.from_dict(product.preprocessing.to_dict()).masks is masks
    assert found[Masks.AUTO][0] == found[Masks.LABELS][0] > 1.8 * found[Masks.BINARY][0] > 0
    assert len({fingerprint for _, fingerprint in found.values()}) == 3


def test_a_mask_is_read_alike_by_itself_and_in_its_product(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    for index, mask in enumerate((areas(75, 200), areas(15, rim=255), strokes())):
        save(photograph(50 + index, SIZE), folder / f"test/crack/{index:03}.png")
        save(mask, folder / f"ground_truth/crack/{index:03}_mask.png")
    product = load_product(folder, size=64)
    for pair in (*product.defects[0].train, *product.defects[0].test):
        alone = read_mask(pair.mask, product.preprocessing, image=pair.image)
        assert (product.mask(pair) == alone).all()
        assert alone.any()


@pytest.mark.parametrize("size", [(48, 40), (96, 79), (95, 80), (192, 160), (32, 27)])
@pytest.mark.parametrize("turn", [1, 6])
def test_a_mask_of_the_same_aspect_is_scaled(tmp_path: Path, size: tuple[int, int], turn: int) -> None:
    """Was: refused with both sizes. Also where EXIF turns the photograph and not the mask."""
    folder = write_mvtec(tmp_path / "bottle", {"crack": 1})
    exif = Image.Exif()
    exif[0x0112] = turn
    save(photograph(50, SIZE), folder / "test/crack/000.png", exif=exif)
    mask = areas(255).resize(size, Image.Resampling.NEAREST)
    save(mask, folder / "ground_truth/crack/000_mask.png")
    product = load_product(folder, PhotographsConfig(fit=Fit.STRETCH), size=80)
    told = [p.message for p in product.report.problems if p.kind is Kind.MASK_SCALED]
    width, height = SIZE if turn == 1 else SIZE[::-1]
    assert told == [f"is {size[0]} x {size[1]}, 000.png {width} x {height}: scaled to that; kept"]
    marked = product.mask(product.defects[0].train[0])
    expected = read_mask(save(areas(255), tmp_path / "m.png"), PLAIN)
    expected = expected if turn == 1 else np.rot90(expected, -1)
    assert (marked & expected).sum() / (marked | expected).sum() > 0.9


@pytest.mark.parametrize("size", [(96, 60), (80, 80), (48, 48), (96, 84)])
def test_a_mask_of_another_aspect_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 2})
    save(photograph(50, SIZE), folder / "test/crack/000.png")
    save(areas(255).resize(size, Image.Resampling.NEAREST), folder / "ground_truth/crack/000_mask.png")
    report = load_product(folder, size=64).report
    told = [p.message for p in report.problems if p.kind is Kind.SIZES_DIFFER]
    assert told == [
        f"expected 96 x 80 as 000.png, or that aspect, found {size[0]} x {size[1]}; the pair is left out."
    ]


def test_black_on_white_is_asked_about_and_read_so(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 1})
    inverted = Image.fromarray(255 - np.asarray(strokes(width=2)))
    save(photograph(50, SIZE), folder / "test/crack/000.png")
    save(inverted, folder / "ground_truth/crack/000_mask.png")
    told = [
        p.message for p in load_product(folder, size=64).report.problems if p.kind is Kind.MASK_NEARLY_FULL
    ]
    assert told == ["covers 91 % of the image: is it inverted? Kept; --masks inverted reads it so"]
    product = load_product(folder, PhotographsConfig(masks=Masks.INVERTED, fit=Fit.STRETCH), size=80)
    assert not [p for p in product.report.problems if p.kind is Kind.MASK_NEARLY_FULL]
    expected = read_mask(save(strokes(width=2), tmp_path / "m.png"), PLAIN)
    marked = product.mask(product.defects[0].train[0])
    assert (marked & expected).sum() / (marked | expected).sum() > 0.95
