// What the networks of a GAN compute between two matmuls: activations, BatchNorm, their gradients and sums over rows.
//
// Matrices are [rows, columns], row by row, in float32 or bfloat16; numbers per column are float32, unless said otherwise.
// Arithmetic is in float32. A thread works on strips of columns, over all rows: a strip is read from the cache after its
// first pass, and sums over rows do not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

// The same fields in the same order as `Call` in pointwise.py.
struct Call {
    int64_t rows, columns, threads;
    int64_t bf16;          // whether matrices are bfloat16
    double leak;           // factor of the LeakyReLU below 0
    double eps, momentum;  // of BatchNorm
    const void* x;         // input of a forward pass, or of BatchNorm in a backward pass
    void* y;               // output of a forward pass; in a backward pass too, where the activation's gradient needs it
    void* grad;            // gradient with respect to y; a backward pass replaces it by that with respect to x
    const float *weight, *bias;           // γ and β of BatchNorm
    float *mean, *inverse_std;            // of the batch, for the backward pass
    float *running_mean, *running_var;
    float *grad_weight, *grad_bias;       // with respect to γ and β
    void* sum;             // sum of the new gradient over rows, of the type of the matrices; or null
    const float* scale;    // a factor for each row
};

namespace {

constexpr int V = 16;      // numbers in a vector
constexpr int strip = 4;   // vectors in a strip of columns
constexpr int64_t serial = 16384;  // numbers in a matrix that is too small for several threads

typedef float vec __attribute__((vector_size(4 * V)));
typedef uint32_t uvec __attribute__((vector_size(4 * V)));
typedef uint16_t half __attribute__((vector_size(2 * V)));

#define INLINE inline __attribute__((always_inline))
#define EACH _Pragma("GCC unroll 4") for (int n = 0; n < N; ++n)

// Read or write the first `count` numbers of a vector.
INLINE vec load(const float* from, int count = V) {
    vec value = {};
    std::memcpy(&value, from, count * sizeof *from);
    return value;
}
INLINE vec load(const uint16_t* from, int count = V) {
    half value = {};
    std::memcpy(&value, from, count * sizeof *from);
    return (vec)(__builtin_convertvector(value, uvec) << 16);
}
INLINE void store(float* to, vec value, int count = V) { std::memcpy(to, &value, count * sizeof *to); }
INLINE void store(uint16_t* to, vec value, int count = V) {
    const uvec bits = (uvec)value;
    const uvec nearest = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;  // ties to even
    const half rounded = __builtin_convertvector(value == value ? nearest : nearest * 0u + 0x7FC0u, half);
    std::memcpy(to, &rounded, count * sizeof *to);
}

// Calls work.template run<N>(first column, columns in the last vector) for each strip of N vectors.
template <class Work>
void for_strips(const Call& call, const Work& work) {
    const int64_t wide = call.columns / (strip * V);                    // strips of full width
    const int64_t rest = call.columns - wide * strip * V;               // columns in narrow ones, of one vector
    const int64_t strips = wide + (rest + V - 1) / V;
    const int threads = call.rows * call.columns < serial ? 1 : int(call.threads);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t index = 0; index < strips; ++index) {
        if (index < wide) {
            work.template run<strip>(index * strip * V, V);
        } else {
            const int64_t column = wide * strip * V + (index - wide) * V;
            const int count = int(std::min<int64_t>(V, call.columns - column));
            if (count == V) work.template run<1>(column, V);
            else work.template run<1>(column, count);
        }
    }
}

template <class T>
struct Work {
    const Call& call;
    const int64_t rows = call.rows, columns = call.columns;
    const float leak = float(call.leak);

    const T* x(int64_t row, int64_t column) const { return static_cast<const T*>(call.x) + row * columns + column; }
    T* y(int64_t row, int64_t column) const { return static_cast<T*>(call.y) + row * columns + column; }
    T* grad(int64_t row, int64_t column) const { return static_cast<T*>(call.grad) + row * columns + column; }
    INLINE vec activate(vec value) const { return value > 0 ? value : value * leak; }
    INLINE vec activate_gradient(vec grad, vec value) const { return value > 0 ? grad : grad * leak; }
    template <int N>
    INLINE void store_sum(const vec (&sum)[N], int64_t column, int count) const {
        if (call.sum) EACH store(static_cast<T*>(call.sum) + column + n * V, sum[n], count);
    }
};

// y = LeakyReLU(x)
template <class T>
struct Activate : Work<T> {
    template <int N>
    void run(int64_t column, int count) const {
        for (int64_t row = 0; row < this->rows; ++row)
            EACH store(this->y(row, column + n * V), this->activate(load(this->x(row, column + n * V), count)), count);
    }
};

// The gradient of an activation, and its sum: for LeakyReLU from the sign of y, for tanh 1 - y².
template <class T, bool is_tanh>
struct ActivateBackward : Work<T> {
    template <int N>
    void run(int64_t column, int count) const {
        vec sum[N] = {};
        for (int64_t row = 0; row < this->rows; ++row)
            EACH {
                const vec y = load(this->y(row, column + n * V), count);
                T* place = this->grad(row, column + n * V);
                const vec grad = load(place, count);
                const vec result = is_tanh ? grad * (1.0f - y * y) : this->activate_gradient(grad, y);
                store(place, result, count);
                sum[n] += result;
            }
        this->store_sum(sum, column, count);
    }
};

