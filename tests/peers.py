"""peers.py - other programs beside dual: whole training steps and decoding, in turns.

    python3 tests/peers.py BENCH [ROUNDS]       BENCH: build/bench; make bench-peers calls this

Each program is one that its user has built; a variable says where it is. What is not named is left
out. None of them is needed for anything else.

    LLMC        folder of llm.c with train_gpt2 in it (its main has B = 4, T = 64)
    LLMC_SMALL  the same, with B = 16 and T = 256
    LLAMA2C     folder of llama2.c with run and tokenizer.bin
    QWEN3C      folder of a qwen3.c that reads F32 (gigit0000's) with run, header.txt, vocab.txt
    LLAMACPP    folder with llama.cpp's llama-bench
    TORCH=0     leave PyTorch out; it is tried where `import torch` works

Weights are random, in files of each program's format that this script writes once to PEER_FILES
(default build/peers, up to 5 GB). Every round runs dual, then each peer; a ratio is the median of
the rounds' own ratios, since what else the machine does changes from minute to minute."""
import array
import json
import os
import pty
import random
import re
import statistics
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = os.path.abspath(os.environ.get("PEER_FILES", "build/peers"))


# ---- Files of random weights ---------------------------------------------------------------------

class Weights:
    """Writes runs of numbers: one block of random ones over and over, or a constant."""

    def __init__(self, file):
        self.file = file
        draw = random.Random(1)
        self.block = array.array("f", (draw.uniform(-0.035, 0.035) for _ in range(1 << 18)))

    def noise(self, count):
        for at in range(0, count, len(self.block)):
            self.block[:min(len(self.block), count - at)].tofile(self.file)

    def constant(self, count, value):
        array.array("f", [value] * count).tofile(self.file)

    def table_without(self, rows, width, row):
        """A table of embeddings that is also the head, in which `row` is zero: it never wins."""
        self.noise(row * width)
        self.constant(width, 0)
        self.noise((rows - row - 1) * width)


