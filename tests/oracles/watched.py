"""Noise and denoisers that remember what a sampler asked of them."""

import torch


class WatchedNoise:
    """Normals from a fixed stream; remembers every draw and where the Brownian path was asked."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(11)
        self.drawn, self.path, self.asked = [], None, []

    def like(self, x):
        # Drawn in float32 whatever x is, so that runs in both precisions meet the same noise.
        self.drawn.append(torch.randn(x.shape, generator=self.generator).to(x.dtype))
        return self.drawn[-1]

    def brownian(self, x, sigma_min, sigma_max):
        self.path = (float(sigma_min), float(sigma_max))

        def between(a, b):
            self.asked.append((float(a), float(b)))
            return self.like(x)

        return between


class Watched:
    """A denoiser that remembers its calls."""

    def __init__(self, inner):
        self.inner, self.seen = inner, []

    def __call__(self, x, sigma):
        assert sigma.shape == x.shape[:1]
        self.seen.append((float(sigma[0]), x))
        return self.inner(x, sigma)
