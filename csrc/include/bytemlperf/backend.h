/*
 * The C interface of a native backend: what a vendor's shared library exports to be driven by the
 * load generator without Python and without the GIL. Plain C99.
 *
 * The library exports one function, bytemlperf_backend(), which returns a table of functions. Every
 * struct begins with its size as the library was compiled, so that members can be added at the end:
 * a reader uses a member only where `size` covers it.
 *
 * All calls on one instance come from one thread, in the order create, load, predict or submit any
 * number of times, destroy. Different instances are called from different threads at once.
 */
#ifndef BYTEMLPERF_BACKEND_H
#define BYTEMLPERF_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a member changes its meaning; adding members does not raise it. */
#define BYTEMLPERF_ABI_VERSION 1

#if defined(_WIN32)
#define BYTEMLPERF_EXPORT __declspec(dllexport)
#else
#define BYTEMLPERF_EXPORT __attribute__((visibility("default")))
#endif

typedef enum bytemlperf_dtype {
    BYTEMLPERF_BOOL = 0,
    BYTEMLPERF_UINT8 = 1,
    BYTEMLPERF_INT8 = 2,
    BYTEMLPERF_INT32 = 3,
    BYTEMLPERF_INT64 = 4,
    BYTEMLPERF_FLOAT16 = 5,
    BYTEMLPERF_BFLOAT16 = 6,
    BYTEMLPERF_FLOAT32 = 7,
    BYTEMLPERF_FLOAT64 = 8
} bytemlperf_dtype;

/* A dense row-major array in host memory. */
typedef struct bytemlperf_tensor {
    size_t size; /* sizeof(bytemlperf_tensor) */
    const char* name;
    bytemlperf_dtype dtype;
    int32_t rank;
    const int64_t* shape; /* rank dimensions; the first one is the samples of this batch */
    void* data;
} bytemlperf_tensor;

/* Inputs belong to the caller and are read-only until the batch has completed. Outputs belong to
 * the backend and stay valid until the next call on the same instance. */
typedef struct bytemlperf_batch {
    size_t size; /* sizeof(bytemlperf_batch) */
    uint32_t samples;
    uint32_t input_count;
    const bytemlperf_tensor* inputs;
} bytemlperf_batch;

typedef struct bytemlperf_outputs {
    size_t size; /* sizeof(bytemlperf_outputs) */
    uint32_t count;
    const bytemlperf_tensor* tensors;
} bytemlperf_outputs;

/* Names a batch in flight. Never reused, also not by a later run. */
typedef uint64_t bytemlperf_handle;

/* What the generator offers to an asynchronous backend; may be called from any thread. */
typedef struct bytemlperf_host {
    size_t size; /* sizeof(bytemlperf_host) */
    void* context;
    /* The batch has completed: once for each handle, also from inside submit. `error` is NULL, or
     * a message that is copied before this returns. */
    void (*done)(void* context, bytemlperf_handle handle, const bytemlperf_outputs* outputs,
                 const char* error);
    /* `count` more tokens of a generated answer are there. */
    void (*on_tokens)(void* context, bytemlperf_handle handle, uint32_t count);
} bytemlperf_host;

/* One loaded copy of a model; the library defines what is behind it. */
typedef struct bytemlperf_instance bytemlperf_instance;

/* Functions return 0 for success; after anything else last_error says why. */
typedef struct bytemlperf_backend_api {
    size_t size;          /* sizeof(bytemlperf_backend_api) */
    uint32_t abi_version; /* BYTEMLPERF_ABI_VERSION */
    uint32_t capabilities;
    const char* name; /* and version, for the report */

    /* `config` is a JSON object. `host` outlives the instance. */
    int (*create)(const char* config, const bytemlperf_host* host, bytemlperf_instance** instance);
    int (*load)(bytemlperf_instance* instance, uint32_t batch_size);
    /* Returns when the outputs are in host memory. */
    int (*predict)(bytemlperf_instance* instance, const bytemlperf_batch* batch,
                   bytemlperf_outputs* outputs);
    void (*destroy)(bytemlperf_instance* instance);
    /* Message of the last failed call, of create where `instance` is NULL; never NULL. */
    const char* (*last_error)(bytemlperf_instance* instance);

    /* With BYTEMLPERF_ASYNCHRONOUS; else NULL. Up to max_in_flight batches of an instance are
     * submitted before the first of them has completed. */
    int (*submit)(bytemlperf_instance* instance, const bytemlperf_batch* batch,
                  bytemlperf_handle handle);
    uint32_t max_in_flight;
} bytemlperf_backend_api;

enum {
    BYTEMLPERF_ASYNCHRONOUS = 1u << 0, /* submit is there */
    BYTEMLPERF_TOKENS = 1u << 1        /* calls on_tokens */
};

/* The one symbol that is looked up. */
BYTEMLPERF_EXPORT const bytemlperf_backend_api* bytemlperf_backend(void);

#ifdef __cplusplus
}
#endif

#endif /* BYTEMLPERF_BACKEND_H */
