"""The net: a small residual backbone, a top-down neck and an anchor-free head at strides 8, 16 and 32."""

import torch
from torch import nn
from torch.nn import functional

STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU: ReLU because ONNX Runtime fuses it into the convolution on a CPU."""

    def __init__(self, inputs, outputs, size=3, stride=1, groups=1):
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, momentum=0.03, eps=1e-3),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """A bottleneck with a shortcut (He et al. 2015, section 4.1), two 3x3 convolutions instead of one."""

    def __init__(self, channels, narrow):
        super().__init__()
        self.body = nn.Sequential(Conv(channels, narrow), Conv(narrow, channels))

    def forward(self, x):
        return x + self.body(x)


class Branch(nn.Sequential):
    """A light head branch: two depthwise separable convolutions, then one value per output."""

    def __init__(self, channels, outputs):
        super().__init__(
            Conv(channels, channels, groups=channels),
            Conv(channels, channels, size=1),
            Conv(channels, channels, groups=channels),
            Conv(channels, channels, size=1),
            nn.Conv2d(channels, outputs, 1),
        )


class Detector(nn.Module):
    """Input (batch, 3, height, width) RGB 0..1, height and width multiples of 32.

    `forward` gives raw class scores (batch, anchors, classes) before the sigmoid and boxes (batch, anchors, 4) as
    x1, y1, x2, y2 in input pixels, with anchors of stride 8 first, row by row.
    """

    def __init__(self, classes, width=48):
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 16, stride=2), Conv(16, 24, stride=2))
        self.stage8 = nn.Sequential(Conv(24, 40, stride=2), Residual(40, 20))
        self.stage16 = nn.Sequential(Conv(40, 64, stride=2), Residual(64, 32))
        self.stage32 = nn.Sequential(Conv(64, 80, stride=2), Residual(80, 40))
        self.narrow = nn.ModuleList(Conv(channels, width, size=1) for channels in (40, 64, 80))
        self.smooth = nn.ModuleList(Conv(width, width) for _ in range(2))
        self.classes = nn.ModuleList(Branch(width, classes) for _ in STRIDES)
        self.sides = nn.ModuleList(Branch(width, 4) for _ in STRIDES)
        for branch, stride in zip(self.classes, STRIDES):
            nn.init.constant_(branch[-1].bias, -4.6 - 0.3 * (32 // stride - 1))

    def forward(self, images):
        scores, boxes = [], []
        for level, features in enumerate(self._pyramid(images)):
            scores.append(self.classes[level](features).flatten(2).transpose(1, 2))
            boxes.append(_boxes(self.sides[level](features), STRIDES[level]))
        return torch.cat(scores, 1), torch.cat(boxes, 1)

    def _pyramid(self, images):
        """Feature maps at strides 8, 16, 32, coarse ones added to finer ones (Lin et al. 2017, section 3)."""
        c8 = self.stage8(self.stem(images))
        c16 = self.stage16(c8)
        p32 = self.narrow[2](self.stage32(c16))
        p16 = self.smooth[1](self.narrow[1](c16) + _double(p32))
        p8 = self.smooth[0](self.narrow[0](c8) + _double(p16))
        return p8, p16, p32


def _double(features):
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


def _boxes(sides, stride):
    """Distances from a cell's centre to the four sides, positive, in strides (Tian et al. 2019, FCOS, section 3.1)."""
    distance = functional.softplus(sides) * (2 * stride)
    centre = cell_centres(sides.shape[2], sides.shape[3], stride, sides.device)
    distance = distance.flatten(2).transpose(1, 2)
    return torch.cat([centre - distance[..., :2], centre + distance[..., 2:]], -1)


def cell_centres(rows, columns, stride, device):
    """(rows * columns, 2) x and y of cell centres in input pixels."""
    x = (torch.arange(columns, device=device) + 0.5) * stride
    y = (torch.arange(rows, device=device) + 0.5) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y], -1).reshape(-1, 2)


def folded(conv):
    """One convolution with bias that does what a trained `Conv` does before its ReLU."""
    weight, norm = conv[0], conv[1]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    single = nn.Conv2d(
        weight.in_channels, weight.out_channels, weight.kernel_size, weight.stride, weight.padding, groups=weight.groups
    )
    single.weight.data = weight.weight * scale[:, None, None, None]
    single.bias.data = norm.bias - norm.running_mean * scale
    return single


def fold_normalisation(module):
    """Replace every `Conv`'s pair of layers by the folded one, in place."""
    for child in module.modules():
        if isinstance(child, Conv):
            child[0], child[1] = folded(child), nn.Identity()
    return module
