"""Writes SmolLM2's GGUF as a Hugging Face directory of bf16 weights, as the model was published, which
both sides then read: model.py FILE.gguf OUT"""
import pathlib, sys

from tokenizers.pre_tokenizers import Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

path, out = pathlib.Path(sys.argv[1]), sys.argv[2]
load = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name)
tokenizer = AutoTokenizer.from_pretrained(**load)
# transformers leaves out that SmolLM2 splits numbers into digits.
backend = tokenizer.backend_tokenizer
backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])
tokenizer.save_pretrained(out)
model = AutoModelForCausalLM.from_pretrained(**load, dtype="float32").bfloat16()
model.hf_quantizer = None  # the weights are no longer quantised
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
