"""The workloads of workloads.ts in PyTorch, on the same card.

Reads {"quick", "workloads": [{"id", "kind", ...}]} from stdin and writes {"version", "seconds": {id: {setting: seconds}}, "errors"} to
stdout. "PyTorch" is float32 throughout (TF32 off), or the storage format of the row; "PyTorch TF32" allows tensor cores to round products
of float32, "PyTorch f16" computes in float16. Times are CUDA events around many calls queued at once, medians of repeats.
"""

import json
import statistics
import sys

import torch
import torch.nn.functional as F

device = torch.device("cuda")


def set_tf32(allowed):
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def time_calls(run, quick):
    """Median seconds of a call."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()

    def calls(count):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000 / count

    target, repeats = (0.02, 2) if quick else (0.1, 9)
    count = max(1, min(1000, round(target / max(1e-7, calls(1)))))
    calls(count)
    return statistics.median(calls(count) for _ in range(repeats))


def uniform(*shape, scale=1.0):
    return (torch.rand(*shape, device=device) * 2 - 1) * scale


def gemm(size, weights, **_):
    a, b = uniform(size, size), uniform(size, size)
    if weights == "float32":
        return {"PyTorch": lambda: a @ b, "PyTorch TF32": ("tf32", lambda: a @ b)}
    # There is no product of float32 with float16 weights: both sides are float16, on tensor cores.
    half_a, half_b = a.half(), b.half()
    return {"PyTorch f16": lambda: F.linear(half_a, half_b)}


def elementwise(operation, size, **_):
    a, b = uniform(size), uniform(size)
    return {
        "PyTorch": {
            "add": lambda: a + b,
            "exp": lambda: torch.exp(a),
            "chain": lambda: torch.exp(a * b + a) * 0.5,
        }[operation]
    }


def row_wise(operation, rows, columns, **_):
    x, weight = uniform(rows, columns), uniform(columns)
    if operation == "softmax":
        return {"PyTorch": lambda: torch.softmax(x, -1)}
    return {"PyTorch": lambda: F.rms_norm(x, (columns,), weight, 1e-5)}


def gemv(outputs, inputs, weights, **_):
    if weights not in ("float32", "float16"):
        raise NotImplementedError("PyTorch has no product with weights in groups of 32")
    dtype = torch.float32 if weights == "float32" else torch.float16
    x, weight = uniform(1, inputs).to(dtype), uniform(outputs, inputs).to(dtype)
    return {"PyTorch": lambda: F.linear(x, weight)}


def attention(heads, queries, keys, headDim, gradient, **_):
    def settings(dtype):
        q, k, v = (uniform(1, heads, length, headDim).to(dtype).requires_grad_(gradient) for length in (queries, keys, keys))
        causal = queries == keys
        if not gradient:
            return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        weight = uniform(1, heads, queries, headDim).to(dtype)

        def run():
            (F.scaled_dot_product_attention(q, k, v, is_causal=causal) * weight).sum().backward()
            q.grad = k.grad = v.grad = None

        return run

    run = settings(torch.float32)
    return {"PyTorch": run, "PyTorch TF32": ("tf32", run), "PyTorch f16": settings(torch.float16)}


def rfft2(batch, rows, columns, **_):
    x = uniform(batch, rows, columns)
    return {"PyTorch": lambda: torch.fft.rfft2(x)}


def scan(batch, sequence, channels, state, **_):
    """No fused scan in PyTorch itself: the recurrence, one step after another (mamba-ssm is a package of its own)."""
    x, delta = uniform(batch, sequence, channels), uniform(batch, sequence, channels) * 0.05 + 0.05
    a, b, c = uniform(channels, state) * 0.5 - 0.5, uniform(batch, sequence, state), uniform(batch, sequence, state)

    def run():
        h = torch.zeros(batch, channels, state, device=device)
        outputs = []
        for t in range(sequence):
            step = delta[:, t, :, None]
            h = torch.exp(step * a) * h + step * b[:, t, None, :] * x[:, t, :, None]
            outputs.append((h * c[:, t, None, :]).sum(-1))
        return torch.stack(outputs, 1)

    return {"PyTorch": run}


def adam_w(size, **_):
    parameter = torch.nn.Parameter(uniform(size))
    parameter.grad = uniform(size)
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    return {"PyTorch": optimizer.step}


def overhead(operations, **_):
    """Microseconds that the CPU needs to launch a small kernel."""
    import time

    a, b = torch.full((8, 8), 0.5, device=device), torch.full((8, 8), 0.1, device=device)

    def run(count):
        for _ in range(count):
            torch.softmax(torch.exp(a + b), -1)

    run(200)
    torch.cuda.synchronize()
    started = time.perf_counter()
    run(operations // 3)
    seconds = (time.perf_counter() - started) / (operations // 3 * 3)
    torch.cuda.synchronize()
    return {"PyTorch": seconds}


class Block(torch.nn.Module):
    def __init__(self, hidden, heads, key_heads, intermediate, dtype=torch.float32):
        super().__init__()
        self.heads, self.key_heads, self.head_dim = heads, key_heads, hidden // heads
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False, device=device, dtype=dtype)
        self.query, self.output = linear(hidden, hidden), linear(hidden, hidden)
        self.key, self.value = (linear(hidden, key_heads * self.head_dim) for _ in range(2))
        self.gate, self.up, self.down = linear(hidden, intermediate), linear(hidden, intermediate), linear(intermediate, hidden)
        self.norm1, self.norm2 = (torch.nn.Parameter(torch.ones(hidden, device=device, dtype=dtype)) for _ in range(2))

    def forward(self, x, cosine, sine, cache=None, position=0):
        batch, length, hidden = x.shape
        y = F.rms_norm(x, (hidden,), self.norm1, 1e-5)
        split = lambda t, heads: t.view(batch, length, heads, self.head_dim).transpose(1, 2)
        q, k, v = split(self.query(y), self.heads), split(self.key(y), self.key_heads), split(self.value(y), self.key_heads)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if cache is not None:
            cache[0][:, :, position : position + length], cache[1][:, :, position : position + length] = k, v
            k, v = cache[0][:, :, : position + length], cache[1][:, :, : position + length]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1, enable_gqa=self.heads != self.key_heads)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, hidden))
        y = F.rms_norm(x, (hidden,), self.norm2, 1e-5)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def rotate(x, cosine, sine):
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1)


class Llama(torch.nn.Module):
    def __init__(self, vocabulary, hidden, intermediate, layers, heads, key_heads, context, dtype=torch.float32):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, hidden, device=device, dtype=dtype)
        self.blocks = torch.nn.ModuleList(Block(hidden, heads, key_heads, intermediate, dtype) for _ in range(layers))
        self.norm = torch.nn.Parameter(torch.ones(hidden, device=device, dtype=dtype))
        self.head = torch.nn.Linear(hidden, vocabulary, bias=False, device=device, dtype=dtype)
        head_dim = hidden // heads
        angles = torch.outer(
            torch.arange(context, device=device), 10000 ** (-torch.arange(0, head_dim, 2, device=device) / head_dim)
        )
        self.cosine, self.sine = angles.cos().to(dtype), angles.sin().to(dtype)

    def forward(self, ids, caches=None, position=0):
        x = self.embedding(ids)
        rows = slice(position, position + ids.shape[1])
        for i, block in enumerate(self.blocks):
            x = block(x, self.cosine[rows], self.sine[rows], None if caches is None else caches[i], position)
        if caches is not None:
            x = x[:, -1:]
        return self.head(F.rms_norm(x, (x.shape[-1],), self.norm, 1e-5))


sizes = {
    "stories15m": dict(vocabulary=32000, hidden=288, intermediate=768, layers=6, heads=6, key_heads=6, context=256),
    "llama-1.1b": dict(vocabulary=32000, hidden=2048, intermediate=5632, layers=22, heads=32, key_heads=4, context=2048),
}


def generate(model, weights, tokens, **_):
    """Eager greedy generation with a key-value cache, random weights of the model's shape; the id comes to the host, as ours does."""
    if weights not in ("float32", "float16"):
        raise NotImplementedError("PyTorch has no product with weights in groups of 32")
    dtype = torch.float32 if weights == "float32" else torch.float16
    shape = sizes[model]
    network = Llama(**shape, dtype=dtype).requires_grad_(False)
    head_dim = shape["hidden"] // shape["heads"]

    def run():
        caches = [
            [torch.zeros(1, shape["key_heads"], tokens + 8, head_dim, device=device, dtype=dtype) for _ in range(2)]
            for _ in range(shape["layers"])
        ]
        ids, position = [1, 9038, 2501, 263, 931], 0
        with torch.inference_mode():
            for _ in range(tokens):
                logits = network(torch.tensor([ids], device=device), caches, position)
                position += len(ids)
                ids = [int(logits[0, -1].argmax())]

    return {"PyTorch": run}


