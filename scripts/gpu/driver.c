// A fake driver for scripts/gpu/driver-check.sh. Its environment sets its answers: DRIVER (version), INIT
// (status), CARDS ("name:capability name:capability").
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *name, int fallback) {
    const char *text = getenv(name);
    return text ? atoi(text) : fallback;
}

// Name and capability of GPU `at`. Returns the number of GPUs.
static int gpu(int at, char *name, int *capability) {
    char text[256] = "", *rest = text;
    if (getenv("CARDS")) strncpy(text, getenv("CARDS"), sizeof text - 1);
    int n = 0;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest), n++) {
        if (n == at) {
            sscanf(word, "%99[^:]:%d", name, capability);
            return n;
        }
    }
    return n;
}

int cuDriverGetVersion(int *version) { *version = number("DRIVER", 13000); return 0; }
int cuInit(unsigned flags) { (void)flags; return number("INIT", 0); }
int cuDeviceGet(int *device, int at) { *device = at; return 0; }
int cuGetErrorName(int status, const char **text) { (void)status; *text = "CUDA_ERROR_PLANTED"; return 0; }
int cuGetErrorString(int status, const char **text) { (void)status; *text = "planted"; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int at) { (void)at; *bytes = 80000000000; return 0; }

int cuDeviceGetCount(int *count) {
    char name[100];
    int capability;
    *count = gpu(-1, name, &capability);
    return 0;
}

int cuDeviceGetName(char *text, int room, int at) {
    char name[100] = "";
    int capability;
    gpu(at, name, &capability);
    snprintf(text, room, "%s", name);
    return 0;
}

int cuDeviceGetAttribute(int *value, int which, int at) {
    char name[100];
    int capability = 0;
    gpu(at, name, &capability);
    *value = which == 75 ? capability / 10 : which == 76 ? capability % 10 : 0;  // major, minor
    return 0;
}
