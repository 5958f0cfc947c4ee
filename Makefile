# The phone book: one line per job. Variables: CONFIG, SET="a.b=1 c.d=2", RUN, RESUME=1, ALGO=<a method of esrl-rlhf --list>, and ARGS for
# any further flags of the binary, such as ARGS="--max-new-tokens 256".
BIN := target/release
ALGO ?= esrl
# The settings of a stage, and where its run goes: runs/<stage> for the tiny world, runs/<world>/<stage> for configs/<world>.
config = $(or $(CONFIG),configs/tiny/$(1).toml)
world = $(filter-out tiny .,$(notdir $(patsubst %/,%,$(dir $(CONFIG)))))
run = $(or $(RUN),runs$(addprefix /,$(world))/$(basename $(notdir $(call config,$(1)))))
stage = $(if $(filter sft pretrain,$(1)),sft,$(if $(filter rm,$(1)),reward-model,esrl-rlhf))
sets := $(foreach s,$(SET),--set '$(s)')
opts = $(sets) $(if $(RESUME),--resume) $(ARGS)

.PHONY: docs help plan bench bench-ops bench-sizes fuzz crash replay build sft rm rlhf answers compare table experiments two-stage score merge demo demo-short recipe tiny-world tiny-base test test-external check cuda gpu-proof cuda-check kernels smoke fetch-smollm2 fetch-data ci

help:           ## this list
	@grep -hE '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 16
build:          ## all binaries, release
	cargo build --release --bins
sft: build      ## fine-tune        CONFIG=configs/tiny/sft.toml RUN=runs/sft
	$(BIN)/sft --config $(call config,sft) --run $(call run,sft) $(opts)
rm: build       ## reward model     CONFIG=configs/tiny/rm.toml RUN=runs/rm
	$(BIN)/reward-model --config $(call config,rm) --run $(call run,rm) $(opts)
rlhf: build     ## any method       ALGO=esrl CONFIG=configs/tiny/$(ALGO).toml RUN=runs/$(ALGO)
	$(BIN)/esrl-rlhf --config $(call config,$(ALGO)) --run $(call run,$(ALGO)) $(opts)
plan: build     ## predict a run    CONFIG=configs/llama-7b/ppo.toml [ARGS="--memory-gb 24"]: memory, disk, tokens, steps, learning rate, no weight read
	$(BIN)/$(call stage,$(basename $(notdir $(CONFIG)))) plan --config $(CONFIG) $(sets) $(ARGS)
answers: build  ## answer questions RUN=runs/esrl QUESTIONS=data/tiny/questions.jsonl OUT=answers.jsonl [GREEDY=1]
	$(BIN)/evaluate answers --run $(RUN) --questions $(or $(QUESTIONS),data/tiny/questions.jsonl) --out $(or $(OUT),answers.jsonl) $(if $(GREEDY),--greedy) $(ARGS)
table: build    ## every method, 3 seeds  SEEDS="1 2 3" METHODS="esrl ppo" OUT=runs/table JOBS=2; goes on where it stopped
	scripts/table.sh
experiments: build ## the studies of docs/experiments/running.md  NAME="elimination sizes" (default: all); goes on where it stopped
	scripts/experiments.sh $(NAME)
two-stage:      ## seconds and memory of sampling with and without a graph
	cargo build --release --bins --example two_stage -p esrl-rlhf -p evaluate
	RAYON_NUM_THREADS=1 $(BIN)/examples/two_stage data/tiny/base runs/two-stage
	$(BIN)/evaluate plot --compared runs/two-stage --y wall_hours peak_memory_gb --title "One gradient of fresh samples (stages × samples)" --x "response length" --out docs/plots/two_stage.svg
crash: build    ## kill and resume  runs of each stage, KILLS=50 times each, compared byte for byte
	scripts/crash.sh
replay: build   ## a step once more RUN=runs/ppo STEP=12 [HTML=step-12.html]
	$(BIN)/esrl-rlhf replay $(RUN) --step $(STEP) $(if $(HTML),--html $(HTML)) $(ARGS)
