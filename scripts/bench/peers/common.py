"""What the peers share: the job (JSON on the command line), the rows, the setting, step timing, what was trained, and the one line of JSON they answer."""
import contextlib, hashlib, json, os, resource, struct, sys, time

job = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(job["threads"])
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", WANDB_DISABLED="true", TRL_EXPERIMENTAL_SILENCE="1")
import torch
import transformers

torch.set_num_threads(job["threads"])
transformers.logging.set_verbosity_error()

PRECISIONS = {"f32": "float32", "bf16 autocast": "float32", "bf16 weights": "bfloat16"}
dtype = PRECISIONS[job["precision"]]
autocast = job["precision"] == "bf16 autocast"


def mixed_precision():
    """What a forward without a trainer runs in."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if autocast else contextlib.nullcontext()


def tokenizer():
    tok = transformers.AutoTokenizer.from_pretrained(job["model"])
    tok.pad_token = tok.eos_token if tok.pad_token is None else tok.pad_token
    return tok


def lora(task):
    from peft import LoraConfig

    modules = ["score"] if task == "SEQ_CLS" else None
    return LoraConfig(r=job["rank"], lora_alpha=2 * job["rank"], lora_dropout=0.0, target_modules=job["targets"], task_type=task, modules_to_save=modules)


def rows():
    """The rows of all steps in the order in which they are trained: lists of sequences with "ids" and "labels"."""
    with open(job["rows"]) as file:
        lines = [json.loads(line) for line in file]
    n = job["steps"] * job["batch"]
    assert len(lines) >= n, f"{job['rows']} has {len(lines)} rows, {n} are needed"
    return lines[:n]


def settings(**more):
    """The settings of every trainer; all others are defaults."""
    return dict(
        output_dir=job["out"], max_steps=job["steps"], use_cpu=True, bf16=autocast, report_to=[], save_strategy="no",
        logging_steps=1, disable_tqdm=True, learning_rate=1e-4, seed=1, dataloader_pin_memory=False,
        gradient_checkpointing=job["checkpointing"], **more,
    )


class Trained:
    """The sequences that a trainer trained on: how many, their tokens and labels, and a hash of both."""

    def __init__(self):
        self.sequences = self.tokens = self.labels = 0
        self.hash = hashlib.sha256()

    def add(self, ids, labels=None):
        """labels: the id itself where it is learnt, -100 elsewhere; none are if left out."""
        ids = [int(id) for id in ids]
        labels = [-100] * len(ids) if labels is None else [int(label) for label in labels]
        self.sequences += 1
        self.tokens += len(ids)
        self.labels += sum(label != -100 for label in labels)
        self.hash.update(struct.pack(f"<I{len(ids)}I{len(labels)}i", len(ids), *ids, *labels))

    def add_padded(self, ids, mask, labels=None):
        for row in range(len(ids)):
            keep = mask[row].bool()
            self.add(ids[row][keep].tolist(), None if labels is None else labels[row][keep].tolist())

    def report(self):
        return dict(sequences=self.sequences, tokens=self.tokens, labels=self.labels, sha256=self.hash.hexdigest())


def in_order(trainer, record):
    """A trainer that visits the rows as they are and calls `record(inputs)` with each batch it trains on."""

    class InOrder(trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def compute_loss(self, model, inputs, *args, **kwargs):
            record(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)

    return InOrder


class Clock(transformers.TrainerCallback):
    """Seconds of each step, from its first micro-batch to the end of its update."""

    def __init__(self):
        self.secs = []

    def on_step_begin(self, *_, **__):
        self.began = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.secs.append(time.perf_counter() - self.began)


def losses(trainer):
    return [float(row["loss"]) for row in trainer.state.log_history if "loss" in row]


def answer(secs, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"secs": secs, "peak_gb": peak, **more}))
