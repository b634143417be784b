"""Dense pose, gestures and keypoints: targets follow labels, losses are lowest at the truth, and
one batch can be learnt.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.task_samples import GESTURES, IMAGE_PX, make_batch, make_sample, marked, overfit
from training.heads.dense import DenseHeadConfig
from training.heads.heatmaps import draw_targets
from training.loading.placed import Placement
from training.tasks.dense_points import pixel_centres
from training.tasks.dense_pose import DensePose, DensePoseConfig
from training.tasks.gesture import Gesture, GestureConfig
from training.tasks.keypoints import Keypoints, KeypointsConfig

HEAD = DenseHeadConfig(width=32)
MAP_PX = IMAGE_PX // HEAD.stride_px
GESTURE = Gesture(GestureConfig(classes=GESTURES, label_smoothing=0))
DENSE = DensePose(DensePoseConfig(head=HEAD, geodesic=False))
KEYPOINTS = Keypoints(KeypointsConfig(head=HEAD))


def batch_of(task, *samples):
    arrays = [task.target(label, [placed]) for label, placed in samples]
    return {
        name: torch.from_numpy(np.stack([array[name] for array in arrays])) for name in arrays[0]
    }


def true_dense_outputs(targets, sharpness=50.0):
    """What a perfect head would say where each pixel of the output is a labelled point."""
    num = len(targets["part"])
    part = torch.nn.functional.one_hot(targets["part"].long(), 15).float() * sharpness
    uv = targets["uv"].transpose(1, 2).repeat(1, 14, 1)
    side = (MAP_PX, MAP_PX)
    return {
        "part": part.transpose(1, 2).reshape(num, 15, *side),
        "uv": uv.reshape(num, 28, *side),
    }


def random_dense_outputs(num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "part": torch.randn(num, 15, MAP_PX, MAP_PX, generator=generator),
        "uv": torch.rand(num, 28, MAP_PX, MAP_PX, generator=generator),
    }


def test_one_batch_of_keypoints_is_learnt():
    outputs, targets, rows = overfit(KEYPOINTS)
    figures = KEYPOINTS.summarize(rows)
    assert figures["pck_0.1"] > 0.95 and figures["distance_share_of_box"] < 0.05
    assert math.isnan(figures["found_0.1_left_ear"])  # nowhere labelled
    assert figures["found_0.1_nose"] == 1
    picture = KEYPOINTS.draw(np.zeros((64, 64, 3), np.uint8), outputs, targets, 1)
    assert picture.shape == (64, 128, 3) and picture.any()
    answer = KEYPOINTS.answer(outputs, 1)
    true = targets["keypoints"][1].numpy()
    away = np.abs(answer["keypoints"] - true)[true[:, 2] > 0, :2]
    assert away.max() < 0.05 and answer["names"][0] == "nose"


def test_one_batch_of_hands_is_learnt_from_four_stages():
    task = Keypoints(KeypointsConfig(of="hand", head_kind="dense", head=HEAD))
    _, _, rows = overfit(task, "left_hand")
    assert task.summarize(rows)["pck_0.1"] > 0.95


def test_one_batch_of_gestures_is_learnt():
    outputs, targets, rows = overfit(GESTURE, "right_hand", steps=40)
    figures = GESTURE.summarize(rows)
    assert figures["accuracy"] == 1 and figures["mean_class_accuracy"] == 1
    answer = GESTURE.answer(outputs, 1)
    assert answer["gesture"] == "palm" and sum(answer["probabilities"].values()) == pytest.approx(1)
    assert GESTURE.draw(np.zeros((64, 64, 3), np.uint8), outputs, targets, 1).shape[0] == 64


def test_one_batch_of_dense_poses_is_learnt():
    outputs, targets, rows = overfit(DENSE, steps=90)
    figures = DENSE.summarize(rows)
    assert figures["part_accuracy"] > 0.9 and figures["foreground_iou"] > 0.85
    assert figures["uv_error"] < 0.06
    picture = DENSE.draw(np.zeros((64, 64, 3), np.uint8), outputs, targets, 0)
    assert picture.shape == (64, 5 * 64, 3)
    assert DENSE.answer(outputs, 0)["part"].shape == (MAP_PX, MAP_PX)


def test_dense_losses_and_metrics_are_best_at_the_truth():
    _, targets, _ = make_batch(DENSE)
    true = true_dense_outputs(targets)
    losses, other = DENSE.losses(true, targets), DENSE.losses(random_dense_outputs(4), targets)
    for name in DENSE.factors:
        assert losses[name].abs().max() < 1e-4 < other[name].min()
    rows = DENSE.metrics(true, targets)
    assert (rows["part_accuracy"] == 1).all() and (rows["foreground_iou"] == 1).all()
    assert rows["uv_error"].max() < 1e-5
    shifted = {**true, "uv": true["uv"] + torch.tensor([0.03, 0.04]).repeat(14)[:, None, None]}
    torch.testing.assert_close(
        DENSE.metrics(shifted, targets)["uv_error"], torch.full((4,), 0.05).double()
    )


def test_calling_everything_person_costs_the_background_its_share():
    _, targets, _ = make_batch(DENSE)
    true = true_dense_outputs(targets)
    swollen = {**true, "part": true["part"].clone()}
    swollen["part"][:, 0] = -50
    rows = DENSE.metrics(swollen, targets)
    assert (rows["part_accuracy"] == 1).all() and rows["foreground_iou"].max() < 0.6
    share = (targets["part"] > 0).double().mean(dim=1)
    torch.testing.assert_close(rows["foreground_iou"], share)


def test_marked_points_and_a_map_agree_on_the_person():
    samples = [make_sample(seed)[:2] for seed in range(3)]
    dense = batch_of(DENSE, *samples)
    sparse = batch_of(DENSE, *[(label, marked(placed, 10_000)) for label, placed in samples])
    assert {name: (value.shape, value.dtype) for name, value in dense.items()} == {
        name: (value.shape, value.dtype) for name, value in sparse.items()
    }
    for row in range(3):
        for targets in (dense, sparse):
            assert (targets["weight"][row][targets["part"][row] > 0] == 1).all()
        chosen = [targets["part"][row] > 0 for targets in (dense, sparse)]
        places = [
            targets["place"][row][c] for targets, c in zip((dense, sparse), chosen, strict=True)
        ]
        assert len(places[0]) == len(places[1])
        for name in ("part", "uv"):
            there, here = (
                targets[name][row][c][np.lexsort(place.T.numpy())]
                for targets, c, place in zip((dense, sparse), chosen, places, strict=True)
            )
            torch.testing.assert_close(there, here, atol=1e-5, rtol=0)
    smooth = random_dense_outputs(3)
    smooth = {
        name: value.mean(dim=(2, 3), keepdim=True).expand_as(value)
        for name, value in smooth.items()
    }
    a, b = DENSE.metrics(smooth, dense), DENSE.metrics(smooth, sparse)
    for name in ("part_accuracy", "uv_error"):
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        DENSE.losses(smooth, dense)["uv"], DENSE.losses(smooth, sparse)["uv"], atol=1e-5, rtol=0
    )


def test_points_beside_the_box_are_background_and_none_within():
    label, placed, _ = make_sample(2)
    target = DENSE.target(label, [marked(placed, 20)])
    shown = target["weight"] > 0
    assert (target["part"] > 0).sum() == 20
    background = target["place"][shown & (target["part"] == 0)] * IMAGE_PX
    x0, y0, x1, y1 = placed.label.person_box_px
    within = (background > (x0, y0)).all(axis=1) & (background < (x1, y1)).all(axis=1)
    assert len(background) > 100 and not within.any()


@pytest.mark.parametrize("turn_deg", [0, 30])
def test_marked_points_move_with_the_image(turn_deg):
    label, placed, _ = make_sample(1)
    place = Placement(zoom=1.2, shift_x=0.05, turn_deg=turn_deg)
    dense = DENSE.target(label, [replace(placed, placement=place)])
    sparse = DENSE.target(label, [replace(marked(placed, 500), placement=place)])
    chosen = (sparse["part"] > 0) & (sparse["weight"] > 0)
    cells = np.floor(sparse["place"][chosen] * MAP_PX).astype(int)
    at = cells[:, 1] * MAP_PX + cells[:, 0]
    same = dense["part"][at] == sparse["part"][chosen]
    assert same.mean() > 0.8  # the rest is at borders
    assert np.abs(dense["uv"][at] - sparse["uv"][chosen])[same].max() < 0.12


def test_padded_points_change_nothing():
    label, placed, _ = make_sample(0)
    targets = batch_of(DENSE, (label, marked(placed, 30)))
    padding = targets["weight"] == 0
    assert padding.any()
    other = {name: value.clone() for name, value in targets.items()}
    other["place"][padding], other["part"][padding], other["uv"][padding] = 0.7, 3, 0.9
    outputs = random_dense_outputs(1)
    for function in (DENSE.losses, DENSE.metrics):
        for one, two in zip(
            function(outputs, targets).values(), function(outputs, other).values(), strict=True
        ):
            torch.testing.assert_close(one, two, equal_nan=True)


def test_an_image_without_the_person_has_no_uv_to_learn():
    label, placed, _ = make_sample(0)
    empty = replace(placed, iuv=np.zeros_like(placed.iuv))
    targets = batch_of(DENSE, (label, empty))
    weights, losses = DENSE.weights(targets), DENSE.losses(random_dense_outputs(1), targets)
    assert weights["part"] == 1 and weights["uv"] == 0
    assert all(value.isfinite().all() for value in losses.values())
    assert DENSE.metrics(random_dense_outputs(1), targets)["part_accuracy"].isnan().all()


def test_output_pixels_are_listed_row_by_row():
    centres = pixel_centres(4)
    np.testing.assert_allclose(centres[1] * 4, (1.5, 0.5))
    np.testing.assert_allclose(centres[4] * 4, (0.5, 1.5))


def test_another_chart_and_absent_labels_are_refused():
    label, placed, _ = make_sample(0, chart="densepose")
    with pytest.raises(ValueError, match=r"sample0 .* 'densepose', not 'anny': set task\.chart"):
        DENSE.target(label, [placed])
    with pytest.raises(ValueError, match="no dense labels"):
        DENSE.target(label, [replace(placed, iuv=None)])
    with pytest.raises(ValueError, match="there are: densepose, anny"):
        DensePoseConfig(chart="smpl")


def test_a_chart_without_its_mesh_says_so_and_gives_the_other_figures():
    task = DensePose(DensePoseConfig(chart="densepose", head=HEAD))
    label, placed, _ = make_sample(0, chart="densepose")
    targets = batch_of(task, (label, marked(placed, 30)))
    generator = torch.Generator().manual_seed(0)
    outputs = {
        "part": torch.randn(1, 25, MAP_PX, MAP_PX, generator=generator),
        "uv": torch.rand(1, 48, MAP_PX, MAP_PX, generator=generator),
    }
    with pytest.warns(UserWarning, match=r"UV_Processed\.mat"):
        rows = task.metrics(outputs, targets)
    assert rows["gps"].isnan().all() and rows["uv_error"].isfinite().all()


def test_distances_on_the_body_are_those_of_the_anny_mesh():
    pytest.importorskip("anny")
    from training.bodies.anny_rig import reference
    from training.tasks.chart_surface import surface_of_chart

    surface = surface_of_chart("anny")
    vertices, _ = reference()
    torch.manual_seed(0)
    part = torch.randint(1, 15, (1, 60))
    uv = torch.rand(1, 60, 2)
    at_truth = surface.judge(part, uv, part, uv)
    assert at_truth["gps"].item() == 1 and at_truth["geodesic_median_cm"].item() == 0
    background = surface.judge(torch.zeros_like(part), uv, part, uv)
    assert background["gps"].item() == 0
    nothing = surface.judge(part, uv, torch.zeros_like(part), uv)
    assert nothing["gps"].isnan().all()
    # From the head to a foot it is farther than straight through the air, but no detour.
    head, foot = torch.tensor([[1]]), torch.tensor([[8]])
    middle = torch.full((1, 1, 2), 0.5)
    ends = [surface._table.nearest_vertex(one, middle)[0, 0].item() for one in (head, foot)]
    straight_cm = 100 * np.linalg.norm(vertices[ends[0]] - vertices[ends[1]])
    along_cm = surface.judge(head, middle, foot, middle)["geodesic_median_cm"].item()
    assert straight_cm < along_cm < 1.6 * straight_cm


def test_average_precision_counts_each_person_once_and_the_unjudged_not_at_all():
    rows = {
        "gps": torch.tensor([0.72, 0.1, torch.nan]),
        "gpsm": torch.tensor([torch.nan] * 3),
        "sureness": torch.tensor([0.9, 0.8, 0.95]),
    }
    figures = DENSE.summarize(rows)
    # One of two is found, the surer one, at the five thresholds from 0.5 to 0.7.
    assert figures["ap_gps"] == pytest.approx(5 / 10 * 51 / 101)
    assert figures["ar_gps"] == pytest.approx(5 / 10 * 1 / 2)
    assert np.isnan(figures["ap_gpsm"]) and figures["gps_count"] == 2


def test_a_person_that_is_not_seen_is_not_sure():
    _, targets, _ = make_batch(DENSE)
    outputs = random_dense_outputs(len(targets["part"]))
    assert (DENSE.metrics(outputs, targets)["sureness"] > 1 / 15).all()
    outputs["part"][:, 0] = 50.0  # background everywhere
    assert (DENSE.metrics(outputs, targets)["sureness"] == 0).all()


def test_keypoint_loss_is_lowest_at_the_truth_and_unsure_keypoints_count_less():
    _, targets, _ = make_batch(KEYPOINTS)
    sigma = KEYPOINTS.config.sigma_px
    true = draw_targets(targets["keypoints"][..., :2], MAP_PX, sigma).clamp(min=1e-20).log()
    loss = KEYPOINTS.losses({"heatmaps": true}, targets)["heatmap"]
    off = true.roll(2, dims=3)
    off_loss = KEYPOINTS.losses({"heatmaps": off}, targets)["heatmap"]
    assert loss.abs().max() < 1e-4 < off_loss.min()
    one_off = true.clone()
    one_off[:, 5] = off[:, 5]
    unsure = {**targets, "keypoints": targets["keypoints"].clone()}
    unsure["keypoints"][:, 5, 2] = 0.1
    full = KEYPOINTS.losses({"heatmaps": one_off}, targets)["heatmap"]
    assert (KEYPOINTS.losses({"heatmaps": one_off}, unsure)["heatmap"] < 0.2 * full).all()


def test_keypoints_outside_of_the_image_are_not_asked_for():
    label, placed, _ = make_sample(0)
    placed = replace(placed, placement=Placement(shift_x=0.6))
    target = KEYPOINTS.target(label, [placed])
    inside = (target["keypoints"][:, :2] >= 0).all(axis=1) & (target["keypoints"][:, :2] < 1).all(
        axis=1
    )
    assert not inside.all()
    assert (target["keypoints"][~inside, 2] == 0).all()


def test_hands_are_not_bodies():
    label, placed, _ = make_sample(0, "left_hand")
    with pytest.raises(ValueError, match=r"21 keypoints, but those of a body are 17: set task\.of"):
        KEYPOINTS.target(label, [placed])


def test_a_gesture_that_is_not_listed_is_named():
    label, placed, _ = make_sample(0, "left_hand")
    assert GESTURE.target(label, [placed])["class"] == 0
    with pytest.raises(ValueError, match=r"'wave', which is not one of task\.classes: fist"):
        GESTURE.target(replace(label, gesture="wave"), [placed])
    with pytest.raises(ValueError, match="no gesture"):
        GESTURE.target(replace(label, gesture=None), [placed])
    with pytest.raises(ValueError, match="2 or more"):
        Gesture(GestureConfig())


def test_mean_class_accuracy_counts_rare_classes_alike():
    targets = {"class": torch.tensor([0, 0, 0, 1])}
    outputs = {"logits": torch.eye(3)[torch.tensor([0, 0, 0, 2])]}
    rows = GESTURE.metrics(outputs, targets)
    figures = GESTURE.summarize(rows)
    assert figures["accuracy"] == 0.75 and figures["mean_class_accuracy"] == 0.5
    counts = GESTURE.confusion(rows).numpy()
    assert counts.tolist() == [[3, 0, 0], [0, 0, 1], [0, 0, 0]]
