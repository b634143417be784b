"""From the uint8 pixels of a batch to what the model eats, on the batch's device: windows cut,
colours changed, backgrounds replaced, values normalized.

Shapes: B images, H = W pixels, L values of a `Look`, G cells along a foreground map's side.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Background = Literal["keep", "grey"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # weights of R, G, B in a pixel's grey
EDGE_STEEPNESS = 4.0  # of a cut-out person's opacity over the share of the cell that is person


def finish_images(
    pixels_BHW3: Tensor,
    looks_BL: Tensor,
    cells_BGG: Tensor,
    image_px: int,
    background: Background,
    compiled: bool = False,
) -> Tensor:
    """Return the model's input (B, 3, image_px, image_px) float32, normalized as ImageNet is.

    `pixels_BHW3` are uint8 RGB, cut to their windows or whole; `looks_BL` holds what was drawn for
    each; `cells_BGG`, uint8, is the share of each cell of the uncut image that is the person.
    Compiled, it takes 0.6 ms instead of 3.5 of a step's 180 on an H200 (CroCo v2 base, 256 pairs).
    """
    device = pixels_BHW3.device
    finish = _compiled_finish() if compiled else _finish
    # In half precision the places of what is cut out would be wrong by a part of a cell. What is
    # made once must be made out here: within, the compiler would make it in every step.
    with torch.autocast(device.type, enabled=False):
        return finish(pixels_BHW3, looks_BL, cells_BGG, *_imagenet(device), image_px, background)


@lru_cache
def _compiled_finish() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_finish)
    return compiled


def _finish(
    pixels_BHW3: Tensor,
    looks_BL: Tensor,
    cells_BGG: Tensor,
    mean_311: Tensor,
    std_311: Tensor,
    image_px: int,
    background: Background,
) -> Tensor:
    if pixels_BHW3.shape[1] != image_px:
        pixels_BHW3 = cut_windows(pixels_BHW3, looks_BL, image_px)
    x_B3HW = pixels_BHW3.permute(0, 3, 1, 2).float() / 255
    brightness_B, contrast_B, saturation_B, grey_B = looks_BL[:, 3:].unbind(1)
    x_B3HW = jitter_colours(x_B3HW, brightness_B, contrast_B, saturation_B).clamp(0, 1)
    if background == "grey":
        alpha_B1HW = cut_out(cells_BGG, looks_BL[:, :3], image_px)
        grey_B111 = grey_B[:, None, None, None]
        x_B3HW = grey_B111 + alpha_B1HW * (x_B3HW - grey_B111)
    return (x_B3HW - mean_311) / std_311


def cut_windows(pixels_BHW3: Tensor, looks_BL: Tensor, image_px: int) -> Tensor:
    """Cut windows of `image_px` pixels out of whole images, as `cut_window` does for one."""
    full_px = pixels_BHW3.shape[1]
    corner_B2 = (looks_BL[:, :2] * full_px).round().long().clamp(max=full_px - image_px)
    along = torch.arange(image_px, device=pixels_BHW3.device)
    columns_BW, rows_BH = corner_B2[:, :1] + along, corner_B2[:, 1:] + along
    samples_B = torch.arange(len(pixels_BHW3), device=pixels_BHW3.device)
    return pixels_BHW3[samples_B[:, None, None], rows_BH[:, :, None], columns_BW[:, None]]


def jitter_colours(
    x_B3HW: Tensor, brightness_B: Tensor, contrast_B: Tensor, saturation_B: Tensor
) -> Tensor:
    """Scale brightness, contrast around the mean grey, then saturation around each pixel's grey.

    Values are 0..1 and may leave it. The first two steps are one scale and shift.
    """
    mean_grey_B = brightness_B * _grey(x_B3HW.mean(dim=(2, 3)))
    scale_B, shift_B = brightness_B * contrast_B, (1 - contrast_B) * mean_grey_B
    x_B3HW = x_B3HW * scale_B[:, None, None, None] + shift_B[:, None, None, None]
    grey_B1HW = _grey(x_B3HW)[:, None]
    return torch.lerp(grey_B1HW, x_B3HW, saturation_B[:, None, None, None])


def cut_out(cells_BGG: Tensor, windows_B3: Tensor, image_px: int) -> Tensor:
    """Opacity 0..1 of each pixel, (B, 1, H, W): a steep step where the person's share passes 1/2.

    Half-covered cells show what is behind the person: shown at half opacity, they would be a halo.
    `windows_B3` are left, top and side as shares of the uncut image's side.
    """
    left_B, top_B, side_B = windows_B3.unbind(1)
    zeros_B = torch.zeros_like(side_B)
    to_x, to_y = 2 * left_B + side_B - 1, 2 * top_B + side_B - 1  # the window's centre in -1..1
    theta_B23 = torch.stack([side_B, zeros_B, to_x, zeros_B, side_B, to_y], dim=1).view(-1, 2, 3)
    places = F.affine_grid(theta_B23, [len(theta_B23), 1, image_px, image_px], align_corners=False)
    shares_B1GG = cells_BGG[:, None].float() / 255
    share_B1HW = F.grid_sample(
        shares_B1GG, places, mode="bilinear", padding_mode="border", align_corners=False
    )
    return (EDGE_STEEPNESS * (share_B1HW - 0.5) + 0.5).clamp(0, 1)


def to_pixels(x_B3HW: Tensor) -> Tensor:
    """Turn the model's input back into uint8 RGB images (B, H, W, 3): what it was shown."""
    mean_311, std_311 = _imagenet(x_B3HW.device)
    x_B3HW = x_B3HW * std_311 + mean_311
    return (x_B3HW * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _grey(rgb: Tensor) -> Tensor:
    """The grey of colours along dimension 1."""
    red, green, blue = rgb.unbind(1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


@lru_cache
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and deviation, made once: a copy to a GPU waits for all that was started."""
    mean_3, std_3 = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], device=device)
    return mean_3[:, None, None], std_3[:, None, None]
