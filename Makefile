# One target per job; `make help` lists them.
BIN := target/release
ALGO ?= esrl
# The settings of a stage, and the directory of its run: runs/<name> for configs/tiny,
# runs/<world>/<name> for configs/<world>.
config = $(or $(CONFIG),configs/tiny/$(1).toml)
world = $(filter-out tiny .,$(notdir $(patsubst %/,%,$(dir $(CONFIG)))))
run = $(or $(RUN),runs$(addprefix /,$(world))/$(basename $(notdir $(call config,$(1)))))
# One word for the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
sets := $(foreach s,$(SET),--set $(call quoted,$(s)))
opts = $(sets) $(if $(RESUME),--resume) $(ARGS)
train = --config $(call quoted,$(call config,$(1))) --run $(call quoted,$(call run,$(1))) $(opts)
# A method that was named must be that of the config: ALGO=ppo CONFIG=my/esrl.toml is an error.
named = $(filter command environment,$(firstword $(origin ALGO)))
asked = $(if $(named),--algo $(call quoted,$(ALGO)))
questions = $(call quoted,$(or $(QUESTIONS),data/tiny/questions.jsonl))
compared = $(foreach r,$(or $(RUNS),$(wildcard runs/sft runs/ppo runs/esrl)),$(call quoted,$(r)))

# What a target cannot do without is asked for before anything is built.
needs = $(if $(filter $(1),$(MAKECMDGOALS)),$(if $(strip $($(2))),,$(error \
	make $(1) needs $(2), for example: make $(1) $(3))))
$(call needs,plan,CONFIG,CONFIG=configs/tiny/ppo.toml)
$(call needs,answers,RUN,RUN=runs/sft OUT=answers.jsonl)
$(call needs,score,RUN,RUN=runs/rm DATA=data/tiny/comparisons.json)
$(call needs,score,DATA,RUN=runs/rm DATA=data/tiny/comparisons.json)
$(call needs,replay,RUN,RUN=runs/ppo STEP=20)
$(call needs,replay,STEP,RUN=runs/ppo STEP=20)
$(call needs,merge,RUN,RUN=runs/ppo OUT=merged)
$(call needs,merge,OUT,RUN=runs/ppo OUT=merged)
$(if $(compared),,$(call needs,compare,RUNS,RUNS="runs/sft runs/ppo"))

# Lines of `make help`: `##@ heading`, `target: ## text`, `#@ NAME text`.
help:            ## this list
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5); next } \
		/^#@ / { sub("#@ ", "  "); print; next } \
		/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Train
sft: build       ## fine-tune on demonstrations            CONFIG RUN SET RESUME ARGS
	$(BIN)/sft $(call train,sft)
rm: build        ## train a reward model on pairs          CONFIG RUN SET RESUME ARGS
	$(BIN)/reward-model $(call train,rm)
rlhf: build      ## improve the policy by ALGO             ALGO CONFIG RUN SET RESUME ARGS
	$(BIN)/esrl-rlhf $(call train,$(ALGO)) $(asked)
plan: build      ## memory, disk, tokens, steps of a run   CONFIG SET ARGS="--memory-gb 24"
	$(BIN)/wick plan --config $(call quoted,$(CONFIG)) $(sets) $(ARGS)

##@ Evaluate
answers: build   ## answer FastChat questions              RUN QUESTIONS OUT GREEDY ARGS
	$(BIN)/wick answers --run $(call quoted,$(RUN)) --questions $(questions) \
		--out $(call quoted,$(or $(OUT),answers.jsonl)) $(if $(GREEDY),--greedy) $(ARGS)
compare: build   ## a table of runs                        RUNS OUT QUESTIONS ARGS
	$(BIN)/wick compare --runs $(compared) $(if $(OUT),--out $(call quoted,$(OUT))) \
		$(if $(QUESTIONS),--judge-questions $(questions)) $(ARGS)
score: build     ## score data with a run                  RUN DATA OUT ARGS
	$(BIN)/wick score --run $(call quoted,$(RUN)) --data $(call quoted,$(DATA)) \
		$(if $(OUT),--out $(call quoted,$(OUT))) $(ARGS)
replay: build    ## recompute one RL step, token by token  RUN STEP HTML ARGS
	$(BIN)/wick replay $(call quoted,$(RUN)) --step $(call quoted,$(STEP)) \
		$(if $(HTML),--html $(call quoted,$(HTML))) $(ARGS)
merge: build     ## write a run as one merged model        RUN OUT ARGS
	$(BIN)/wick merge --run $(call quoted,$(RUN)) --out $(call quoted,$(OUT)) $(ARGS)

##@ The tiny world
demo: build      ## the whole pipeline into runs/demo, in 80 seconds
	scripts/demo.sh
demo-short: build ## the same with a few steps per stage
	scripts/demo.sh --short
recipe: build    ## RL with a text metric as the reward    TASK=translation (BLEU), summaries
	scripts/recipe.sh $(or $(TASK),translation)
table: build     ## every method, 3 seeds; continues       SEEDS METHODS OUT JOBS
	scripts/table.sh