def once(name, write):
    """The path of a file, written whole under another name first."""
    path = os.path.join(FILES, name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as f:
            write(f)
        os.rename(path + ".new", path)
    return path


def llmc_weights(layers, width, heads, vocabulary):
    padded = (vocabulary + 127) // 128 * 128

    def write(f):
        header = [20240326, 3, 1024, vocabulary, layers, heads, width, padded]
        f.write(struct.pack("<256i", *header, *[0] * (256 - len(header))))
        w = Weights(f)
        w.noise((padded + 1024) * width)
        for count, value in ((width, 1), (width, 0), (3 * width * width, None), (3 * width, 0),
                             (width * width, None), (width, 0), (width, 1), (width, 0),
                             (4 * width * width, None), (4 * width, 0), (4 * width * width, None),
                             (width, 0)):
            w.noise(layers * count) if value is None else w.constant(layers * count, value)
        w.constant(width, 1)
        w.constant(width, 0)
    return write


def llmc_tokens(vocabulary):
    def write(f):
        n = 1 << 17
        draw = random.Random(2)
        f.write(struct.pack("<256i", 20240520, 1, n, *[0] * 253))
        array.array("H", (draw.randrange(vocabulary) for _ in range(n))).tofile(f)
    return write


def llama2c_weights(f):
    """llama2.c's 110M: BOS (token 1) ends a text, so its row is zero."""
    width, inner, layers, heads, vocabulary, length = 768, 2048, 12, 12, 32000, 1024
    f.write(struct.pack("<7i", width, inner, layers, heads, heads, vocabulary, length))
    w = Weights(f)
    w.table_without(vocabulary, width, 1)
    w.constant(layers * width, 1)
    w.noise(layers * 4 * width * width)
    w.constant(layers * width, 1)
    w.noise(layers * 3 * width * inner)
    w.constant(width, 1)
    w.constant(length * width // heads, 0)     # where tables of the rotation once were


QWEN = {"width": 1024, "inner": 3072, "layers": 28, "heads": 16, "kv": 8, "hd": 128,
        "vocabulary": 151936}


def qwen3c_weights(f):
    """What it finds behind a header of fixed length: head, norm, embeddings, then layers in the
    alphabetical order of their names. 151645 would end the answer."""
    q, w = QWEN, Weights(f)
    d, kv, inner = q["width"], q["kv"] * q["hd"], q["inner"]
    f.write(bytes(5951648))
    w.table_without(q["vocabulary"], d, 151645)
    w.constant(d, 1)
    w.noise(q["vocabulary"] * d)
    for _ in range(q["layers"]):
        w.noise(d * kv)
        w.constant(q["hd"] + d, 1)
        w.noise(2 * d * q["heads"] * q["hd"])
        w.constant(q["hd"], 1)
        w.noise(d * kv + 2 * d * inner)
        w.constant(d, 1)
        w.noise(d * inner)


def gguf_weights(width, inner, layers, heads, kv, hd, vocabulary):
    """A llama without vocabulary, tied: llama-bench feeds it random tokens."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    def number(key, value):
        return text(key) + struct.pack("<II", 4, value)

    def real(key, value):
        return text(key) + struct.pack("<If", 6, value)

    def string(key, value):
        return text(key) + struct.pack("<I", 8) + text(value)

    keys = [string("general.architecture", "llama"), string("general.name", "random"),
            number("llama.context_length", 1024), number("llama.embedding_length", width),
            number("llama.block_count", layers), number("llama.feed_forward_length", inner),
            number("llama.attention.head_count", heads), number("llama.vocab_size", vocabulary),
            number("llama.attention.head_count_kv", kv), number("llama.attention.key_length", hd),
            number("llama.attention.value_length", hd), number("llama.rope.dimension_count", hd),
            real("llama.attention.layer_norm_rms_epsilon", 1e-6),
            string("tokenizer.ggml.model", "no_vocab")]
    tensors = [("token_embd.weight", (width, vocabulary)), ("output_norm.weight", (width,))]
    for i in range(layers):
        for name, shape in (("attn_norm", (width,)), ("attn_q", (width, heads * hd)),
                            ("attn_k", (width, kv * hd)), ("attn_v", (width, kv * hd)),
                            ("attn_output", (heads * hd, width)), ("ffn_norm", (width,)),
                            ("ffn_gate", (width, inner)), ("ffn_up", (width, inner)),
                            ("ffn_down", (inner, width))):
            tensors.append(("blk.%d.%s.weight" % (i, name), shape))

    def write(f):
        at, head = 0, struct.pack("<IIQQ", 0x46554747, 3, len(tensors), len(keys)) + b"".join(keys)
        for name, shape in tensors:
            head += text(name) + struct.pack("<I", len(shape))
            head += struct.pack("<%dQ" % len(shape), *shape) + struct.pack("<IQ", 0, at)
            count = shape[0] * (shape[1] if len(shape) == 2 else 1)
            at += (4 * count + 31) // 32 * 32
        f.write(head + bytes(-len(head) % 32))
        w = Weights(f)
        for name, shape in tensors:
            if len(shape) == 1:
                w.constant(shape[0], 1)
            else:
                w.noise(shape[0] * shape[1])
    return write


# ---- Running a peer: each returns tokens per second ----------------------------------------------

def run_llmc(folder, layers, width, heads, vocabulary, tokens):
    """It reads fixed names below its working folder and prints the time of every step. Stopped
    after a few: at the 20th it would generate text, for which it wants a tokenizer."""
    place = "llmc-%d" % width
    once(place + "/gpt2_124M.bin", llmc_weights(layers, width, heads, vocabulary))
    for part in ("train", "val"):
        once(place + "/dev/data/tinyshakespeare/tiny_shakespeare_%s.bin" % part,
             llmc_tokens(vocabulary))
    took, (ours_end, its_end) = [], pty.openpty()      # to a terminal it prints line by line
    with subprocess.Popen([os.path.abspath(os.path.join(folder, "train_gpt2"))],
                          cwd=os.path.join(FILES, place), stdout=its_end) as p:
        os.close(its_end)
        with open(ours_end) as lines:
            while len(took) < 6:
                line = lines.readline()
                if not line:
                    raise RuntimeError("train_gpt2 ended early")
                found = re.match(r"step \d+: .*\(took ([\d.]+) ms\)", line)
                if found:
                    took.append(float(found.group(1)) / 1000)
        p.kill()
    return tokens / statistics.median(took[1:])


def run_llama2c(folder):
    file = once("llama2c-110m.bin", llama2c_weights)
    out = subprocess.run([os.path.join(folder, "run"), file, "-n", "64", "-t", "0", "-z",
                          os.path.join(folder, "tokenizer.bin")], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True, check=True).stderr
    return float(re.search(r"achieved tok/s: ([\d.]+)", out).group(1))


def run_qwen3c(folder):
    """A chat without end. It flushes after each token, so the pieces that arrive are counted."""
    file = once("qwen3c-0.6b.gguf", qwen3c_weights)
    with subprocess.Popen([os.path.abspath(os.path.join(folder, "run")), file, "-t", "0"],
                          cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        p.stdin.write(b"\nhello\n")
        p.stdin.flush()
        answer, times = b"", []
        while len(times) < 26:
            piece = os.read(p.stdout.fileno(), 4096)
            if not piece:
                raise RuntimeError("qwen3.c ended early: %r" % answer[-80:])
            if b"A: " in answer:
                times.append(time.perf_counter())
            answer += piece
        p.kill()
    return 24 / (times[25] - times[1])


def run_llamacpp(folder, name, *shape):
    file = once(name, gguf_weights(*shape))
    out = subprocess.run([os.path.join(folder, "llama-bench"), "-m", file, "-p", "0", "-n", "32",
                          "-r", "2", "-t", str(threads()), "-o", "json"], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, check=True).stdout
    return json.loads(out)[0]["avg_ts"]


def run_torch(shape, *more):
    out = subprocess.run([sys.executable, os.path.join(HERE, "peer_torch.py"), shape, *more],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(out)


def threads():
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))


# ---- In turns ------------------------------------------------------------------------------------

GPT2, SMALL = "GPT-2 124M, 4 x 64", "4 layers, width 256, 16 x 256"
STORIES, QWEN3 = "110M, llama2.c's, one stream", "Qwen3-0.6B, one stream"


def peers():
    """(section of bench, its figure's name, peer's name, function)"""
    where = os.environ.get
    found = []
    if where("LLMC"):
        found.append(("step", GPT2, "llm.c",
                      lambda: run_llmc(where("LLMC"), 12, 768, 12, 50257, 256)))
    if where("LLMC_SMALL"):
        found.append(("step", SMALL, "llm.c",
                      lambda: run_llmc(where("LLMC_SMALL"), 4, 256, 8, 512, 4096)))
    if where("TORCH") != "0" and subprocess.run([sys.executable, "-c", "import torch"],
                                                stderr=subprocess.DEVNULL).returncode == 0:
        for name, shape in ((GPT2, "gpt2"), (SMALL, "small")):
            found.append(("step", name, "PyTorch, tuned", lambda s=shape: run_torch(s)))
            found.append(("step", name, "PyTorch, as installed",
                          lambda s=shape: run_torch(s, "--as-installed")))
    if where("LLAMA2C"):
        found.append(("decode", STORIES, "llama2.c", lambda: run_llama2c(where("LLAMA2C"))))
    if where("QWEN3C"):
        found.append(("decode", QWEN3, "qwen3.c", lambda: run_qwen3c(where("QWEN3C"))))
    if where("LLAMACPP"):
        found.append(("decode", STORIES, "llama.cpp, F32", lambda: run_llamacpp(
            where("LLAMACPP"), "llama-110m.gguf", 768, 2048, 12, 12, 12, 64, 32000)))
        found.append(("decode", QWEN3, "llama.cpp, F32", lambda: run_llamacpp(
            where("LLAMACPP"), "llama-0.6b.gguf", *[QWEN[k] for k in QWEN])))
    return found


def ours(bench, section):
    out = subprocess.run([bench, "--only", section, "--json"], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, check=True).stdout
    return {f["name"]: f["value"] for f in json.loads(out) if f["section"] == section}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    os.environ.pop("OPENBLAS_CORETYPE", None)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found = peers()
    if not found:
        print("\nother programs: none named (see tests/peers.py)")
        return
    print("\nother programs, tokens/s, medians of %d rounds; ratio: dual over the peer" % rounds)
    for section in ("step", "decode"):
        here = [p for p in found if p[0] == section]
        mine, theirs, ratio = {}, {}, {}
        for i in range(rounds if here else 0):
            now = ours(sys.argv[1], section)
            for _, name, peer, run in here:
                print("  round %d of %d: %s, %s" % (i + 1, rounds, peer, name), file=sys.stderr)
                speed = run()
                mine.setdefault(name, []).append(now[name])
                theirs.setdefault((name, peer), []).append(speed)
                ratio.setdefault((name, peer), []).append(now[name] / speed)
        for name, peer in theirs:
            print("  %-34s dual %8.1f  %-22s %8.1f  ratio %5.2f" % (
                name, statistics.median(mine[name]), peer, statistics.median(theirs[name, peer]),
                statistics.median(ratio[name, peer])), flush=True)


main()