def train(shape, **_):
    """Eager whole step: loss, gradients, clipping to norm 1, fused AdamW."""
    model = Llama(
        shape["vocabularySize"], shape["hiddenSize"], shape["intermediateSize"], shape["layers"], shape["heads"], shape["heads"],
        shape["sequenceLength"],
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(0, shape["vocabularySize"], (shape["batchSize"], shape["sequenceLength"] + 1), device=device)

    def run():
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return {"PyTorch": run, "PyTorch TF32": ("tf32", run)}


kinds = {
    "gemm": gemm, "elementwise": elementwise, "rowWise": row_wise, "gemv": gemv, "attention": attention, "rfft2": rfft2,
    "scan": scan, "adamW": adam_w, "overhead": overhead, "generate": generate, "train": train,
}


def main():
    request = json.load(sys.stdin)
    seconds, errors = {}, {}
    for workload in request["workloads"]:
        identifier = workload.pop("id")
        kind = workload.pop("kind")
        try:
            rows = {}
            for setting, run in kinds[kind](**workload).items():
                tf32, run = (True, run[1]) if isinstance(run, tuple) else (False, run)
                set_tf32(tf32)
                rows[setting] = run if isinstance(run, float) else time_calls(run, request["quick"])
            seconds[identifier] = rows
        except Exception as error:  # noqa: BLE001: a row without a number must not cost the others theirs
            errors[identifier] = str(error).split("\n")[0]
        torch.cuda.empty_cache()
        print(f"  PyTorch {identifier}", file=sys.stderr)
    version = f"{torch.__version__} (CUDA {torch.version.cuda}, {torch.cuda.get_device_name()})"
    json.dump({"version": version, "seconds": seconds, "errors": errors}, sys.stdout)


main()
