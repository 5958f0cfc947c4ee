// Every kernel of the project, one module.
#include "rms_norm.cuh"
#include "element_wise.cuh"
#include "attention.cuh"
#include "decode.cuh"
#include "head.cuh"
#include "sample.cuh"
#include "blocks.cuh"
