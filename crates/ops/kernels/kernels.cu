// Every kernel of the project, compiled as one module.
#include "rms_norm.cuh"
#include "element_wise.cuh"
#include "attention.cuh"
#include "decode.cuh"
#include "head.cuh"
#include "sample.cuh"
#include "quantised_blocks.cuh"
