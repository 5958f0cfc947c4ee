"""What the peers share: the job (JSON on the command line), the rows, step timing, and the one line of JSON they answer."""
import json, os, resource, sys, time

job = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(job["threads"])
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", WANDB_DISABLED="true", TRL_EXPERIMENTAL_SILENCE="1")
import torch
import transformers

torch.set_num_threads(job["threads"])
transformers.logging.set_verbosity_error()


def tokenizer():
    tok = transformers.AutoTokenizer.from_pretrained(job["model"])
    tok.pad_token = tok.eos_token if tok.pad_token is None else tok.pad_token
    return tok


def lora(task):
    from peft import LoraConfig

    modules = ["score"] if task == "SEQ_CLS" else None
    return LoraConfig(r=job["rank"], lora_alpha=2 * job["rank"], lora_dropout=0.0, target_modules=job["targets"], task_type=task, modules_to_save=modules)


def rows():
    with open(job["rows"]) as file:
        return [json.loads(line) for line in file]


def settings(**more):
    """The settings of every trainer; all others are defaults."""
    return dict(
        output_dir=job["out"], max_steps=job["steps"], use_cpu=True, bf16=False, report_to=[], save_strategy="no",
        logging_steps=1, disable_tqdm=True, learning_rate=1e-4, seed=1, dataloader_pin_memory=False, **more,
    )


class Clock(transformers.TrainerCallback):
    """Seconds of each step, from its first micro-batch to the end of its update."""

    def __init__(self):
        self.secs = []

    def on_step_begin(self, *_, **__):
        self.began = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.secs.append(time.perf_counter() - self.began)


def answer(secs, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"secs": secs, "peak_gb": peak, **more}))