experiments: build ## the studies of docs/experiments; continues  NAME
	scripts/experiments.sh $(NAME)
two-stage: build ## time and memory of sampling with and without a graph
	RAYON_NUM_THREADS=1 $(BIN)/examples/two_stage data/tiny/base runs/two-stage
	$(BIN)/wick plot --compared runs/two-stage --y wall_hours peak_memory_gb \
		--title "One gradient of fresh samples (stages × samples)" \
		--x "response length" --out docs/plots/two_stage.svg --force
tiny-world: build ## write the data again (same seed, same bytes)
	$(BIN)/tiny-world generate --out data/tiny
tiny-base: build ## train the base model again
	scripts/tiny-base.sh

##@ Build and test
# With the examples, cargo chooses the features that tests need, and compiles candle once for both.
build:           ## all binaries and examples, optimised, into target/release
	cargo build --release --bins --examples
test:            ## all tests and doctests, with the slowest ten   TEST=filter
	scripts/test.sh $(TEST)
test-external:   ## tests with real models and data         TEST=filter
	cargo test --release --workspace --test external $(TEST)
examples: build  ## run the examples of the libraries
	scripts/examples.sh
check:           ## format, lints, API documentation
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo clippy --release --workspace --test external -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --workspace
docs:            ## the book of docs/ into target/book, links checked
	scripts/docs.sh
crash: build     ## kill and resume every stage, compare bytes  KILLS=50
	scripts/crash.sh
check-long: build ## kills, failing and full disks, flipped bits, large data  KILLS FLIPS GB PARTS
	scripts/check-long.sh
check-clients:   ## transformers, PEFT and real models against ours  PARTS
	scripts/check-clients.sh
check-targets:   ## every target as the first after a clone, 2 hours
	scripts/first-target.sh
fuzz:            ## fuzz the readers of foreign files      SECS=60 TARGET
	scripts/fuzz.sh
smoke: build     ## a real model through every stage, a few steps each  MODEL=qwen
	scripts/smoke.sh
ci:              ## what CI runs
	.ci/run

##@ Benchmarks
bench: build     ## our steps against TRL, transformers and llama.cpp  ARGS
	scripts/fetch-smollm2.sh && scripts/bench/setup.sh $(findstring avx2,$(ARGS))
	$(BIN)/bench compare $(ARGS)
bench-sizes: build ## cost by length, batch, rank, samples and width
	scripts/fetch-smollm2.sh && scripts/bench/setup.sh
	$(BIN)/bench sizes $(ARGS)
seven-b: build   ## a model of 7B's shape through every stage, 19 GB of memory  COMPUTE=int16
	scripts/fetch-tokenizers.sh && scripts/seven-b.sh
bench-ops:       ## each operation against plain candle    NAME=rms_norm
	cargo bench -p ops -p generation $(if $(NAME),-- "$(NAME)")

##@ GPU
cuda:            ## binaries with CUDA into target/cuda/release
	scripts/cuda.sh
cuda-check:      ## type-check the CUDA code without a toolkit
	scripts/cuda-check.sh
kernels:         ## compile the CUDA kernels for sm_80 and sm_90
	scripts/kernels.sh
gpu-proof:       ## on a GPU: correctness, then 7B steps against PyTorch, 10 minutes
	scripts/gpu-proof.sh

##@ Fetch
fetch-smollm2:   ## SmolLM2-135M-Instruct into .models/
	scripts/fetch-smollm2.sh
fetch-qwen:      ## Qwen2.5-Coder-0.5B-Instruct into .models/
	scripts/fetch-qwen.sh
fetch-tokenizers: ## tokenizers of ten models into .models/
	scripts/fetch-tokenizers.sh
fetch-data:      ## Alpaca, GPT-4 comparisons, Vicuna questions into data/real/
	scripts/fetch-data.sh

##@ Variables
#@ ALGO=ppo                    a method of `wick list` (default: esrl)
#@ CONFIG=configs/tiny/ppo.toml  settings (default: configs/tiny/<stage or method>.toml)
#@ SET="train.seed=2 data.path=my.json"  override single settings
#@ RUN=runs/mine               run directory (default: runs/<stage or method>)
#@ RUNS="runs/sft runs/ppo"    runs to compare (default: runs/sft, runs/ppo, runs/esrl)
#@ RESUME=1                    continue an interrupted run from its last checkpoint
#@ OUT, DATA, QUESTIONS, HTML  files or directories, as in `wick COMMAND --help`
#@ MODEL=qwen                  the model of `make smoke` (default: smollm2)
#@ GREEDY=1                    answers without sampling
#@ ARGS="--max-new-tokens 256" further flags of the command

.PHONY: answers bench bench-ops bench-sizes build check check-clients check-long check-targets ci compare crash \
	cuda cuda-check demo demo-short docs examples experiments fetch-data fetch-qwen \
	fetch-smollm2 fetch-tokenizers fuzz gpu-proof help kernels merge plan recipe replay rlhf rm seven-b \
	score sft smoke table test test-external tiny-base tiny-world two-stage
