#include "bytemlperf/backend.h"

/* The structs begin with their size, which is what makes them extensible. */
typedef char bytemlperf_tensor_begins_with_size[offsetof(bytemlperf_tensor, size) == 0 ? 1 : -1];
typedef char bytemlperf_batch_begins_with_size[offsetof(bytemlperf_batch, size) == 0 ? 1 : -1];
typedef char bytemlperf_outputs_begins_with_size[offsetof(bytemlperf_outputs, size) == 0 ? 1 : -1];
typedef char bytemlperf_host_begins_with_size[offsetof(bytemlperf_host, size) == 0 ? 1 : -1];
typedef char
    bytemlperf_backend_api_begins_with_size[offsetof(bytemlperf_backend_api, size) == 0 ? 1 : -1];
