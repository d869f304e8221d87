"""peer_torch.py - the training step of bench.c's section `step`, in PyTorch: same shapes, random
weights and tokens, tied head, AdamW. Prints tokens per second, the median of its steps.

    python3 tests/peer_torch.py gpt2|small [--as-installed]

Without --as-installed it starts itself over with what had to be set by hand to make it fast: memory
that is kept and reused instead of given back after every step, huge pages for it, the widest
vectors, threads that do not fight over the cores. What is set already stays. The BLAS below it is
the system's choice: on Debian openblas-openmp is fast (update-alternatives --config
libblas.so.3-x86_64-linux-gnu); openblas-pthread, where both are installed, was seen to hang."""
import os
import sys
import time

SHAPES = {  # layers, width, heads, vocabulary, sequences, tokens, steps
    "gpt2": (12, 768, 12, 50257, 4, 64, 7),
    "small": (4, 256, 8, 512, 16, 256, 9),
}
TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:"
                      "glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456",
    "ATEN_CPU_CAPABILITY": "avx512" if "avx512f" in open("/proc/cpuinfo").read() else "avx2",
    "GOMP_SPINCOUNT": "5000",
}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    tuned = "--as-installed" not in sys.argv
    if tuned and os.environ.get("PEER_TORCH_TUNED") != "1":
        os.environ.pop("OPENBLAS_CORETYPE", None)
        os.environ.update(dict(TUNED, **os.environ), PEER_TORCH_TUNED="1")
        os.execv(sys.executable, [sys.executable] + sys.argv)
    import torch
    import torch.nn.functional as F

    layers, width, heads, vocabulary, B, T, steps = SHAPES[sys.argv[1]]
    if tuned:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    torch.manual_seed(1)

    def matrix(rows, cols):
        return (0.02 * torch.randn(rows, cols)).requires_grad_()

    def vector(n, value):
        return torch.full((n,), value).requires_grad_()

    wte, wpe = matrix(vocabulary, width), matrix(1024, width)
    norm = [vector(width, 1.0), vector(width, 0.0)]
    blocks = []
    for _ in range(layers):
        blocks.append({
            "n1": [vector(width, 1.0), vector(width, 0.0)],
            "n2": [vector(width, 1.0), vector(width, 0.0)],
            "qkv": [matrix(3 * width, width), vector(3 * width, 0.0)],
            "o": [matrix(width, width), vector(width, 0.0)],
            "up": [matrix(4 * width, width), vector(4 * width, 0.0)],
            "down": [matrix(width, 4 * width), vector(width, 0.0)],
        })
    matrices = [wte, wpe] + [b[k][0] for b in blocks for k in ("qkv", "o", "up", "down")]
    vectors = norm + [v for b in blocks for k in b for v in b[k] if v.dim() == 1]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-4, betas=(0.9, 0.95), eps=1e-8)
    hidden = torch.full((T, T), float("-inf")).triu(1)
    tokens = torch.randint(vocabulary, (B, T + 1))

    def step():
        x = wte[tokens[:, :-1]] + wpe[:T]
        for b in blocks:
            h = F.layer_norm(x, (width,), *b["n1"], 1e-5)
            q, k, v = F.linear(h, *b["qkv"]).view(B, T, 3, heads, -1).permute(2, 0, 3, 1, 4)
            a = torch.softmax(q @ k.transpose(-1, -2) * (width // heads) ** -0.5 + hidden, -1) @ v
            x = x + F.linear(a.transpose(1, 2).reshape(B, T, width), *b["o"])
            h = F.layer_norm(x, (width,), *b["n2"], 1e-5)
            x = x + F.linear(F.gelu(F.linear(h, *b["up"]), approximate="tanh"), *b["down"])
        logits = F.linear(F.layer_norm(x, (width,), *norm, 1e-5), wte)
        loss = F.cross_entropy(logits.view(B * T, -1), tokens[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(matrices + vectors, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)

    seconds = []
    for i in range(steps + 2):
        begin = time.perf_counter()
        step()
        if i >= 2:
            seconds.append(time.perf_counter() - begin)
    print("%.1f" % (B * T / sorted(seconds)[len(seconds) // 2]))


main()
