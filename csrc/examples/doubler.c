/*
 * The smallest native backend: doubles its float32 input "x" into the output "y".
 *
 *   cc -std=c11 -O2 -shared -fPIC -I"$(python -c 'import bytemlperf;
 * print(bytemlperf.get_include())')" \ doubler.c -o doubler.so
 *
 *   bmp.LoadGenerator(bmp.NativeBackend("doubler.so"), {"x": array}, batch_size=4)
 */
#include <bytemlperf/backend.h>
#include <stdlib.h>
#include <string.h>

struct bytemlperf_instance {
    float* y;
    size_t capacity; /* floats that y has room for */
    int64_t shape[8];
    bytemlperf_tensor output;
    const char* error;
};

static const char* create_error = "none";

static int create(const char* config, const bytemlperf_host* host, bytemlperf_instance** instance) {
    (void)host;
    if (strstr(config, "\"refuse\"") != NULL) {
        create_error = "the configuration asks to refuse";
        return 1;
    }
    *instance = calloc(1, sizeof(**instance));
    create_error = "out of memory";
    return *instance == NULL;
}

static int load(bytemlperf_instance* self, uint32_t batch_size) {
    (void)self;
    (void)batch_size;
    return 0;
}

static int predict(bytemlperf_instance* self, const bytemlperf_batch* batch,
                   bytemlperf_outputs* outputs) {
    const bytemlperf_tensor* x = batch->inputs;
    if (batch->input_count != 1 || x->dtype != BYTEMLPERF_FLOAT32 || x->rank > 8) {
        self->error = "expected one float32 input";
        return 1;
    }
    size_t n = 1;
    for (int32_t i = 0; i < x->rank; ++i) n *= (size_t)x->shape[i];
    if (n > self->capacity) {
        float* larger = realloc(self->y, n * sizeof(float));
        if (larger == NULL) {
            self->error = "out of memory";
            return 1;
        }
        self->y = larger;
        self->capacity = n;
    }
    for (size_t i = 0; i < n; ++i) self->y[i] = 2.0f * ((const float*)x->data)[i];
    memcpy(self->shape, x->shape, (size_t)x->rank * sizeof(int64_t));
    self->output = (bytemlperf_tensor){
        sizeof(bytemlperf_tensor), "y", BYTEMLPERF_FLOAT32, x->rank, self->shape, self->y};
    outputs->count = 1;
    outputs->tensors = &self->output;
    return 0;
}

static void destroy(bytemlperf_instance* self) {
    free(self->y);
    free(self);
}

static const char* last_error(bytemlperf_instance* self) {
    return self == NULL ? create_error : self->error;
}

const bytemlperf_backend_api* bytemlperf_backend(void) {
    static const bytemlperf_backend_api api = {
        .size = sizeof(bytemlperf_backend_api),
        .abi_version = BYTEMLPERF_ABI_VERSION,
        .name = "doubler 1.0",
        .create = create,
        .load = load,
        .predict = predict,
        .destroy = destroy,
        .last_error = last_error,
    };
    return &api;
}