// y = x times the factor of each row, and its sum.
template <class T>
struct ScaleRows : Work<T> {
    template <int N>
    void run(int64_t column, int count) const {
        vec sum[N] = {};
        for (int64_t row = 0; row < this->rows; ++row) {
            const float factor = this->call.scale[row];
            EACH {
                const vec result = load(this->x(row, column + n * V), count) * factor;
                store(this->y(row, column + n * V), result, count);
                sum[n] += result;
            }
        }
        this->store_sum(sum, column, count);
    }
};

// y = LeakyReLU(γ x̂ + β), x̂ = (x - mean) / √(variance + ε), with the statistics of the batch.
template <class T>
struct Normalise : Work<T> {
    template <int N>
    void run(int64_t column, int count) const {
        const Call& call = this->call;
        vec mean[N] = {}, variance[N] = {}, factor[N], bias[N];
        for (int64_t row = 0; row < this->rows; ++row) EACH mean[n] += load(this->x(row, column + n * V), count);
        EACH mean[n] /= float(this->rows);
        for (int64_t row = 0; row < this->rows; ++row)
            EACH {
                const vec centred = load(this->x(row, column + n * V), count) - mean[n];
                variance[n] += centred * centred;
            }
        EACH variance[n] /= float(this->rows);
        const float momentum = float(call.momentum), unbiased = float(double(this->rows) / double(this->rows - 1));
        EACH {
            const int64_t place = column + n * V;
            vec inverse_std;
            for (int lane = 0; lane < V; ++lane) inverse_std[lane] = 1 / std::sqrt(variance[n][lane] + float(call.eps));
            const vec running_mean = load(call.running_mean + place, count), running_var = load(call.running_var + place, count);
            store(call.running_mean + place, running_mean * (1 - momentum) + mean[n] * momentum, count);
            store(call.running_var + place, running_var * (1 - momentum) + variance[n] * unbiased * momentum, count);
            store(call.mean + place, mean[n], count);
            store(call.inverse_std + place, inverse_std, count);
            factor[n] = inverse_std * load(call.weight + place, count);
            bias[n] = load(call.bias + place, count);
        }
        for (int64_t row = 0; row < this->rows; ++row)
            EACH {
                const vec x = load(this->x(row, column + n * V), count);
                store(this->y(row, column + n * V), this->activate((x - mean[n]) * factor[n] + bias[n]), count);
            }
    }
};

// The gradients of `Normalise`: with g that of γ x̂ + β and means over rows,
// ∂L/∂γ = Σ g x̂, ∂L/∂β = Σ g, ∂L/∂x = γ / √(variance + ε) (g - mean(g) - x̂ mean(g x̂)).
template <class T>
struct NormaliseBackward : Work<T> {
    template <int N>
    void run(int64_t column, int count) const {
        const Call& call = this->call;
        vec mean[N], inverse_std[N], factor[N], grad_weight[N] = {}, grad_bias[N] = {}, sum[N] = {};
        EACH {
            const int64_t place = column + n * V;
            mean[n] = load(call.mean + place, count), inverse_std[n] = load(call.inverse_std + place, count);
            factor[n] = inverse_std[n] * load(call.weight + place, count);
        }
        for (int64_t row = 0; row < this->rows; ++row)
            EACH {
                const vec y = load(this->y(row, column + n * V), count);
                const vec grad = this->activate_gradient(load(this->grad(row, column + n * V), count), y);
                const vec normalised = (load(this->x(row, column + n * V), count) - mean[n]) * inverse_std[n];
                grad_bias[n] += grad;
                grad_weight[n] += grad * normalised;
            }
        EACH {
            store(call.grad_weight + column + n * V, grad_weight[n], count);
            store(call.grad_bias + column + n * V, grad_bias[n], count);
            grad_weight[n] /= float(this->rows), grad_bias[n] /= float(this->rows);
        }
        for (int64_t row = 0; row < this->rows; ++row)
            EACH {
                const vec y = load(this->y(row, column + n * V), count);
                T* place = this->grad(row, column + n * V);
                const vec grad = this->activate_gradient(load(place, count), y);
                const vec normalised = (load(this->x(row, column + n * V), count) - mean[n]) * inverse_std[n];
                const vec result = factor[n] * (grad - grad_bias[n] - normalised * grad_weight[n]);
                store(place, result, count);
                sum[n] += result;
            }
        this->store_sum(sum, column, count);
    }
};

template <class T>
using LeakyBackward = ActivateBackward<T, false>;
template <class T>
using TanhBackward = ActivateBackward<T, true>;

template <template <class> class Kind>
void run(const Call& call) {
    if (call.bf16) for_strips(call, Kind<uint16_t>{{call}});
    else for_strips(call, Kind<float>{{call}});
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int64_t reviver_pointwise_call_size() { return sizeof(Call); }
EXPORT void reviver_pointwise_leaky(const Call* call) { run<Activate>(*call); }
EXPORT void reviver_pointwise_leaky_backward(const Call* call) { run<LeakyBackward>(*call); }
EXPORT void reviver_pointwise_tanh_backward(const Call* call) { run<TanhBackward>(*call); }
EXPORT void reviver_pointwise_scale_rows(const Call* call) { run<ScaleRows>(*call); }
EXPORT void reviver_pointwise_batch_norm(const Call* call) { run<Normalise>(*call); }
EXPORT void reviver_pointwise_batch_norm_backward(const Call* call) { run<NormaliseBackward>(*call); }
