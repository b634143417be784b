"""Dense poses: geodesic point similarity (GPS), alone and with the mask (GPSm).

The similarity is DensePose's (Guler et al., CVPR 2018): what IoU is for boxes, for points on the
body's surface. Average precision over it is in `average_precision.py`, distances in `surface.py`.

Shapes: B instances, P annotated points of each, padded.
"""

from torch import Tensor

KAPPA_M = 0.255  # one point off by 30 cm has a similarity of 0.5


def gps(distance_BP_m: Tensor) -> Tensor:
    """Return the geodesic point similarity of instances, (B,), 0 to 1, in float64.

    The mean over an instance's annotated points of exp(-d^2 / (2 kappa^2)), d the distance in
    metres along the body's surface between the predicted and the true place of the point
    (`SurfaceDistances.between_m`): infinite for a point taken for background. Points whose distance
    is NaN (no truth) do not count; NaN for instances without points.

    Kappa is 0.255 m as in the paper. COCO's 2019 evaluation has one for each part: figures of the
    two do not compare.
    """
    similarity_BP = (-distance_BP_m.double().square() / (2 * KAPPA_M**2)).exp()
    return similarity_BP.nanmean(dim=1)


def gpsm(gps_B: Tensor, mask_iou_B: Tensor) -> Tensor:
    """Return the masked similarity (B,), 0 to 1: the root of GPS times the IoU of the masks.

    COCO's 2019 evaluation, against predictions that call everything a body: GPS looks at annotated
    points alone.
    """
    return (gps_B * mask_iou_B).sqrt()
