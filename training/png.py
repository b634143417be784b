"""The bytes of a picture, as every command of training writes them."""

import cv2
import numpy as np
import numpy.typing as npt


def encode_png(picture_HW3: npt.NDArray[np.uint8]) -> bytes:
    """The PNG file of an RGB picture."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture_HW3, cv2.COLOR_RGB2BGR))
    assert done, "encoding in memory does not fail"
    return data.tobytes()
