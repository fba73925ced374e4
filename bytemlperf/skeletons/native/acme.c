/* Runtime of ACME: the digits network in plain C. Put your runtime in its place. */
#include <bytemlperf/backend.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CONV1 = 16, CONV2 = 32, POOLED = CONV2 * PIXELS / 4 };
enum { DENSE = 64, CLASSES = 10, WEIGHTS = 38282 };

struct bytemlperf_instance {
    float weights[WEIGHTS];
    float* logits; /* [batch, CLASSES] */
    uint32_t batch;
    int64_t shape[2];
    bytemlperf_tensor output;
    const char* error;
};

static int create(const char* config, const bytemlperf_host* host, bytemlperf_instance** instance) {
    (void)host;
    char path[4096];
    FILE* file = NULL;
    bytemlperf_instance* self = calloc(1, sizeof(*self));
    if (sscanf(config, "{\"weights\": \"%4095[^\"]\"}", path) == 1) file = fopen(path, "rb");
    int read = self && file && fread(self->weights, sizeof(float), WEIGHTS, file) == WEIGHTS;
    if (file) fclose(file);
    if (!read) free(self);
    *instance = read ? self : NULL;
    return !read;
}

static int load(bytemlperf_instance* self, uint32_t batch_size) {
    free(self->logits);
    self->logits = calloc(batch_size, CLASSES * sizeof(float));
    self->batch = batch_size;
    self->error = "out of memory";
    return self->logits == NULL;
}

/* 3x3, padded, rectified. Takes its weights from *w and moves on behind them. */
static void convolve(const float* in, int channels, const float** w, int filters, float* out) {
    const float* bias = *w + filters * channels * 9;
    for (int f = 0; f < filters; ++f) {
        for (int p = 0; p < PIXELS; ++p) {
            float sum = bias[f];
            for (int k = 0; k < 9; ++k) {
                int row = p / SIDE + k / 3 - 1, column = p % SIDE + k % 3 - 1;
                if (row < 0 || row >= SIDE || column < 0 || column >= SIDE) continue;
                const float* pixel = in + row * SIDE + column;
                const float* kernel = *w + f * channels * 9 + k;
                for (int c = 0; c < channels; ++c) sum += kernel[c * 9] * pixel[c * PIXELS];
            }
            out[f * PIXELS + p] = fmaxf(sum, 0);
        }
    }
    *w = bias + filters;
}

static void pool(const float* in, float* out) {
    for (int i = 0; i < POOLED; ++i) {
        const float* at = in + i / 16 * PIXELS + i % 16 / 4 * 2 * SIDE + i % 4 * 2;
        out[i] = fmaxf(fmaxf(at[0], at[1]), fmaxf(at[SIDE], at[SIDE + 1]));
    }
}

static void dense(const float* in, int n, const float** w, int rows, int rectify, float* out) {
    const float* bias = *w + rows * n;
    for (int r = 0; r < rows; ++r) {
        float sum = bias[r];
        for (int i = 0; i < n; ++i) sum += (*w)[r * n + i] * in[i];
        out[r] = rectify ? fmaxf(sum, 0) : sum;
    }
    *w = bias + rows;
}

static void classify(const float* weights, const float* image, float* logits) {
    float a[CONV1 * PIXELS], b[CONV2 * PIXELS], pooled[POOLED], hidden[DENSE];
    convolve(image, 1, &weights, CONV1, a);
    convolve(a, CONV1, &weights, CONV2, b);
    pool(b, pooled);
    dense(pooled, POOLED, &weights, DENSE, 1, hidden);
    dense(hidden, DENSE, &weights, CLASSES, 0, logits);
}

static int predict(bytemlperf_instance* self, const bytemlperf_batch* batch,
                   bytemlperf_outputs* outputs) {
    const bytemlperf_tensor* image = batch->inputs;
    self->error = "expected one float32 input of [batch, 1, 8, 8], and no more than was loaded for";
    if (batch->input_count != 1 || image->dtype != BYTEMLPERF_FLOAT32 || image->rank != 4 ||
        image->shape[1] * image->shape[2] * image->shape[3] != PIXELS ||
        batch->samples > self->batch) {
        return 1;
    }
    for (uint32_t i = 0; i < batch->samples; ++i) {
        classify(self->weights, (const float*)image->data + i * PIXELS, self->logits + i * CLASSES);
    }
    self->shape[0] = batch->samples;
    self->shape[1] = CLASSES;
    self->output = (bytemlperf_tensor){
        sizeof(bytemlperf_tensor), "logits", BYTEMLPERF_FLOAT32, 2, self->shape, self->logits};
    outputs->count = 1;
    outputs->tensors = &self->output;
    return 0;
}

static void destroy(bytemlperf_instance* self) {
    free(self->logits);
    free(self);
}

static const char* last_error(bytemlperf_instance* self) {
    return self == NULL ? "the weights that the configuration names cannot be read" : self->error;
}

const bytemlperf_backend_api* bytemlperf_backend(void) {
    static const bytemlperf_backend_api api = {
        .size = sizeof(bytemlperf_backend_api),
        .abi_version = BYTEMLPERF_ABI_VERSION,
        .name = "acme 0.1.0",
        .create = create,
        .load = load,
        .predict = predict,
        .destroy = destroy,
        .last_error = last_error,
    };
    return &api;
}
