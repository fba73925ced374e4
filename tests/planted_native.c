/* A native backend that misbehaves: doubles its input "x", and does the deed that its configuration
 * names where the first sample is BAD. With -DASYNCHRONOUS it answers from threads of its own. */
#define _DEFAULT_SOURCE
#include <bytemlperf/backend.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION BYTEMLPERF_ABI_VERSION
#endif
#define BAD 3.0f

static volatile int* volatile nowhere = NULL;

struct bytemlperf_instance {
    const bytemlperf_host* host;
    char deed[32];
    uint32_t batch_size;
};

/* One batch and its answer; the asynchronous ones are answered at any time. */
typedef struct job {
    bytemlperf_instance* self;
    bytemlperf_handle handle;
    uint32_t samples;
    const float* x;
    float y[256];
    uint16_t halves[256];
    int64_t shape[2];
    bytemlperf_tensor tensor;
    bytemlperf_outputs outputs;
} job;

static int does(const bytemlperf_instance* self, const char* deed) {
    return strcmp(self->deed, deed) == 0;
}

#ifdef DIES_WHEN_LOADED
__attribute__((constructor)) static void die(void) {
    fputs("no such device\n", stderr);
    abort();
}
#endif

static int create(const char* config, const bytemlperf_host* host, bytemlperf_instance** instance) {
    bytemlperf_instance* self = calloc(1, sizeof *self);
    if (sscanf(config, "{\"deed\": \"%31[^\"]\"", self->deed) != 1) self->deed[0] = 0;
    self->host = host;
    *instance = does(self, "null instance") ? NULL : self;
    return does(self, "fail to create");
}

static int load(bytemlperf_instance* self, uint32_t batch_size) {
    self->batch_size = batch_size;
    if (does(self, "die in load")) abort();
    return does(self, "fail to load");
}

/* Sets the job's outputs; the deeds that end the process or the call do not return. */
static const char* run(job* j) {
    bytemlperf_instance* self = j->self;
    const int bad = j->x[0] == BAD;
    uint32_t rows = j->samples;
    bytemlperf_dtype dtype = BYTEMLPERF_FLOAT32;
    if (bad && does(self, "segfault")) *nowhere = 1;
    if (bad && does(self, "abort")) {
        fputs("the device is on fire\n", stderr);
        abort();
    }
    if (bad && does(self, "exit")) _exit(7);
    if (bad && does(self, "write")) ((float*)j->x)[0] = 0;
    if (bad && does(self, "hang")) pause();
    if (bad && does(self, "fail")) return "the fan stopped";
    if (bad && does(self, "rows")) rows = 7;
    if (bad && does(self, "dtype")) dtype = (bytemlperf_dtype)77;
    for (uint32_t i = 0; i < j->samples; ++i) {
        j->y[i] = 2 * j->x[i];
        uint32_t bits;
        memcpy(&bits, &j->y[i], sizeof bits);
        j->halves[i] = (uint16_t)(bits >> 16);
    }
    const int brain = does(self, "bfloat16");
    j->shape[0] = rows;
    j->shape[1] = 1;
    j->tensor = (bytemlperf_tensor){sizeof(bytemlperf_tensor),
                                    "y",
                                    brain ? BYTEMLPERF_BFLOAT16 : dtype,
                                    2,
                                    j->shape,
                                    brain ? (void*)j->halves : (void*)j->y};
    if (bad && does(self, "no data")) j->tensor.data = NULL;
    j->outputs = (bytemlperf_outputs){sizeof(bytemlperf_outputs), 1, &j->tensor};
    if (does(self, "batch size")) j->y[0] = (float)self->batch_size;
    return NULL;
}

static void destroy(bytemlperf_instance* self) {
    if (does(self, "tell")) fputs("destroyed\n", stderr);
    free(self);
}

#ifdef ASYNCHRONOUS

static const char* last_error(bytemlperf_instance* self) {
    return self != NULL ? "submit refused" : "create refused";
}

static void* answer(void* given) {
    job* j = given;
    const bytemlperf_host* host = j->self->host;
    const char* error = run(j);
    host->on_tokens(host->context, j->handle, 1);
    host->done(host->context, j->handle, error != NULL ? NULL : &j->outputs, error);
    if (does(j->self, "twice")) host->done(host->context, j->handle, &j->outputs, NULL);
    free(j);
    return NULL;
}

static int submit(bytemlperf_instance* self, const bytemlperf_batch* batch,
                  bytemlperf_handle handle) {
    job* j = calloc(1, sizeof *j);
    j->self = self;
    j->handle = handle;
    j->samples = batch->samples;
    j->x = batch->inputs[0].data;
    if (j->x[0] == BAD && does(self, "refuse")) return 1;
    if (does(self, "inside") || does(self, "twice")) {
        answer(j);
        return 0;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer, j) != 0) return 1;
    return pthread_detach(thread);
}

#define CALLS NULL
#define MORE                                                                       \
    .capabilities = BYTEMLPERF_ASYNCHRONOUS | BYTEMLPERF_TOKENS, .submit = submit, \
    .max_in_flight = 4

#else

static job the_job;
static const char* the_error = "create refused";

static const char* last_error(bytemlperf_instance* self) {
    (void)self;
    return the_error;
}

static int predict(bytemlperf_instance* self, const bytemlperf_batch* batch,
                   bytemlperf_outputs* outputs) {
    the_job.self = self;
    the_job.samples = batch->samples;
    the_job.x = batch->inputs[0].data;
    the_error = run(&the_job);
    *outputs = the_job.outputs;
    return the_error != NULL;
}

#define CALLS predict
#define MORE .capabilities = 0

#endif

const bytemlperf_backend_api* bytemlperf_backend(void) {
    static const bytemlperf_backend_api api = {
        .size = sizeof(bytemlperf_backend_api),
        .abi_version = VERSION,
        .name = "planted 1.0",
        .create = create,
        .load = load,
        .predict = CALLS,
        .destroy = destroy,
        .last_error = last_error,
        MORE,
    };
    return &api;
}
