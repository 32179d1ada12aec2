// RTNeural's LSTM or GRU and a dense layer: logits of a file of inputs, then the nanoseconds of a step, the least of all rounds.
// Arguments: lstm or gru, H, the file, steps, rounds. The file has the weights in the order of Keras, then inputs, as float32.
#include <RTNeural/RTNeural.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

constexpr int I = 10, C = 10;
using Rows = std::vector<std::vector<float>>;

Rows read(std::ifstream& file, int rows, int columns) {
    Rows found(rows, std::vector<float>(columns));
    for (auto& row : found) file.read(reinterpret_cast<char*>(row.data()), columns * sizeof(float));
    return found;
}

template <class Cell, int H, int gates, int biases>
void run(std::ifstream& file, int steps, int rounds) {
    static RTNeural::ModelT<float, I, C, Cell, RTNeural::DenseT<float, H, C>> model;
    auto& cell = model.template get<0>();
    cell.setWVals(read(file, I, gates * H));
    cell.setUVals(read(file, H, gates * H));
    if constexpr (biases == 1) cell.setBVals(read(file, 1, gates * H)[0]);
    else cell.setBVals(read(file, 2, gates * H));
    model.template get<1>().setWeights(read(file, C, H));
    model.template get<1>().setBias(read(file, 1, C)[0].data());
    constexpr int count = 64;
    alignas(64) float x[count][16] = {};
    for (auto& row : x) file.read(reinterpret_cast<char*>(row), I * sizeof(float));
    model.reset();
    for (auto& row : x) model.forward(row);
    for (int k = 0; k < C; ++k) std::printf("%.9g ", model.getOutputs()[k]);
    double best = 1e30;
    for (int round = 0; round < rounds; ++round) {
        const auto start = std::chrono::steady_clock::now();
        for (int t = 0; t < steps; ++t) model.forward(x[t % count]);
        const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
        best = std::min(best, spent.count() / steps);
    }
    std::printf("%.2f\n", best);
}

template <int H>
void choose(const std::string& cell, std::ifstream& file, int steps, int rounds) {
    if (cell == "lstm") run<RTNeural::LSTMLayerT<float, I, H>, H, 4, 1>(file, steps, rounds);
    else run<RTNeural::GRULayerT<float, I, H>, H, 3, 2>(file, steps, rounds);
}

int main(int, char** words) {
    std::ifstream file(words[3], std::ios::binary);
    const int H = std::atoi(words[2]), steps = std::atoi(words[4]), rounds = std::atoi(words[5]);
    if (H == 16) choose<16>(words[1], file, steps, rounds);
    else if (H == 64) choose<64>(words[1], file, steps, rounds);
    else choose<128>(words[1], file, steps, rounds);
}
