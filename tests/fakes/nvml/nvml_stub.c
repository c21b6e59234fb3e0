/* A libnvidia-ml.so.1 whose GPUs are the lines of the file named by NVML_STUB, read anew at each call.
 *
 * key=value with keys like `gpus`, `0.temperature`, `0.process.0`; `0.temperature!=3` makes that call answer
 * with code 3, `0.temperature?=1` makes it hang. Without the file there is one GPU with the defaults below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, SMALL = 7, TIMEOUT = 10 };
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute; } process_t;
typedef struct { unsigned int version, sensor; int temperature; } temperature_t;
typedef struct { void *device; unsigned long long type, data; unsigned int instance, compute; } event_t;
typedef struct { unsigned int id, scope; long long at, latency; int type, result; unsigned long long value; } field_t;

static char devices[8];
static unsigned int told; /* lines `xid.N` that an event set has given out */

static int look(const char *key, char *value, size_t size) {
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    size_t length = strlen(key);
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, key, length) && line[length] == '=') {
            snprintf(value, size, "%s", line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}
static unsigned long long number(const char *key, unsigned long long otherwise) {
    char value[256];
    return look(key, value, sizeof value) ? strtoull(value, NULL, 0) : otherwise;
}
static void name_key(char *key, size_t size, int index, const char *reading) {
    if (index < 0) snprintf(key, size, "%s", reading);
    else snprintf(key, size, "%d.%s", index, reading);
}
static unsigned long long of(int index, const char *reading, unsigned long long otherwise) {
    char key[128];
    name_key(key, sizeof key, index, reading);
    return number(key, otherwise);
}
static int begin(int index, const char *reading) {
    char key[128], marked[130];
    name_key(key, sizeof key, index, reading);
    snprintf(marked, sizeof marked, "%s?", key);
    while (number(marked, 0)) usleep(1000);
    snprintf(marked, sizeof marked, "%s!", key);
    return (int)number(marked, OK);
}
static int text(int index, const char *reading, const char *otherwise, char *out, unsigned int size) {
    char key[128], value[256];
    name_key(key, sizeof key, index, reading);
    snprintf(out, size, "%s", look(key, value, sizeof value) ? value : otherwise);
    return begin(index, reading);
}
static int index_of(void *handle) { return (int)((char *)handle - devices); }
static int value_of(void *handle, const char *reading, unsigned long long otherwise, unsigned int *out) {
    *out = (unsigned int)of(index_of(handle), reading, otherwise);
    return begin(index_of(handle), reading);
}
static int processes(void *handle, const char *kind, unsigned int *count, process_t *found) {
    int index = index_of(handle), code = begin(index, kind);
    unsigned int held = 0;
    char key[128], value[256];
    if (code) return code;
    for (;; held++) {
        snprintf(key, sizeof key, "%d.%s.%u", index, kind, held);
        if (!look(key, value, sizeof value)) break;
        if (found && held < *count) {
            char *rest;
            memset(&found[held], 0, sizeof found[held]);
            found[held].pid = (unsigned int)strtoul(value, &rest, 10);
            found[held].used = *rest == ' ' ? strtoull(rest + 1, NULL, 0) : ~0ULL;
        }
    }
    if (!found && held) { *count = held; return SMALL; }
    *count = held;
    return OK;
}

int nvmlInitWithFlags(unsigned int flags) { return begin(-1, "init"); }
int nvmlShutdown(void) { return begin(-1, "shutdown"); }
const char *nvmlErrorString(int error) { return "stub"; }
int nvmlSystemGetDriverVersion(char *out, unsigned int size) { return text(-1, "driver", "570.133.20", out, size); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = (int)number("cuda", 12080); return begin(-1, "cuda"); }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = (unsigned int)number("gpus", 1); return begin(-1, "gpus"); }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) { *handle = devices + index; return begin((int)index, "handle"); }
int nvmlDeviceGetName(void *handle, char *out, unsigned int size) { return text(index_of(handle), "name", "NVIDIA Stub 24GB", out, size); }
int nvmlDeviceGetUUID(void *handle, char *out, unsigned int size) {
    char otherwise[32];
    snprintf(otherwise, sizeof otherwise, "GPU-%04d-stub", index_of(handle));
    return text(index_of(handle), "uuid", otherwise, out, size);
}
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    int index = index_of(handle);
    memory->total = of(index, "total", 24ULL << 30);
    memory->used = of(index, "used", 3ULL << 30);
    memory->free = memory->total - memory->used;
    return begin(index, "memory");
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *use) {
    use->memory = 5;
    return value_of(handle, "utilisation", 37, &use->gpu);
}
int nvmlDeviceGetTemperature(void *handle, unsigned int sensor, unsigned int *degrees) { return value_of(handle, "temperature", 51, degrees); }
int nvmlDeviceGetTemperatureThreshold(void *handle, int kind, unsigned int *degrees) {
    return kind == 1 ? value_of(handle, "slowdown", 93, degrees) : NOT_SUPPORTED;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) { return value_of(handle, "power", 123456, milliwatts); }
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned int *milliwatts) { return value_of(handle, "limit", 450000, milliwatts); }
int nvmlDeviceGetClockInfo(void *handle, int kind, unsigned int *megahertz) {
    return kind == 1 ? value_of(handle, "clock", 2520, megahertz) : value_of(handle, "memory-clock", 10501, megahertz);
}
int nvmlDeviceGetMaxClockInfo(void *handle, int kind, unsigned int *megahertz) { return value_of(handle, "clock-max", 3105, megahertz); }
int nvmlDeviceGetEccMode(void *handle, int *now, int *pending) {
    unsigned int on;
    int code = value_of(handle, "ecc", 1, &on);
    *now = *pending = (int)on;
    return code;
}
int nvmlDeviceGetTotalEccErrors(void *handle, int kind, int counter, unsigned long long *errors) {
    *errors = kind == 1 && counter == 0 ? of(index_of(handle), "uncorrected", 0) : 99;
    return begin(index_of(handle), "uncorrected");
}
int nvmlDeviceGetMigMode(void *handle, unsigned int *now, unsigned int *pending) { *pending = 0; return value_of(handle, "mig", 0, now); }
int nvmlEventSetCreate(void **set) { *set = devices; told = 0; return begin(-1, "events"); }
int nvmlEventSetFree(void *set) { return OK; }
int nvmlDeviceRegisterEvents(void *handle, unsigned long long kinds, void *set) {
    return kinds == 8 ? begin(index_of(handle), "register") : NOT_SUPPORTED;
}
int nvmlEventSetWait_v2(void *set, event_t *event, unsigned int timeout_ms) {
    /* `xid.N=GPU NUMBER`: each line is told once, in order. */
    char key[32], value[256], *rest;
    int code = begin(-1, "wait");
    if (code) return code;
    snprintf(key, sizeof key, "xid.%u", told);
    if (!look(key, value, sizeof value)) return TIMEOUT;
    told++;
    memset(event, 0, sizeof *event);
    event->device = devices + strtoul(value, &rest, 10);
    event->type = 8;
    event->data = strtoull(rest, NULL, 10);
    return OK;
}
#ifndef OLD_DRIVER
int nvmlDeviceGetTemperatureV(void *handle, temperature_t *reading) { return value_of(handle, "temperature", 52, (unsigned int *)&reading->temperature); }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, process_t *found) { return processes(handle, "process", count, found); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned int *count, process_t *found) { return processes(handle, "drawing", count, found); }
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons) {
    *reasons = of(index_of(handle), "throttle", 0);
    return begin(index_of(handle), "throttle");
}
int nvmlDeviceGetFieldValues(void *handle, int count, field_t *fields) {
    for (int each = 0; each < count; each++) {
        fields[each].result = fields[each].id == 230 ? begin(index_of(handle), "recovery") : NOT_SUPPORTED;
        fields[each].value = of(index_of(handle), "recovery", 0);
    }
    return OK;
}
#else
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons) { *reasons = of(index_of(handle), "throttle", 4); return OK; }
#endif