compare: build  ## table of runs    RUNS="runs/sft runs/ppo runs/esrl" [QUESTIONS=file.jsonl, for a judge]
	$(BIN)/evaluate compare --runs $(or $(RUNS),$(wildcard runs/sft runs/ppo runs/esrl)) $(if $(OUT),--out $(OUT)) $(if $(QUESTIONS),--judge-questions $(QUESTIONS)) $(ARGS)
score: build    ## score a run      RUN=runs/rm DATA=file.json
	$(BIN)/evaluate score --run $(RUN) --data $(DATA) $(if $(OUT),--out $(OUT)) $(ARGS)
merge: build    ## merged model     RUN=runs/esrl OUT=dir
	$(BIN)/evaluate merge --run $(RUN) --out $(OUT) $(ARGS)
demo: build     ## the whole pipeline on the tiny world, into runs/demo (made anew each time)
	scripts/demo.sh
demo-short: build ## the same with a few steps each
	scripts/demo.sh --short
recipe: build   ## a task with a metric as reward: TASK=translation (BLEU) or summaries (ROUGE-L), into runs/tiny-$(TASK)
	scripts/recipe.sh $(or $(TASK),translation)
tiny-world: build ## write the tiny world's data again (same seed, same bytes)
	$(BIN)/tiny-world generate --out data/tiny
tiny-base: build ## train the tiny world's base again
	scripts/tiny-base.sh
test:           ## all tests        doctests too; nothing outside the clone is needed; TEST=filter
	scripts/test.sh $(TEST)
test-external:  ## tests with SmolLM2 and data/real  (make fetch-smollm2, make fetch-data) TEST=filter
	cargo test --release --workspace --test external $(TEST)
fuzz:           ## hostile files    SECS=60 for each reader of foreign files; TARGET=gguf for one (docs/trust.md)
	scripts/fuzz.sh
bench: build    ## beside TRL, transformers, llama.cpp; ESRL beside PPO  ARGS="--rounds 1 --only sft_step esrl_vs_ppo"; the first time installs them into .bench/
	scripts/fetch-smollm2.sh && scripts/bench/setup.sh
	$(BIN)/bench compare $(ARGS)
bench-sizes: build ## cost by size  length, batch, rank, samples, width: a table, docs/bench/*-sizes.json and docs/plots/cost.svg; 10 minutes
	scripts/fetch-smollm2.sh && scripts/bench/setup.sh
	$(BIN)/bench sizes $(ARGS)
bench-ops:      ## each operation   beside its plain candle form  NAME=rms_norm; every one: 2-3 minutes
	cargo bench -p ops -p generation $(if $(NAME),-- "$(NAME)")
check:          ## format, lints, docs
	cargo fmt --all --check && cargo clippy --release --workspace --all-targets -- -D warnings && cargo clippy --release --workspace --test external -- -D warnings && RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --workspace
docs:           ## the book of docs/ into target/book, its links checked
	scripts/docs.sh
cuda:           ## binaries for cards into target/cuda/release (docs/cuda.md): takes NVIDIA's compiler, installed into .cuda/ where it is missing
	scripts/cuda.sh
kernels:        ## compile our CUDA kernels for sm_80 and sm_90, warnings as errors
	scripts/kernels.sh
gpu-proof:      ## on a card: operations, pipelines, 7B steps and decoding beside PyTorch, one table, 10 minutes (docs/cuda.md)
	scripts/gpu-proof.sh
cuda-check:     ## type-check the CUDA build without a toolkit
	scripts/cuda-check.sh
fetch-smollm2:  ## SmolLM2-135M-Instruct into .models/
	scripts/fetch-smollm2.sh
fetch-data:     ## Alpaca, GPT-4 comparisons, Vicuna questions into data/real/
	scripts/fetch-data.sh
smoke: build    ## the real model through every stage, a few steps each
	scripts/smoke.sh
ci:             ## what CI runs
	.ci/run
