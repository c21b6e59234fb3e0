/* A small libnvidia-ml.so.1: one GPU whose mood is the environment variable NVML_STUB. */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, INSUFFICIENT_SIZE = 7, NOT_LOADED = 9, LOST = 15, MISMATCH = 18 };
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute; } process_t;
typedef struct { unsigned int version, sensor; int temperature; } temperature_t;

static int is(const char *mood) {
    const char *set = getenv("NVML_STUB");
    return set && strcmp(set, mood) == 0;
}

int nvmlInitWithFlags(unsigned int flags) {
    if (is("driver-not-loaded")) return NOT_LOADED;
    if (is("version-mismatch")) return MISMATCH;
    if (is("unknown-error")) return 999;
    return is("no-permission") ? NO_PERMISSION : SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int error) { return "stub"; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { strncpy(text, "570.133.20", size); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = is("no-gpu") ? 0 : is("two-one-lost") ? 2 : 1; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    *handle = (void *)(unsigned long)(index + 1);
    return is("device-no-permission") ? NO_PERMISSION : is("two-one-lost") && index == 0 ? LOST : SUCCESS;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned int size) { strncpy(text, "NVIDIA Stub 24GB", size); return SUCCESS; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned int size) { strncpy(text, "GPU-0000-stub", size); return SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    memory->total = 24ULL << 30; memory->used = 3ULL << 30; memory->free = 21ULL << 30;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *use) {
    if (is("mig")) return NOT_SUPPORTED;
    if (is("lost-midway")) return LOST;
    use->gpu = 37; use->memory = 5;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(void *handle, unsigned int sensor, unsigned int *degrees) { *degrees = 51; return SUCCESS; }
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) { *milliwatts = 123456; return SUCCESS; }
#ifndef OLD_DRIVER
int nvmlDeviceGetTemperatureV(void *handle, temperature_t *reading) { reading->temperature = 52; return SUCCESS; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, process_t *found) {
    if (!found) { *count = 2; return INSUFFICIENT_SIZE; }
    memset(found, 0, 2 * sizeof *found);
    found[0].pid = 4242; found[0].used = 2ULL << 30;
    found[1].pid = 4343; found[1].used = ~0ULL;
    *count = 2;
    return SUCCESS;
}
#endif
